"""Noise on returned gradients that makes the two classes look alike within one batch: Marvell.

Li et al., "Label Leakage and Protection in Two-party Split Learning" (ICLR 2022, arXiv 2102.08504), section 4.2.

A utility extra. It gives NO guarantee: its noise follows the batch, whose means and spreads depend on the labels, and
it is drawn anew for each batch. Figures of single batches flatter it; a host that sums a row's gradients over epochs
reads the label (`silo audit labels --defence marvell` shows it). What bounds a leak is `silo.vertical.Noise`.

What is solved. The gradients of negatives and positives count as N(m0, u I) and N(m1, v I), in `width` numbers; D is
m1 - m0, p the share of positives, q = 1 - p. Each class gets Gaussian noise with one eigenvalue along D and another for
every direction beside it. With the noise the classes' variances are a, b along D and A, B beside it, and the sum of
both Kullback-Leibler divergences, in units of |D|^2, is (`objective` is twice this plus 2 width)

    ((width - 1) (A/B + B/A) + a/b + b/a + 1/a + 1/b) / 2 - width

It is made as small as a budget allows: q (a + (width - 1) A - width u) + p (b + (width - 1) B - width v), the mean
squared length of a row's noise, is `power`. In the logarithms of a, b, A and B all this is convex (a geometric
program), so there is one optimum. The paper alternates between pairs of variables; here what can be solved is solved:

- beside D only the narrower class gets noise, up to the variance of the wider one;
- along D, with R of the budget left, b/a = sqrt((R + q) / (R + p)), or one class gets none;
- one number is left, how much goes beside D, and a golden-section search finds it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto.gaussian import gaussian
from silo.crypto.rng import Rng
from silo.errors import ParameterError
from silo.protocols.split.wire import Rows, require_finite

Pair = tuple[float, float]
"""Of negatives and of positives."""

_STEPS: Final = 45
_GOLDEN: Final = (math.sqrt(5) - 1) / 2
_LEAST: Final = 1e-12
"""The least variance of a class in units of |D|^2: one row alone has none, and a ratio needs some."""


@dataclass(frozen=True, slots=True)
class Marvell:
    """Label-dependent Gaussian noise of mean squared length `power` |D|^2 a row, D the difference of the class means.

    No guarantee: it makes single batches look safe, and sums over epochs give the labels away. Raises `ParameterError`.
    """

    power: float = 4.0

    def __post_init__(self) -> None:
        if not 0 < self.power < math.inf:
            raise ParameterError(f"the power of Marvell's noise is a number above 0, not {self.power}")

    def disguise(self, gradients: Rows, labels: npt.NDArray[np.int64], *, rng: Rng) -> Rows:
        """One batch's gradients (rows, width) as they are returned, for labels (rows,) of 0 and 1.

        A batch of one class, or of equal class means, has no budget: it is returned as it is. Raises `ParameterError`.
        """
        shape = fit(gradients, labels, self.power)
        if shape is None:
            return gradients
        draws = gaussian(gradients.size, 1.0, rng=rng).reshape(gradients.shape)
        return np.asarray(gradients + shape.noise(draws, labels), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """The noise of one batch: the unit vector along D (width,), and both classes' deviations along and beside it."""

    axis: npt.NDArray[np.float64]
    along: Pair
    beside: Pair

    def noise(self, draws: npt.NDArray[Any], labels: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Standard normal draws (rows, width) as the noise of rows of these labels, 0 or 1."""
        chosen = np.asarray(labels).astype(np.intp)
        beside = np.array(self.beside)[chosen]
        extra = (np.array(self.along)[chosen] - beside) * (draws @ self.axis)
        found: npt.NDArray[np.float64] = draws * beside[:, None] + extra[:, None] * self.axis
        return found


def fit(gradients: npt.NDArray[Any], labels: npt.NDArray[Any], power: float) -> Shape | None:
    """The best noise for a batch (rows, width) of labels (rows,), or None where the class means do not differ.

    Raises `ParameterError` for labels that are not 0 or 1, one for each row, and for gradients that are not finite.
    """
    given, told = np.asarray(gradients, np.float64), np.asarray(labels)
    if given.ndim != 2 or told.shape != given.shape[:1]:
        raise ParameterError(
            f"Marvell takes one label a row: {told.shape} labels came for {given.shape} gradients"
        )
    positive = told == 1
    count = int(np.count_nonzero(positive))
    if count + np.count_nonzero(told == 0) != len(told):
        wrong = told[~positive & (told != 0)][0]
        raise ParameterError(f"Marvell takes labels of 0 and 1, not {wrong}: it is made for two classes")
    require_finite(gradients, "a gradient holds")
    if not 0 < count < len(told):
        return None
    classes = given[~positive], given[positive]
    means = [one.mean(axis=0) for one in classes]
    apart = means[1] - means[0]
    square = float(apart @ apart)
    if not square > 0:
        return None
    spreads = [float(np.square(one - mean).mean()) / square for one, mean in zip(classes, means, strict=True)]
    share = count / len(told)
    along, beside = optimum((spreads[0], spreads[1]), given.shape[1], share, power)
    scale = math.sqrt(square)
    return Shape(apart / scale, _deviations(along, scale), _deviations(beside, scale))


def optimum(spreads: Pair, width: int, share: float, power: float) -> tuple[Pair, Pair]:
    """Eigenvalues of both classes' noise, along and beside the difference of their means, in units of its square.

    `spreads`: the classes' own variances per number, in the same units. `share`: of positives, above 0 and below 1.
    """
    own = max(spreads[0], _LEAST), max(spreads[1], _LEAST)
    shares = 1 - share, share
    thin = 0 if own[0] < own[1] else 1
    each = (width - 1) * shares[thin]
    room = power + shares[0] * own[0] + shares[1] * own[1]

    def of(narrow: float) -> tuple[Pair, Pair]:
        """Variances, when the narrower class has this one beside the difference."""
        left = max(room - each * (narrow - own[thin]), room - power)
        beside = (narrow, own[1]) if thin == 0 else (own[0], narrow)
        return _along(left, own, shares), beside

    narrow = own[thin]
    if width > 1:
        most = min(own[1 - thin], narrow + power / each)
        found = _lowest(lambda log: objective(*of(math.exp(log)), width), math.log(narrow), math.log(most))
        narrow = min(max(math.exp(found), narrow), most)
    along, beside = of(narrow)
    return _less(along, own), _less(beside, own)


def objective(along: Pair, beside: Pair, width: int) -> float:
    """Twice the sum of both divergences, plus 2 `width`, of variances along and beside the difference of the means."""
    (a, b), (c, d) = along, beside
    return (width - 1) * (c / d + d / c) + a / b + b / a + 1 / a + 1 / b


def _along(room: float, own: Pair, shares: Pair) -> Pair:
    """The best variances along the difference, of weighted sum `room`, and neither below the class's own."""
    ratio = math.sqrt((room + shares[0]) / (room + shares[1]))
    negative = room / (shares[0] + shares[1] * ratio)
    # On this line the objective falls to its lowest point and rises after it, so a bound that is crossed is the best.
    if negative < own[0]:
        return own[0], (room - shares[0] * own[0]) / shares[1]
    if ratio * negative < own[1]:
        return (room - shares[1] * own[1]) / shares[0], own[1]
    return negative, ratio * negative


def _lowest(of: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one valley is lowest between two ends, by golden section."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = of(left), of(right)
    for _ in range(_STEPS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = of(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = of(right)
    return (low + high) / 2


def _less(total: Pair, own: Pair) -> Pair:
    return max(total[0] - own[0], 0.0), max(total[1] - own[1], 0.0)


def _deviations(eigenvalues: Pair, scale: float) -> Pair:
    return math.sqrt(eigenvalues[0]) * scale, math.sqrt(eigenvalues[1]) * scale
