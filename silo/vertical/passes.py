"""How far the fit of a linear model has come, in a file of its member: read without pickle, mode 0600.

It belongs to one fit: the same terms, the same rows at this member. Of another fit nothing is taken.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from silo.crypto import labels
from silo.errors import ParameterError
from silo.protocols.vertical.linear.families import Floats
from silo.protocols.vertical.linear.host import HostState
from silo.protocols.vertical.linear.search import LabelState

_FIT = "fit"
_SEED = "seed"
_LISTS = ("scores", "grams", "norms", "starts")


def fingerprint(said: str, *tables: Floats) -> bytes:
    """What a checkpoint belongs to: the terms as they are said, and this member's numbers; 32 bytes."""
    parts: list[bytes | str] = [said]
    for table in tables:
        parts += [str(table.shape), hashlib.sha256(np.ascontiguousarray(table).data).digest()]
    return hashlib.sha256(labels.bind(labels.MODEL, *parts)).digest()


class Kept:
    """The file of one member; without a folder nothing is kept."""

    def __init__(self, folder: str | Path | None, name: str, fit: bytes) -> None:
        self._path = None if folder is None else Path(folder) / f"{name}.passes"
        self._fit = fit

    def label(self) -> LabelState | None:
        """The label party's state, or None. Raises `ParameterError` for a file that cannot be read."""
        found = self._read()
        if found is None:
            return None
        state = LabelState(found.pop(_SEED).tobytes())
        for name in _LISTS:
            rows = sorted((key for key in found if key.startswith(f"{name}:")), key=_place)
            getattr(state, name).extend(found[key] for key in rows)
        return state

    def host(self) -> HostState | None:
        """A host's state, or None. Raises `ParameterError` for a file that cannot be read."""
        found = self._read()
        if found is None:
            return None
        return HostState([found[key] for key in sorted(found, key=_place)])

    def keep_label(self, state: LabelState) -> None:
        """Replace the file."""
        arrays = {_SEED: np.frombuffer(state.seed, np.uint8)}
        for name in _LISTS:
            arrays |= {f"{name}:{place}": one for place, one in enumerate(getattr(state, name))}
        self._write(arrays)

    def keep_host(self, state: HostState) -> None:
        """Replace the file."""
        self._write({f"directions:{place}": one for place, one in enumerate(state.directions)})

    def done(self) -> None:
        """The fit is over: the file goes."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _read(self) -> dict[str, np.ndarray] | None:
        if self._path is None or not self._path.is_file():
            return None
        try:
            with np.load(io.BytesIO(self._path.read_bytes()), allow_pickle=False) as loaded:
                found = {key: loaded[key] for key in loaded.files}
            fit = found.pop(_FIT).tobytes()
        except (ValueError, OSError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as problem:
            raise ParameterError(
                f"the checkpoint {self._path} cannot be read ({type(problem).__name__}): move it away to begin again"
            ) from None
        return found if fit == self._fit else None

    def _write(self, arrays: dict[str, np.ndarray]) -> None:
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
            with os.fdopen(descriptor, "wb") as file:
                kept: dict[str, Any] = {_FIT: np.frombuffer(self._fit, np.uint8), **arrays}
                np.savez(file, **kept)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._path)
        except OSError as problem:
            raise ParameterError(
                f"the checkpoint {self._path} cannot be written: {problem.strerror}"
            ) from None


def _place(key: str) -> int:
    return int(key.partition(":")[2] or 0)
