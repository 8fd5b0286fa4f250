"""What training needs after a crash: the global parameters and how far the federation had come.

Written to a new file and renamed, so that there is always one whole checkpoint; read without pickle.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from silo import private_file
from silo.crypto import labels
from silo.crypto.errors import ParameterError
from silo.training import learner
from silo.training.learner import Parameters

_POSITION, _ROUND = "silo:position", "silo:round"


@dataclass(frozen=True, eq=False)
class State:
    """Global parameters after `round` rounds, at the session's collective number `position`."""

    parameters: Parameters
    position: int
    round: int

    @property
    def digest(self) -> bytes:
        """What the roll call shows: parameters and rounds done; the position stands beside it. 32 bytes."""
        model = learner.digest(self.parameters)
        return hashlib.sha256(labels.bind(labels.MODEL, model, self.round)).digest()

    def to_bytes(self) -> bytes:
        buffer = io.BytesIO()
        numbers = {_POSITION: np.int64(self.position), _ROUND: np.int64(self.round)}
        np.savez(buffer, allow_pickle=False, **self.parameters, **numbers)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, raw: bytes, *, like: Parameters) -> State:
        """Read a state whose parameters have the names and shapes of `like`. Raises `ParameterError`."""
        try:
            _require_small(raw, like)
            with np.load(io.BytesIO(raw), allow_pickle=False) as loaded:
                if set(loaded.files) != {*like, _POSITION, _ROUND}:
                    raise ParameterError(
                        "a checkpoint belongs to another model: its parameters have other names"
                    )
                parameters = {key: loaded[key] for key in like}
                position, done = int(loaded[_POSITION]), int(loaded[_ROUND])
        except ParameterError:
            raise
        except (ValueError, OSError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as problem:
            # RuntimeError: an archive that claims to be encrypted, or of a version that is not known.
            raise ParameterError(f"a checkpoint cannot be read ({type(problem).__name__})") from None
        for key, value in parameters.items():
            if value.shape != like[key].shape or value.dtype.kind != "f":
                raise ParameterError(
                    f"a checkpoint belongs to another model: {key} has shape {value.shape}, "
                    f"not {like[key].shape}"
                )
        return cls(parameters, position, done)


def _require_small(raw: bytes, like: Parameters) -> None:
    """Refuse, before anything is allocated, an archive that unpacks to more than `like`."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > len(raw):
                raise ValueError
            with archive.open(entry) as file:
                np.lib.format.read_magic(file)
                shape, _, kind = np.lib.format.read_array_header_1_0(file)
            known = like.get(entry.filename.removesuffix(".npy"))
            if kind.itemsize > 16 or (shape != known.shape if known is not None else shape):
                raise ParameterError(
                    "a checkpoint belongs to another model: its parameters have other shapes"
                )


def save(path: Path, state: State) -> None:
    """Replace the checkpoint, all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with private_file.replacing(path) as file:
        file.write(state.to_bytes())


def load(path: Path, *, like: Parameters) -> State | None:
    """The last checkpoint, or None. Raises `ParameterError`."""
    return State.from_bytes(path.read_bytes(), like=like) if path.is_file() else None
