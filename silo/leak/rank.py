"""In how many directions a batch of gradients points: those of a linear guide have one for each logit, and no more."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

ROUNDED: Final = 1e-6
"""What rounding may leave outside, by far; of numbers in float32, where a guide's batches leave some 1e-14."""
_TINY: Final = 1e-60
"""Squares this small have lost their direction to rounding."""
_ROUNDS: Final = 4


def outside(gradients: Array, most: int) -> float:
    """The part of a batch (records, width) that lies outside the `most` directions of its longest rows.

    Rows and columns count alike, however large they are (Sinkhorn's scaling, which changes no rank): else one huge
    number, at an activation from which the bottom does not learn, would hide all others. Each direction is that of the
    row that the ones before leave most of: an exact answer where the rank is small.
    """
    left = np.array(gradients, np.float64).reshape(len(gradients), -1)
    squares, columns = np.square(left), np.ones(left.shape[1])
    rows = np.ones(len(left))
    for _ in range(_ROUNDS):
        rows = _inverse(squares @ columns)
        columns = _inverse(rows @ squares)
    left *= np.sqrt(rows)[:, None]
    left *= np.sqrt(columns)
    whole = float(np.square(left).sum())
    for _ in range(min(most, left.shape[1])):
        lengths = np.einsum("ij,ij->i", left, left)
        longest = int(np.argmax(lengths))
        if not lengths[longest] > _TINY:
            return 0.0
        axis = left[longest] / np.sqrt(lengths[longest])
        left -= np.outer(left @ axis, axis)
    return float(np.square(left).sum()) / whole if whole > 0 else 0.0


def _inverse(sizes: Array) -> Array:
    """1 over each; 0 for what is as good as nothing."""
    return np.divide(1.0, sizes, out=np.zeros_like(sizes), where=sizes > _TINY)
