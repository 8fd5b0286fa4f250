"""The head of the ledger beside a checkpoint: a ledger that does not hold it was rolled back, and is frozen.

A checkpoint carries no spend. Whoever restores an old one goes on from old parameters and pays again; whoever restores
an old ledger beside a newer checkpoint is found here.
"""

from __future__ import annotations

from pathlib import Path

from silo import private_file
from silo.errors import ParameterError
from silo.privacy.head import SealedHead
from silo.privacy.ledger import Ledger


def keep(checkpoint: Path, ledger: Ledger) -> None:
    """Write the ledger's head beside a checkpoint, all of it or nothing."""
    with private_file.replacing(_beside(checkpoint)) as file:
        file.write(f"{ledger.head}\n".encode())


def check(checkpoint: Path, ledger: Ledger) -> None:
    """Raise `LedgerForked`, and freeze, unless the ledger holds the head beside the checkpoint."""
    target = _beside(checkpoint)
    if not target.is_file():
        return
    try:
        kept = SealedHead.parse(target.read_text(encoding="ascii"))
    except (ParameterError, UnicodeDecodeError, OSError):
        raise ParameterError(
            f"{target} is no head of a ledger: restore it with its checkpoint, or remove both and begin anew"
        ) from None
    ledger.check_continues(kept.head, f"the checkpoint {checkpoint.name}")


def _beside(checkpoint: Path) -> Path:
    return checkpoint.with_name(f"{checkpoint.name}.ledger")
