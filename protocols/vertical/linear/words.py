"""Scores and other real numbers as words of a ring, in which `silo.protocols.vertical.masks` hides them.

A number x is rint(x 2^36) modulo 2^64.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError

POINT: Final = 36
WORD_BYTES: Final = 8
PIECE: Final = 1 << 17
"""Words of a piece, a MiB: of 2^24 rows there are 128, and who is fast is not far ahead of who is slow."""
LARGEST: Final = 2.0**22
"""No number is beyond this: sums over 16 hosts stay below 2^26, and the ring ends at 2^27."""

Floats = npt.NDArray[np.float64]
Words = npt.NDArray[np.uint64]


def encode(numbers: Floats, what: str) -> Words:
    """Numbers as words. Raises `ParameterError` for one that is not finite, or too large."""
    if not (np.abs(numbers) <= LARGEST).all():
        raise ParameterError(
            f"{what} would be beyond {LARGEST:.0f}: scale the columns, for example to a mean of 0 and a deviation of "
            "1, and in a regression the labels"
        )
    found: Words = np.rint(numbers * 2.0**POINT).astype(np.int64).view(np.uint64)
    return found


def decode(words: Words) -> Floats:
    """The numbers of (a sum of) words."""
    found: Floats = words.view(np.int64).astype(np.float64) / 2.0**POINT
    return found


def read(raw: bytes) -> Words:
    """Words as they travelled."""
    return np.frombuffer(raw, "<u8").astype(np.uint64)
