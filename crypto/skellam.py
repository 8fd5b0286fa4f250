"""Skellam noise: the difference of two Poisson variables of mean variance/2 each, exact to 2^-100 per draw.

Agarwal, Kairouz and Liu, "The Skellam Mechanism for Differentially Private Federated Learning" (NeurIPS 2021): sums
of such noise are such noise, of the summed variance. All probabilities are whole numbers (`bessel`, `inversion`);
no float takes part in a draw. Where it looks in a table depends on what it draws, as in any inversion.

A variance up to 2^20 is drawn by inversion of |X|, and a sign. Above, |X| is cut into cells of 2^k values, 128 to
256 of them per standard deviation. A cell is drawn by inversion with its highest probability as weight, then a
value in it, which is kept with probability I_n / I_cell start: von Neumann's rejection, exact whatever the cells.
A 64-bit word decides it without I_n in 99.4 % of draws, as I_n lies above I at the next cell's start. The draw of
a negative zero is not kept, or zero would be counted twice.
"""

from __future__ import annotations

import math
import operator
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from silo.crypto.bessel import LEAST_WIDE, REACH, Decay, masses
from silo.crypto.errors import ParameterError
from silo.crypto.inversion import Inversion, next_word
from silo.crypto.prg import SEED_BYTES, Keystream
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret

MOST_VARIANCE: Final = 2.0**80
"""Standard deviation 2^40: the noise stays below 2^44, and int64 holds sums of it over 2^19 parties."""

_CHUNK_WORDS: Final = 16 * 1024
_CELLS_PER_STD_BITS: Final = 7


def skellam(count: int, variance: float, *, rng: Rng) -> npt.NDArray[np.int64]:
    """Draw `count` integers of mean 0 and the given variance (above 0, at most 2^80).

    The first draw for a variance prepares a table, in a tenth of a second at most. Raises `ParameterError` for a
    negative count, or a variance out of bounds.
    """
    if operator.index(count) < 0:
        raise ParameterError(f"noise is drawn for 0 or more values, not for {count}")
    if not 0 < variance <= MOST_VARIANCE:
        raise ParameterError(f"the variance of Skellam noise is above 0 and at most 2^80, not {variance}")
    sampler = _sampler(float(variance))
    stream = Keystream(Secret.random(SEED_BYTES, rng=rng))
    out = np.empty(count, np.int64)
    done = 0
    while done < count:
        drawn = sampler.draw(min(_CHUNK_WORDS, count - done), stream)
        out[done : done + len(drawn)] = drawn
        done += len(drawn)
    return out


class Narrow:
    """Skellam by inversion of |X|, for a variance up to 2^20."""

    __slots__ = ("_magnitudes",)

    def __init__(self, variance: float) -> None:
        zero, *others = masses(variance)
        self._magnitudes = Inversion([zero, *(2 * mass for mass in others)])

    def draw(self, count: int, stream: Keystream) -> npt.NDArray[np.int64]:
        """Return `count` values; each takes one word of the stream."""
        words = np.empty(count, np.uint64)
        stream.fill(words)
        magnitude, negative = self._magnitudes.draw(words, stream)
        np.negative(magnitude, out=magnitude, where=negative)
        return magnitude


class Wide:
    """Skellam by rejection from cells, for a variance from 2^20 on."""

    __slots__ = ("_bits", "_cells", "_decay", "_starts", "_surely")

    def __init__(self, variance: float) -> None:
        std = math.sqrt(variance)
        self._bits = math.frexp(std)[1] - 1 - _CELLS_PER_STD_BITS
        self._decay = Decay(variance)
        cells = math.floor(REACH * std) >> self._bits
        self._starts = [self._decay.at(cell << self._bits) for cell in range(cells + 1)]
        self._cells = Inversion(self._starts[:-1])
        # Two less than the ratio: rounding may not put a word here that the exact comparison refuses.
        ratios = [(low << 64) // high - 2 for high, low in zip(self._starts, self._starts[1:], strict=False)]
        self._surely = np.array(ratios, np.uint64)

    def draw(self, count: int, stream: Keystream) -> npt.NDArray[np.int64]:
        """Return up to `count` values, those kept of `count` trials; each trial takes three words."""
        words = np.empty((3, count), np.uint64)
        stream.fill(words)
        cell, negative = self._cells.draw(words[0], stream)
        within = (words[1] & np.uint64((1 << self._bits) - 1)).astype(np.int64)
        magnitude = (cell << self._bits) + within
        kept = words[2] < self._surely[cell]
        for trial in np.flatnonzero(~kept):
            u = (int(words[2, trial]) << 64) | next_word(stream)
            high = self._starts[int(cell[trial])]
            kept[trial] = u * high < self._decay.at(int(magnitude[trial])) << 128
        kept &= ~(negative & (magnitude == 0))
        np.negative(magnitude, out=magnitude, where=negative)
        found: npt.NDArray[np.int64] = magnitude[kept]
        return found


@lru_cache(maxsize=8)
def _sampler(variance: float) -> Narrow | Wide:
    return Narrow(variance) if variance <= LEAST_WIDE else Wide(variance)
