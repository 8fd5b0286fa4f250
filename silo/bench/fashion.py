"""Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017) as Debian's package dataset-fashion-mnist installs it."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.errors import ParameterError

FOLDER: Final = Path("/usr/share/datasets/fashion-mnist")
"""Where the package puts it."""
CLASSES: Final = 10
_MOST_BYTES: Final = 60_000 * 28 * 28 + 64
_BYTES: Final = 0x08

Bytes = npt.NDArray[np.uint8]


def load(folder: Path) -> tuple[Bytes, Bytes, Bytes, Bytes]:
    """Images (rows, 28, 28) and labels (rows,) to train, then to test. Raises `ParameterError`."""
    train_x, train_y, test_x, test_y = (
        _read(folder / f"{part}-{kind}-ubyte.gz", axes)
        for part in ("train", "t10k")
        for kind, axes in (("images-idx3", 3), ("labels-idx1", 1))
    )
    for images, labels in ((train_x, train_y), (test_x, test_y)):
        if (
            len(images) != len(labels)
            or images.shape[1] != images.shape[2]
            or labels.max(initial=0) >= CLASSES
        ):
            raise ParameterError(
                f"the images and labels in {folder} do not belong together: fetch them again"
            )
    return train_x, train_y, test_x, test_y


def _read(path: Path, axes: int) -> Bytes:
    """One file in the idx form: two zeros, the type, the number of axes, their lengths, the bytes."""
    try:
        with gzip.open(path) as file:
            raw = file.read(_MOST_BYTES)
    except FileNotFoundError:
        raise ParameterError(
            f"{path.parent} holds no {path.name}: install Debian's dataset-fashion-mnist, or give --fashion DIR"
        ) from None
    except (OSError, EOFError, zlib.error):
        raise ParameterError(f"{path} cannot be read: fetch it again") from None
    head = 4 + 4 * axes
    shape = [int.from_bytes(raw[at : at + 4], "big") for at in range(4, head, 4)]
    if raw[:4] != bytes([0, 0, _BYTES, axes]) or len(raw) != head + math.prod(shape):
        raise ParameterError(f"{path} is no idx file of {axes} axes of bytes: fetch it again")
    found: npt.NDArray[Any] = np.frombuffer(raw, np.uint8, offset=head)
    return found.reshape(shape)
