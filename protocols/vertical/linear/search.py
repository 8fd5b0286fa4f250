"""The label party's search: the exact objective over its own coefficients and the weights of all directions so far.

Without l1 the whole span of the directions is searched (subspace optimisation). With l1 the penalty is known only
between two points of a host, so only the last step is: |w + a p|_1 <= (1 - a) |w|_1 + a |w + p|_1 for a in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from silo.crypto.errors import refuse_pickle
from silo.protocols.vertical.linear import solver
from silo.protocols.vertical.linear.families import Floats
from silo.protocols.vertical.linear.solver import Problem
from silo.protocols.vertical.linear.terms import Terms


@dataclass(eq=False, repr=False)
class LabelState:
    """What the label party keeps from pass to pass. Secret: the directions' scores are the hosts'."""

    seed: bytes
    """What residuals are rounded with, so that a pass that is done again gives the same."""
    scores: list[Floats] = field(default_factory=list)
    """One number a row for each direction, (rows,)."""
    grams: list[Floats] = field(default_factory=list)
    """Inner products of each direction with all before and itself."""
    norms: list[Floats] = field(default_factory=list)
    """With l1: |w|_1 before and after each step."""
    starts: list[Floats] = field(default_factory=list)
    """Where each search ended, and the next begins: own parameters, then weights of directions."""

    def cut(self, passes: int) -> None:
        """Forget all after so many passes."""
        del self.scores[passes:], self.grams[passes:], self.norms[passes:], self.starts[passes:]

    def __reduce__(self) -> Any:
        refuse_pickle(self)


@dataclass(frozen=True, slots=True, eq=False)
class LabelModel:
    """The label party's part: intercept, its own coefficients, scores of the training rows, and how it went."""

    intercept: float
    coefficients: Floats
    scores: Floats
    passes: int
    converged: bool


class Search:
    """Where the search stands."""

    def __init__(self, terms: Terms, x: Floats, y: Floats, intercept: bool) -> None:
        self._terms, self._y, self._free = terms, y, int(intercept)
        self._own = np.hstack([np.ones((len(y), self._free)), x])
        self._diagonal = np.full(self._own.shape[1], terms.l2)
        self._l1 = np.full(self._own.shape[1], terms.l1)
        self._diagonal[: self._free] = self._l1[: self._free] = 0
        self._theta: Floats = np.zeros(self._own.shape[1])
        self._weights: Floats = np.zeros(0)
        self._scores: Floats = np.zeros(len(y))
        self.value = 0.0

    def over(self, state: LabelState) -> float:
        """Minimise over what is known; returns by how much the objective fell because of the last direction."""
        count, own = len(state.scores), self._own.shape[1]
        before = state.starts[-1] if state.starts else np.zeros(own)
        self._theta, self._weights = before[:own], before[own:]
        problem, start = (self._segment if self._terms.l1 else self._span)(state)
        found = solver.minimise(problem, start)
        self.value = problem.value(found)
        self._scores = problem.scores(found)
        self._theta, shown = found[:own], found[own:]
        if self._terms.l1 and count > len(self._weights):
            shown = np.append(self._weights, shown)
        elif self._terms.l1:
            shown = self._weights
        self._weights = shown
        if len(state.starts) == count:
            state.starts.append(np.concatenate([self._theta, self._weights]))
        return problem.value(start) - self.value

    def _span(self, state: LabelState) -> tuple[Problem, Floats]:
        count, own = len(state.scores), self._own.shape[1]
        features = np.hstack([self._own, np.array(state.scores).reshape(count, len(self._y)).T])
        penalty = np.zeros((own + count, own + count))
        penalty[:own, :own] = np.diag(self._diagonal)
        for place, gram in enumerate(state.grams):
            at = own + place
            penalty[at, own : at + 1] = penalty[own : at + 1, at] = self._terms.l2 * gram
        nothing = np.zeros(own + count)
        start = np.concatenate([self._theta, self._weights, np.zeros(count - len(self._weights))])
        return self._problem(features, penalty, nothing, nothing, np.zeros(len(self._y))), start

    def _segment(self, state: LabelState) -> tuple[Problem, Floats]:
        offset = np.zeros(len(self._y))
        for weight, scores in zip(self._weights, state.scores, strict=False):
            offset += weight * scores
        if len(state.scores) == len(self._weights):
            nothing = np.zeros(len(self._theta))
            return self._problem(self._own, np.diag(self._diagonal), nothing, self._l1, offset), self._theta
        gram, (before, after) = state.grams[-1], state.norms[-1]
        features = np.hstack([self._own, state.scores[-1][:, None]])
        penalty = np.diag(np.append(self._diagonal, self._terms.l2 * gram[-1]))
        slope = self._terms.l2 * float(gram[:-1] @ self._weights) + self._terms.l1 * float(after - before)
        slopes = np.append(np.zeros(len(self._theta)), slope)
        problem = self._problem(features, penalty, slopes, np.append(self._l1, 0.0), offset, last=(0.0, 1.0))
        return problem, np.append(self._theta, 0.0)

    def _problem(
        self,
        features: Floats,
        penalty: Floats,
        slope: Floats,
        l1: Floats,
        offset: Floats,
        last: tuple[float, float] = (-np.inf, np.inf),
    ) -> Problem:
        low, high = np.full(features.shape[1], -np.inf), np.full(features.shape[1], np.inf)
        low[-1:], high[-1:] = last
        return Problem(self._terms.likelihood, self._y, features, penalty, slope, l1, offset, low, high)

    def residual(self) -> Floats:
        """y - mean, one a row."""
        found: Floats = self._y - self._terms.likelihood.mean(self._scores)
        return found

    def curvature(self) -> float:
        """The mean second derivative of the loss, to 8 bits: hosts need no more of it."""
        mean = self._terms.likelihood.mean(self._scores)
        fraction, exponent = np.frexp(float(np.mean(self._terms.likelihood.variance(mean))))
        return float(np.ldexp(np.rint(fraction * 256) / 256, int(exponent)))

    def weights(self) -> tuple[float, ...]:
        """Of the directions, in their order."""
        return tuple(float(weight) for weight in self._weights)

    def model(self, passes: int, converged: bool) -> LabelModel:
        """The label party's part."""
        first = float(self._theta[0]) if self._free else 0.0
        return LabelModel(first, self._theta[self._free :], self._scores, passes, converged)
