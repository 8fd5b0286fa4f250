"""Poisson sampling: each unit is in the sample independently, by a cryptographic stream."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.crypto.prg import SEED_BYTES, Keystream
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret

_CHUNK: Final = 1 << 16


def subsample(count: int, probability: float, *, rng: Rng) -> npt.NDArray[np.int64]:
    """The indices in [0, count) that are kept, in their order.

    Each is kept with the probability rounded down to 64 bits, so never more often than is accounted for.
    Raises `ParameterError`.
    """
    if not 0 < probability <= 1:
        raise ParameterError(f"a sampling probability is above 0 and at most 1, not {probability}")
    if count < 0:
        raise ParameterError(f"a sample is drawn from at least 0 units, not {count}")
    if probability == 1:
        return np.arange(count, dtype=np.int64)
    threshold = np.uint64(math.floor(math.ldexp(probability, 64)))
    stream = Keystream(Secret(rng.bytes(SEED_BYTES)))
    kept = [np.empty(0, np.int64)]
    for at in range(0, count, _CHUNK):
        words = np.empty(min(_CHUNK, count - at), np.uint64)
        stream.fill(words)
        kept.append(np.flatnonzero(words < threshold) + at)
    return np.concatenate(kept)
