"""Exact draws from a finite distribution, by inversion of its cumulative weights, with a fair sign beside each.

A draw takes one 64-bit word: its lowest bit is the sign, the other 63 are the head of a uniform binary fraction u,
and the index is the number of thresholds T_i / 2^127 = (weights[0] + ... + weights[i]) / total at or below u. Where
those 63 bits tie with a threshold's, and only there, the next 64 bits of u are read from the stream, and whole
numbers decide. Each index so has its exact probability up to 2^-127.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.crypto.prg import Keystream

_HEAD: Final = 63
_TAIL: Final = 64


class Inversion:
    """A distribution over 0, ..., len(weights) - 1, from integer weights at least one of which is above 0."""

    __slots__ = ("_heads", "_thresholds")

    def __init__(self, weights: Sequence[int]) -> None:
        total = sum(weights)
        if total <= 0 or min(weights) < 0:
            raise ParameterError(
                "a distribution has weights of 0 or more, and one above 0: there is nothing to draw"
            )
        self._thresholds = [(reached << (_HEAD + _TAIL)) // total for reached in accumulate(weights)]
        # The last is 2^63, which no head reaches: an index from it is always one of the table.
        self._heads = np.array([threshold >> _TAIL for threshold in self._thresholds], np.uint64)

    def draw(
        self, words: npt.NDArray[np.uint64], stream: Keystream
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Return an index, and whether the sign is negative, per word; ties read on from `stream`."""
        heads = words >> np.uint64(1)
        indices = np.searchsorted(self._heads, heads, side="left").astype(np.int64, copy=False)
        for tie in np.flatnonzero(self._heads[indices] == heads):
            u = (int(heads[tie]) << _TAIL) | next_word(stream)
            indices[tie] = bisect_right(self._thresholds, u)
        return indices, (words & np.uint64(1)).astype(np.bool_)


def next_word(stream: Keystream) -> int:
    """Read 64 bits, little-endian."""
    word = np.empty(1, np.uint64)
    stream.fill(word)
    return int(word[0])
