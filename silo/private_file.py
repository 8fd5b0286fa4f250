"""Files that are whole or not there, on the disk before anybody sees them, and read by their owner only: mode 0600."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path, *, mode: int = 0o600) -> Iterator[BinaryIO]:
    """What is written takes the place of `path` when the block ends well; else nothing changes. Raises `OSError`."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    draft = Path(name)
    try:
        with _kept(descriptor) as file:
            yield file
        draft.chmod(mode)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


@contextmanager
def creating(path: Path) -> Iterator[BinaryIO]:
    """A new file, never over another one. Raises `FileExistsError`, `OSError`."""
    # O_EXCL, and the mode at creation: there is no moment at which others can read it.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with _kept(descriptor) as file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@contextmanager
def appending(path: Path) -> Iterator[BinaryIO]:
    """More of a file; a crash may leave a part of it. Raises `OSError`."""
    with _kept(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)) as file:
        yield file


@contextmanager
def _kept(descriptor: int) -> Iterator[BinaryIO]:
    with os.fdopen(descriptor, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
