"""How far the fit of a linear model has come, in a file of its member."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from silo.protocols.vertical.linear.host import HostState
from silo.protocols.vertical.linear.search import LabelState
from silo.vertical import checkpoints
from silo.vertical.checkpoints import Arrays

_SEED = "seed"
_LISTS = ("scores", "grams", "norms", "starts")


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

    def _read(self) -> Arrays | None:
        return None if self._path is None else checkpoints.read(self._path, self._fit)

    def _write(self, arrays: Arrays) -> None:
        if self._path is not None:
            checkpoints.write(self._path, self._fit, arrays)


def _place(key: str) -> int:
    return int(key.partition(":")[2] or 0)
