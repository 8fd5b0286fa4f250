"""A commitment to the records themselves, so that the same file is not given a second budget.

It is keyed: whoever knows all records but one could else try values for it until the ledger's figure comes out.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from silo.crypto import labels
from silo.crypto.signing import SigningKey
from silo.errors import ParameterError


def commitment(path: Path, key: SigningKey) -> bytes:
    """A digest of a file that nobody without the ledger's key can compute; 32 bytes. Raises `ParameterError`."""
    try:
        with path.open("rb") as file:
            inner = hashlib.file_digest(file, "sha256").digest()
    except OSError as problem:
        raise ParameterError(f"the records {path} cannot be read: {problem.strerror}") from None
    # Ed25519 is deterministic: the digest of a signature that is never shown is a keyed hash.
    return hashlib.sha256(key.sign(labels.LEDGER_CONTENT, inner)).digest()
