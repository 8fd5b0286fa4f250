"""The key of a ledger that belongs to no identity: for training alone, without a federation."""

from __future__ import annotations

import os
from pathlib import Path

from silo import database, private_file
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret
from silo.crypto.signing import KEY_BYTES, SigningKey
from silo.privacy.errors import LedgerError


def load_or_make(ledger: Path, *, rng: Rng) -> SigningKey:
    """Read LEDGER.key, or make it (0600) where the ledger is new too. Raises `LedgerError`.

    The ledger's file is there before its key, so a key without a ledger says that the ledger was taken away.
    """
    path = ledger.with_name(ledger.name + ".key")
    try:
        if not path.exists():
            # A key comes before its ledger's first byte, so one that is missing still was never there.
            if ledger.exists() and ledger.stat().st_size and not path.exists():
                raise LedgerError(
                    f"the ledger {ledger} belongs to an identity, or its key {path.name} is gone: give the identity"
                )
            database.make(ledger)
            _make(path, Secret.random(KEY_BYTES, rng=rng))
        elif not ledger.exists():
            raise LedgerError(
                f"the ledger {ledger} is gone, and its key is there: put the newest ledger back, for a new one would "
                f"forget what was spent (to begin with other records, choose another file)"
            )
        if path.stat().st_mode & 0o077:
            raise LedgerError(f"others on this computer may read {path}: run `chmod 600 {path}`")
        text = path.read_text(encoding="ascii").strip()
        raw = bytes.fromhex(text)
    except OSError as problem:
        raise LedgerError(f"the ledger's key {path} cannot be used: {problem.strerror}") from None
    except ValueError:
        raise LedgerError(f"the ledger's key {path} is damaged: restore it from a backup") from None
    if len(raw) != KEY_BYTES:
        raise LedgerError(f"the ledger's key {path} is damaged: restore it from a backup")
    return SigningKey(Secret(raw))


def _make(path: Path, secret: Secret) -> None:
    """Whole or not at all, and never over another process's key."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    with private_file.creating(draft) as file:
        file.write(f"{secret.reveal().hex()}\n".encode())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
