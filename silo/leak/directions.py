"""In how many directions a batch of gradients points: those of a linear guide have one for each logit, and no more."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

ROUNDED: Final = 0.001
"""What rounding may leave outside, by far; of rows in float32."""
_TINY: Final = 1e-30
"""Rows this short have lost their direction to rounding."""


def outside(gradients: Array, most: int) -> float:
    """The part of the batch's energy that lies outside the `most` directions of its longest rows (records, width).

    Each direction is that of the row that the ones before leave most of: an exact answer where the rank is small.
    """
    left = np.array(gradients, np.float64).reshape(len(gradients), -1)
    whole = float(np.square(left).sum())
    for _ in range(min(most, left.shape[1])):
        squares = np.einsum("ij,ij->i", left, left)
        longest = int(np.argmax(squares))
        if not squares[longest] > _TINY**2:
            return 0.0
        axis = left[longest] / np.sqrt(squares[longest])
        left -= np.outer(left @ axis, axis)
    return float(np.square(left).sum()) / whole if whole > 0 else 0.0
