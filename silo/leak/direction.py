"""The direction that the labels have in the returned gradients, estimated without any label.

Of a scalar residual r the gradient of a record is r J: wherever J hardly varies, all gradients lie along one line, the
top singular direction of the batch (Sun et al. 2022, "Label leakage and protection from forward embedding in vertical
federated learning", section 3, and the cosine attack of Li et al. 2022, "Label leakage and protection in two-party
split learning", section 3.2, whose reference it is here). It is followed from batch to batch, so that sums over epochs
do not cancel; which end of it is the positive one follows from the ratio of the classes: the minority is positive, and
most records lie on the other side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_DECAY: Final = 0.98
_STEPS: Final = 3


class Direction:
    """A unit vector that follows the second moment of the gradients seen."""

    def __init__(self, width: int) -> None:
        self.axis: Array = np.zeros(width, np.float32)
        self._moment: Array = np.zeros((width, width), np.float32)

    def follow(self, gradients: Array, moment: Array) -> Array:
        """Take in a batch (records, width) and its second moment (width, width), and return the direction with it."""
        self._moment *= _DECAY
        self._moment += moment
        if self.axis.any():
            self.axis = leading(self._moment, self.axis)
            return self.axis
        self.axis = top(moment)
        if np.count_nonzero(gradients @ self.axis > 0) * 2 > len(gradients):
            self.axis = -self.axis
        return self.axis

    def arrays(self) -> dict[str, Array]:
        """What is needed to go on."""
        return {"axis": self.axis.copy(), "moment": self._moment.copy()}

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Take `arrays` back."""
        self.axis, self._moment = arrays["axis"].copy(), arrays["moment"].copy()


def leading(moment: Array, start: Array) -> Array:
    """The top direction of a moment that is near `start`, by some steps of the power method; its sign is kept."""
    axis = start
    for _ in range(_STEPS):
        axis = moment @ axis
        length = float(axis @ axis) ** 0.5
        if not length > 0:
            return start
        axis = axis / length
    return axis


def top(moment: Array) -> Array:
    """The top direction of a symmetric moment, of either sign."""
    return np.asarray(np.linalg.eigh(moment)[1][:, -1])


def centred_top(rows: Array) -> Array:
    """The top direction of rows (records, width) around their mean, of either sign."""
    mean = rows.mean(axis=0)
    return top(rows.T @ rows - len(rows) * np.outer(mean, mean))
