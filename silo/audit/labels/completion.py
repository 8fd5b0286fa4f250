"""Model completion: a few labelled records and a head turn a party's own bottom into a guesser of labels.

Fu et al., "Label inference attacks against vertical federated learning" (USENIX Security 2022), section 4.2; the active
form (section 4.3) is the same on a bottom that was trained by `silo.audit.labels.malicious`. The head is a ridge
logistic regression on the bottom's outputs.

A bottom that learned something useful guesses labels well, and that is what training together is for. Only the excess
is a leak: how much better records of the training are guessed than (1) held-out records, by the same bottom and head,
and (2) the same records from the host's bare features with the same few labels, which takes no protocol. The larger of
both is the honest baseline. A figure above one half alone says nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.leak.auc import Area, area

Array = npt.NDArray[Any]

FEW: Final = 100
"""Labelled records that the attacker has."""
_RIDGE: Final = 1.0
_STEPS: Final = 25
_CHOICES: Final = 1


@dataclass(frozen=True, slots=True)
class Completion:
    """Areas under the curve; `low` is the lower end of the excess of `train` over the larger of the others."""

    train: float
    held_out: float
    alone: float
    excess: float
    low: float

    @property
    def leaks(self) -> bool:
        """Whether records of the training are guessed better than honesty explains."""
        return self.low > 0


@dataclass(frozen=True, slots=True, eq=False)
class Guessed:
    """What the attacker sees of records: its bottom's outputs and its bare features; and their labels, to score it."""

    outputs: Array
    features: Array
    labels: Array


def complete(train: Guessed, held_out: Guessed, few: Array, *, confidence: float = 0.95) -> Completion:
    """Learn a head on the records `few` of the training, and guess all others. Raises `ParameterError`."""
    labels = train.labels[few]
    if len(np.unique(labels)) < 2:
        raise ParameterError("the few labelled records are all of one class: choose more of them")
    head, bare = Head.fit(train.outputs[few], labels), Head.fit(train.features[few], labels)
    rest = np.setdiff1d(np.arange(len(train.labels)), few)
    own = area(head.score(train.outputs[rest]), train.labels[rest])
    new = area(head.score(held_out.outputs), held_out.labels)
    alone = area(bare.score(train.features[rest]), train.labels[rest])
    excesses = [_excess(own, base, confidence) for base in (new, alone)]
    excess, low = (min(figures) for figures in zip(*excesses, strict=True))
    return Completion(own.value, new.value, alone.value, excess, low)


def direct(gradients: Array, column: int | None = None) -> Array:
    """Score each record by the gradient of its own logits where no layer merges them (Fu et al. 2022, section 4.1).

    Of one column the score is the negated gradient, for sigmoid(z) - y is negative exactly where y is 1. Of more, give
    the column of the positive class: softmax(z) - onehot is negative in the label's column only.
    """
    rows = gradients.reshape(len(gradients), -1)
    if rows.shape[1] == 1:
        return np.asarray(-rows[:, 0])
    if column is None:
        raise ParameterError("with several logits, name the column of the positive class")
    return np.asarray(-rows[:, column])


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A ridge logistic regression on standardised columns."""

    mean: Array
    spread: Array
    weights: Array

    @classmethod
    def fit(cls, columns: Array, labels: Array) -> Head:
        """Fit by Newton's method."""
        mean, spread = columns.mean(axis=0), columns.std(axis=0)
        spread = np.where(spread > 0, spread, 1.0)
        design = _design((columns - mean) / spread)
        weights = np.zeros(design.shape[1])
        penalty = np.full(design.shape[1], _RIDGE)
        penalty[-1] = 1e-6
        for _ in range(_STEPS):
            chance = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
            slope = design.T @ (chance - labels) + penalty * weights
            curve = (design.T * (chance * (1 - chance))) @ design + np.diag(penalty)
            weights = weights - np.linalg.solve(curve, slope)
        return cls(mean, spread, weights)

    def score(self, columns: Array) -> Array:
        """Logits, (records,)."""
        return np.asarray(_design((columns - self.mean) / self.spread) @ self.weights)


def _design(columns: Array) -> Array:
    return np.column_stack([np.asarray(columns, np.float64), np.ones(len(columns))])


def _excess(own: Area, base: Area, confidence: float) -> tuple[float, float]:
    """How much better, and the lower end, for independent errors."""
    difference = own.value - base.value
    both = Area(0.5, math.hypot(own.error, base.error))
    low, _ = both.interval(confidence, _CHOICES)
    return difference, difference - (0.5 - low)
