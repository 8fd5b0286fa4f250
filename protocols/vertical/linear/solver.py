"""Newton's method over the label party's own columns and the score directions that the others have shown.

The model is z = offset + F theta, and the objective loss(y, z) + theta' P theta / 2 + b' theta + l1 |theta|_1.
Everything here is plain numbers at one party.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from silo.protocols.vertical.linear.families import Family, Floats

_STEPS: Final = 100
_HALVINGS: Final = 40
_SWEEPS: Final = 200


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """What is minimised: rows `y`, features `F` (rows, p), penalty matrix P (p, p), slope b and l1 of each parameter.

    `low` and `high` bound each parameter; where nothing is bounded they are infinite.
    """

    family: Family
    y: Floats
    features: Floats
    penalty: Floats
    slope: Floats
    l1: Floats
    offset: Floats
    low: Floats
    high: Floats

    @property
    def plain(self) -> bool:
        """Whether the objective is smooth and without bounds."""
        return not self.l1.any() and bool(np.isinf(self.low).all() and np.isinf(self.high).all())

    def scores(self, theta: Floats) -> Floats:
        """z, one a row."""
        found: Floats = self.offset + self.features @ theta
        return found

    def value(self, theta: Floats) -> float:
        """The objective."""
        smooth = self.family.loss(self.y, self.scores(theta)) + float(theta @ self.penalty @ theta) / 2
        return smooth + float(self.slope @ theta) + float(self.l1 @ np.abs(theta))


def minimise(problem: Problem, start: Floats, tol: float = 1e-10) -> Floats:
    """theta, from `start` on, until a step changes no entry by more than `tol`."""
    theta = np.clip(start, problem.low, problem.high)
    value = problem.value(theta)
    for _ in range(_STEPS):
        mean = problem.family.mean(problem.scores(theta))
        curvature = problem.family.variance(mean)
        gradient = problem.features.T @ (mean - problem.y) + problem.penalty @ theta
        gradient += problem.slope
        hessian = (problem.features * curvature[:, None]).T @ problem.features + problem.penalty
        if problem.plain:
            step = _newton(hessian, gradient)
        else:
            step = _coordinates(hessian, gradient, theta, problem.l1, problem.low, problem.high)
        theta, value, moved = _along(problem, theta, value, step)
        if moved <= tol * (1 + float(np.abs(theta).max(initial=0.0))):
            break
    return theta


def _newton(hessian: Floats, gradient: Floats) -> Floats:
    # Directions that say nothing new make it singular: the least step is taken. One that says nothing at all keeps its
    # scale: under a tiny one, what is left of rounding would be a step without end.
    diagonal = np.diag(hessian)
    scale = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    solved = np.linalg.lstsq(hessian / np.outer(scale, scale), gradient / scale, rcond=1e-13)[0]
    return np.asarray(-solved / scale)


def _coordinates(
    hessian: Floats, gradient: Floats, theta: Floats, l1: Floats, low: Floats, high: Floats
) -> Floats:
    """The step to the minimum of the quadratic model with l1 and bounds, by coordinate descent."""
    target, slope = theta.copy(), gradient.copy()
    for _ in range(_SWEEPS):
        largest = 0.0
        for place in range(len(theta)):
            curve = hessian[place, place]
            if curve <= 0:
                continue
            free = target[place] - slope[place] / curve
            best = np.sign(free) * max(abs(free) - l1[place] / curve, 0.0)
            change = min(max(best, low[place]), high[place]) - target[place]
            if change:
                target[place] += change
                slope += hessian[:, place] * change
                largest = max(largest, abs(change))
        if largest <= 1e-12 * (1 + float(np.abs(target).max(initial=0.0))):
            break
    return np.asarray(target - theta)


def _along(problem: Problem, theta: Floats, value: float, step: Floats) -> tuple[Floats, float, float]:
    """Halve the step until the objective does not rise; the new theta, its value, and how far it moved."""
    scale = 1.0
    for _ in range(_HALVINGS):
        found = theta + scale * step
        reached = problem.value(found)
        if reached <= value:
            return found, reached, float(np.abs(found - theta).max(initial=0.0))
        scale /= 2
    return theta, value, 0.0


def proximal_step(hessian: Floats, gradient: Floats, weights: Floats, l1: float) -> Floats:
    """From `weights`, the step to the minimum of the quadratic model with l1 |weights|_1; without l1 Newton's."""
    if not l1:
        return _newton(hessian, gradient)
    infinite = np.full(len(weights), np.inf)
    return _coordinates(hessian, gradient, weights, np.full(len(weights), l1), -infinite, infinite)
