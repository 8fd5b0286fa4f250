"""A commitment to the records themselves, so that the same file is not given a second budget."""

from __future__ import annotations

import hashlib
from pathlib import Path

from silo.crypto import labels
from silo.errors import ParameterError


def commitment(path: Path) -> bytes:
    """SHA-256 of a file under its label; 32 bytes. It stays on the ledger. Raises `ParameterError`."""
    try:
        with path.open("rb") as file:
            inner = hashlib.file_digest(file, "sha256").digest()
    except OSError as problem:
        raise ParameterError(f"the records {path} cannot be read: {problem.strerror}") from None
    return hashlib.sha256(labels.bind(labels.LEDGER_CONTENT, inner)).digest()
