"""What the checkpoints of all vertical models have in common: whose they are, and how they are read and written.

A checkpoint belongs to one fit: the same terms, the same rows at this member. Of another fit nothing is taken. It holds
labels and weights: it never leaves. Files are whole, read without pickle, mode 0600.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from silo import private_file
from silo.crypto import labels
from silo.errors import ParameterError

Arrays = dict[str, npt.NDArray[Any]]
_FIT: Final = "silo|fit"


def fingerprint(said: str, *tables: npt.NDArray[Any]) -> bytes:
    """What a checkpoint belongs to: the terms as they are said, and this member's numbers; 32 bytes."""
    parts: list[bytes | str] = [said]
    for table in tables:
        parts += [str(table.shape), hashlib.sha256(np.ascontiguousarray(table).data).digest()]
    return hashlib.sha256(labels.bind(labels.MODEL, *parts)).digest()


def read(path: Path, fit: bytes) -> Arrays | None:
    """What `write` wrote of this fit; None of another, or where there is none. Raises `ParameterError`."""
    if not path.is_file():
        return None
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as loaded:
            found: Arrays = {key: loaded[key] for key in loaded.files}
        whose = found.pop(_FIT).tobytes()
    except (ValueError, OSError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as problem:
        raise unreadable(path, problem) from None
    return found if whose == fit else None


def write(path: Path, fit: bytes, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Replace the file, all of it or nothing. Raises `ParameterError`."""
    named: dict[str, Any] = {_FIT: np.frombuffer(fit, np.uint8), **arrays}
    with replacing(path) as file:
        np.savez(file, allow_pickle=False, **named)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """`private_file.replacing`, in a folder that may be new. Raises `ParameterError`."""
    with written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with private_file.replacing(path) as file:
            yield file


@contextmanager
def written(path: Path) -> Iterator[None]:
    """What the system refuses in the block is one sentence. Raises `ParameterError`."""
    try:
        yield
    except OSError as problem:
        raise ParameterError(f"the checkpoint {path} cannot be written: {problem.strerror}") from None


def unreadable(path: Path | None, problem: Exception) -> ParameterError:
    """The error for a file of which nothing can be made."""
    return ParameterError(
        f"the checkpoint {path} cannot be read ({type(problem).__name__}): move it away to begin again"
    )
