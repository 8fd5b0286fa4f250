"""In how many directions a batch of gradients points: those of a linear guide have one for each logit, and no more."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

ROUNDED: Final = 0.01
"""What rounding on the wire may leave outside: at most a third of it, of int8 and a cut of 1,024."""


def outside(gradients: Array, most: int) -> float:
    """The part of the batch's energy that lies outside the `most` directions of its longest rows (records, width).

    Each direction is that of the row that the ones before leave most of: an exact answer where the rank is small.
    """
    left = np.array(gradients, np.float64).reshape(len(gradients), -1)
    whole = float(np.square(left).sum())
    for _ in range(min(most, left.shape[1])):
        squares = np.einsum("ij,ij->i", left, left)
        longest = int(np.argmax(squares))
        if not squares[longest] > 0:
            return 0.0
        axis = left[longest] / np.sqrt(squares[longest])
        left -= np.outer(left @ axis, axis)
    return float(np.square(left).sum()) / whole if whole > 0 else 0.0
