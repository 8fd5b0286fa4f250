"""A party's state at the end of an epoch of split learning, in a file of its own.

The last two epochs are kept, as a crash may come between two members' files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt

from silo.errors import ParameterError
from silo.vertical import checkpoints
from silo.vertical.checkpoints import Arrays

_KEPT: Final = 2
_MARK: Final = 8
"""Digits of the fit's fingerprint in a file's name: what is kept of another fit is left alone."""


class Kept:
    """The files of one member; without a folder nothing is kept."""

    def __init__(self, folder: str | Path | None, name: str, fit: bytes) -> None:
        self._folder = None if folder is None else Path(folder)
        self._name, self._fit = name, fit
        self._mark = fit.hex()[:_MARK]

    def require(self) -> None:
        """Refuse a folder that cannot be written, before anything is paid for. Raises `ParameterError`."""
        if self._folder is None:
            return
        probe = self._folder / f".{self._name}.split-{self._mark}"
        with checkpoints.written(probe):
            self._folder.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()

    @property
    def newest(self) -> int:
        """Epochs done by the newest file of this fit; 0 without one. Raises `ParameterError`."""
        for epochs, path in sorted(self._files().items(), reverse=True):
            if checkpoints.read(path, self._fit) is not None:
                return epochs
        return 0

    def at(self, epochs: int) -> Arrays:
        """The state after so many epochs. Raises `ParameterError` where it is not there."""
        path = self._files().get(epochs)
        found = None if path is None else checkpoints.read(path, self._fit)
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
        target = self._folder / f"{self._name}.split-{self._mark}-{epochs}.npz"
        checkpoints.write(target, self._fit, arrays)
        with checkpoints.written(target):
            for other, path in self._files().items():
                if not epochs - _KEPT < other <= epochs:
                    path.unlink(missing_ok=True)

    def done(self) -> None:
        """The fit is over: the files go."""
        for path in self._files().values():
            path.unlink(missing_ok=True)

    def _files(self) -> dict[int, Path]:
        if self._folder is None or not self._folder.is_dir():
            return {}
        form = re.compile(rf"{re.escape(self._name)}\.split-{self._mark}-(\d{{1,6}})\.npz")
        found = ((form.fullmatch(path.name), path) for path in self._folder.iterdir())
        return {int(match[1]): path for match, path in found if match}
