"""A party's state at the end of an epoch, in a file of its own: read without pickle, mode 0600.

The last two epochs are kept, as a crash may come between two members' files. A file belongs to one fit: the same terms,
modules and rows at this member. Of another fit nothing is taken. It holds labels and weights: it never leaves.
"""

from __future__ import annotations

import io
import os
import re
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.errors import ParameterError

Arrays = dict[str, npt.NDArray[Any]]
_FIT: Final = "silo|fit"
_KEPT: Final = 2


class Kept:
    """The files of one member; without a folder nothing is kept."""

    def __init__(self, folder: str | Path | None, name: str, fit: bytes) -> None:
        self._folder = None if folder is None else Path(folder)
        self._name, self._fit = name, fit

    @property
    def newest(self) -> int:
        """Epochs done by the newest file of this fit; 0 without one. Raises `ParameterError`."""
        for epochs in sorted(self._files(), reverse=True):
            if self._read(epochs) is not None:
                return epochs
        return 0

    def at(self, epochs: int) -> Arrays:
        """The state after so many epochs. Raises `ParameterError` where it is not there."""
        found = self._read(epochs) if epochs in self._files() else None
        if found is None:
            raise ParameterError(
                f"{self._name}: the others begin after epoch {epochs}, of which nothing is kept here: move the "
                "checkpoints away at all members to begin again"
            )
        return found

    def keep(self, epochs: int, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write the state after so many epochs, all of it or nothing. Raises `ParameterError`."""
        if self._folder is None:
            return
        target = self._path(self._folder, epochs)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._folder, prefix=f".{target.name}.")
            with os.fdopen(descriptor, "wb") as file:
                named: dict[str, Any] = {_FIT: np.frombuffer(self._fit, np.uint8), **arrays}
                np.savez(file, allow_pickle=False, **named)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(target)
            for other, path in self._files().items():
                if not epochs - _KEPT < other <= epochs:
                    path.unlink(missing_ok=True)
        except OSError as problem:
            raise ParameterError(f"the checkpoint {target} cannot be written: {problem.strerror}") from None

    def done(self) -> None:
        """The fit is over: the files go."""
        for path in self._files().values():
            path.unlink(missing_ok=True)

    def _path(self, folder: Path, epochs: int) -> Path:
        return folder / f"{self._name}.split-{epochs}.npz"

    def _files(self) -> dict[int, Path]:
        if self._folder is None or not self._folder.is_dir():
            return {}
        form = re.compile(rf"{re.escape(self._name)}\.split-(\d{{1,6}})\.npz")
        found = ((form.fullmatch(path.name), path) for path in self._folder.iterdir())
        return {int(match[1]): path for match, path in found if match}

    def _read(self, epochs: int) -> Arrays | None:
        path = self._files()[epochs]
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as loaded:
                found: Arrays = {key: loaded[key] for key in loaded.files}
            fit = found.pop(_FIT).tobytes()
        except (ValueError, OSError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as problem:
            raise ParameterError(
                f"the checkpoint {path} cannot be read ({type(problem).__name__}): move it away to begin again"
            ) from None
        return found if fit == self._fit else None
