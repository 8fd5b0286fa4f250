"""Skellam noise: the difference of two Poisson variables of half the variance each, exactly.

    P(k) = e^-v I_|k|(v),   v the variance,   I the modified Bessel function

The probabilities come from Miller's backward recurrence I_(k-1) = I_(k+1) + (2 k / v) I_k, all of whose terms are
positive, in whole numbers of 256 bits and normalised by their own sum. A draw is the place of a uniform number of 128
bits among their cumulative sums: the first 64 bits decide, and only where they tie with a threshold are the other 64
drawn. What is cut off and rounded away is below 2^-100 per draw.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.crypto.prg import SEED_BYTES, Keystream
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret

MAX_VARIANCE: Final = 2.0**40
_WIDEST: Final = 2.0**22
"""The largest variance of one table (some 50,000 entries); larger noise is the sum of several draws."""
_BITS: Final = 256
_CHUNK: Final = 1 << 15


def skellam(count: int, variance: float, *, rng: Rng) -> npt.NDArray[np.int64]:
    """Draw `count` values of mean 0 and this variance. Raises `ParameterError`."""
    if not 0 < variance <= MAX_VARIANCE:
        raise ParameterError(f"the variance of Skellam noise is above 0 and at most 2^40, not {variance}")
    if count < 0:
        raise ParameterError(f"noise is drawn for at least 0 values, not {count}")
    parts = max(1, math.ceil(variance / _WIDEST))
    table = _Table.of(variance / parts)
    stream = Keystream(Secret(rng.bytes(SEED_BYTES)))
    out = np.zeros(count, np.int64)
    for _ in range(parts):
        for at in range(0, count, _CHUNK):
            piece = out[at : at + _CHUNK]
            piece += table.draw(len(piece), stream)
    return out


class _Table:
    """Cumulative probabilities of one variance, in two words each."""

    def __init__(self, variance: float) -> None:
        self.reach = math.ceil(12 * math.sqrt(variance) + 80)
        cumulative = _cumulative(variance, self.reach)
        self.high = np.array([one >> 64 for one in cumulative], np.uint64)
        self.low = np.array([one & (2**64 - 1) for one in cumulative], np.uint64)

    @staticmethod
    @lru_cache(maxsize=4)
    def of(variance: float) -> _Table:
        return _Table(variance)

    def draw(self, count: int, stream: Keystream) -> npt.NDArray[np.int64]:
        words = np.empty(count, np.uint64)
        stream.fill(words)
        # The value is the number of thresholds at or below the uniform number.
        place = np.searchsorted(self.high, words, side="right")
        tied = np.flatnonzero(place - np.searchsorted(self.high, words, side="left"))
        for index in tied:
            place[index] = self._settle(words[index], stream)
        return place.astype(np.int64) - self.reach

    def _settle(self, word: np.uint64, stream: Keystream) -> int:
        more = np.empty(1, np.uint64)
        stream.fill(more)
        first = int(np.searchsorted(self.high, word, side="left"))
        last = int(np.searchsorted(self.high, word, side="right"))
        return first + int(np.searchsorted(self.low[first:last], more[0], side="right"))


def _cumulative(variance: float, reach: int) -> list[int]:
    """P(X <= k) times 2^128, rounded, for k from -reach to reach - 1."""
    numerator, denominator = variance.as_integer_ratio()
    above, here = 0, 1 << _BITS
    terms = [here]
    # Begun well beyond the reach: the recurrence forgets its arbitrary start.
    start = reach + 64
    for k in range(start, 0, -1):
        above, here = here, above + (2 * k * denominator * here) // numerator
        terms.append(here)
    terms.reverse()
    kept = terms[: reach + 1]
    total = kept[0] + 2 * sum(kept[1:])
    probabilities = [*reversed(kept[1:]), *kept]
    found, running = [], 0
    for one in probabilities[:-1]:
        running += one
        found.append(((running << 128) + total // 2) // total)
    return [min(one, 2**128 - 1) for one in found]
