"""Objectives, and their gradients as whole numbers, whose sums are exact whoever adds them up.

The gradients g and hessians h of a tree are scaled by powers of two, so that the largest is at most 2^20 in size,
and rounded. Two members' histograms, and that of a member who has all columns, then hold the same integers, and the
trees are the same bit for bit. Only the label party knows the powers: they say how large the errors still are.

Sources: Chen and Guestrin 2016, section 2.2, for g and h; Friedman 2001, section 4.6, for several classes: one tree
per class and iteration, with h = p (1 - p) doubled, as the XGBoost library has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.protocols.vertical.boosting.parameters import FIXED_BITS, MOST_CLASSES

Floats = npt.NDArray[np.float64]
Words = npt.NDArray[np.int64]
Table = npt.NDArray[np.float64]
"""(rows, groups): a margin, gradient or hessian for each row and each tree of an iteration."""
LEAST_HESSIAN: Final = 1e-16


class Objective(Protocol):
    """What is minimised; `groups` trees are grown in an iteration."""

    @property
    def groups(self) -> int: ...

    @property
    def classes(self) -> bool:
        """Whether labels are classes, 0, 1, …"""
        ...

    def base(self, y: Floats) -> Floats:
        """The margins before the first tree, (groups,), from the labels of the rows trained on."""
        ...

    def derivatives(self, y: Floats, margins: Table) -> tuple[Table, Table]:
        """Gradients and hessians of the loss by the margins, both (rows, groups)."""
        ...

    def loss(self, y: Floats, margins: Table) -> float:
        """The mean loss."""
        ...


class SquaredError:
    """Half the squared error of numbers."""

    groups = 1
    classes = False

    def base(self, y: Floats) -> Floats:
        return np.array([y.mean()])

    def derivatives(self, y: Floats, margins: Table) -> tuple[Table, Table]:
        return margins - y[:, None], np.ones_like(margins)

    def loss(self, y: Floats, margins: Table) -> float:
        return float(np.square(margins[:, 0] - y).mean() / 2)


class Logistic:
    """Log loss of two classes, 0 and 1."""

    groups = 1
    classes = True

    def base(self, y: Floats) -> Floats:
        mean = _inside(float(y.mean()))
        return np.array([np.log(mean / (1 - mean))])

    def derivatives(self, y: Floats, margins: Table) -> tuple[Table, Table]:
        p = self.probabilities(margins)
        return p - y[:, None], np.maximum(p * (1 - p), LEAST_HESSIAN)

    def loss(self, y: Floats, margins: Table) -> float:
        return float((np.logaddexp(0, margins[:, 0]) - y * margins[:, 0]).mean())

    @staticmethod
    def probabilities(margins: Table) -> Table:
        return 1 / (1 + np.exp(-np.clip(margins, -500, 500)))


@dataclass(frozen=True)
class Softmax:
    """Log loss of `groups` classes, 0, 1, …"""

    groups: int
    classes = True

    def __post_init__(self) -> None:
        if not 3 <= self.groups <= MOST_CLASSES:
            raise ParameterError(f"softmax has 3 to {MOST_CLASSES} classes, not {self.groups}")

    def base(self, y: Floats) -> Floats:
        shares = np.bincount(y.astype(np.int64), minlength=self.groups) / len(y)
        return np.array([np.log(_inside(float(share))) for share in shares])

    def derivatives(self, y: Floats, margins: Table) -> tuple[Table, Table]:
        p = self.probabilities(margins)
        hessian = np.maximum(2 * p * (1 - p), LEAST_HESSIAN)
        gradient = p.copy()
        gradient[np.arange(len(y)), y.astype(np.int64)] -= 1
        return gradient, hessian

    def loss(self, y: Floats, margins: Table) -> float:
        top = margins.max(axis=1)
        total = top + np.log(np.exp(margins - top[:, None]).sum(axis=1))
        return float((total - margins[np.arange(len(y)), y.astype(np.int64)]).mean())

    @staticmethod
    def probabilities(margins: Table) -> Table:
        raised = np.exp(margins - margins.max(axis=1, keepdims=True))
        found: Table = raised / raised.sum(axis=1, keepdims=True)
        return found


@dataclass(frozen=True, slots=True)
class Fixed:
    """The (g, h) of some rows as whole numbers, (rows, 2), and the powers of two that make them real again."""

    words: Words
    steps: tuple[float, float]


def fix(gradient: Floats, hessian: Floats) -> Fixed:
    """Scale and round; hessians are at least 0, and no word is above 2^20 in size."""
    columns, steps = [], []
    for values in (gradient, hessian):
        largest = float(np.abs(values).max(initial=0.0))
        if not np.isfinite(largest):
            raise ParameterError("the gradients are not finite: lower the learning rate, or scale the labels")
        # frexp gives the smallest power of two that the largest value does not exceed, or twice that.
        exponent = int(np.frexp(largest)[1]) if largest else 0
        exponent = max(exponent, FIXED_BITS - 1000)
        steps.append(2.0 ** (exponent - FIXED_BITS))
        columns.append(np.rint(values / steps[-1]).astype(np.int64))
    return Fixed(np.stack(columns, axis=1), (steps[0], steps[1]))


def _inside(share: float) -> float:
    return min(max(share, 1e-6), 1 - 1e-6)
