"""Poisson sampling: each of n records is kept by itself, with the same probability.

Record i is kept when word i of a keystream (64 bits, little-endian) is below floor(q 2^64): with a probability that
is never above q, and below it by less than 2^-64. A rate is accounted for as q, which is the safe side. With q below
2^-64 nothing is kept, and with q = 1 everything.
"""

from __future__ import annotations

import operator
from typing import Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.crypto.prg import SEED_BYTES, Keystream
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret

_CHUNK_WORDS: Final = 32 * 1024


def subsample(count: int, probability: float, *, rng: Rng) -> npt.NDArray[np.int64]:
    """Return the indices, ascending, of the records kept out of `count`; memory is of the order of the result.

    Raises `ParameterError` for a negative count and for a probability that is not above 0 and at most 1.
    """
    if operator.index(count) < 0:
        raise ParameterError(f"a sample is drawn from 0 or more records, not from {count}")
    if not 0 < probability <= 1:
        raise ParameterError(f"a sampling probability is above 0 and at most 1, not {probability}")
    if probability == 1:
        return np.arange(count, dtype=np.int64)
    # Exact: a float times a power of two; the largest float below 1 leaves the bound below 2^64.
    bound = np.uint64(int(float(probability) * 2.0**64))
    stream = Keystream(Secret.random(SEED_BYTES, rng=rng))
    words = np.empty(min(_CHUNK_WORDS, count), np.uint64)
    kept = [np.empty(0, np.int64)]
    for at in range(0, count, _CHUNK_WORDS):
        piece = words[: count - at]
        stream.fill(piece)
        kept.append(np.flatnonzero(piece < bound) + at)
    return np.concatenate(kept)
