"""What every sum ends with, and the head that stands in front of every vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy.typing as npt

HEAD_WORDS: Final = 3
"""Words of 64 bits in front of every vector: a canary of 1, the weight, the count of saturated values."""
WEIGHT_UNIT: Final = 2**20
"""Weights travel as integer multiples of 2^-20, so whole numbers are exact."""
MAX_WEIGHT: Final = 2.0**31


@dataclass(frozen=True, slots=True, eq=False)
class Total:
    """The sum over the survivors: ring words, the sum of weights, how many values were clipped."""

    words: npt.NDArray[Any]
    weight: float
    saturated: int
    survivors: tuple[str, ...]
