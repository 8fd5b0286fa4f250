"""Activations of several hosts as 32-bit ring words, under masks that leave only their sum to be read.

A number x is rint(x 2^20) modulo 2^32. Every two hosts share a keystream, as in
`silo.protocols.vertical.masks`: the earlier name adds it and the later takes it away.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.protocols.split.wire import Rows

POINT: Final = 20
WORD_BYTES: Final = 4
LARGEST: Final = 128.0
"""No activation is beyond this: sums over 15 hosts stay below 2^11, where the ring ends."""

Words = npt.NDArray[np.uint32]


def encode(rows: Rows, who: str, first: int = 0) -> Words:
    """(rows, width) finite numbers as a flat array of words. Raises `ParameterError` for one that is too large."""
    beyond = np.abs(rows) > LARGEST
    if beyond.any():
        row, column = np.argwhere(beyond)[0]
        raise ParameterError(
            f"{who}: an activation of {rows[row, column]:g} in row {first + row} of the batch, and among three and "
            f"more members it is at most {LARGEST:g}: end the bottom module in one that bounds it, as torch.nn.Tanh"
        )
    steps = np.rint(rows.astype(np.float64) * 2.0**POINT).astype(np.int64)
    return steps.astype(np.uint32).reshape(-1)


def decode(words: Words, width: int) -> Rows:
    """(rows, width) numbers of (a sum of) words."""
    found: Rows = (words.view(np.int32) / 2.0**POINT).astype(np.float32).reshape(-1, width)
    return found


def read(raw: bytes) -> Words:
    """Words as they travelled."""
    return np.frombuffer(raw, "<u4").astype(np.uint32)
