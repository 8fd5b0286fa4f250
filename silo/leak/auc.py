"""The area under the ROC curve in NumPy, with an interval, and compared only among records that look alike.

The area and its error are DeLong, DeLong and Clarke-Pearson's (Biometrics 1988): each positive's share of negatives
below it, a tie counting one half. Over strata the areas are averaged by their numbers of pairs, as van Elteren's test
does, so that a score which only repeats what the strata tell already comes out at one half.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError

Array = npt.NDArray[Any]

_NORMAL: Final = NormalDist()
_BINS: Final = 20


@dataclass(frozen=True, slots=True)
class Area:
    """An area under the curve, between 0 and 1, and its standard error."""

    value: float
    error: float

    def flipped(self) -> Area:
        """The area of the same score with the other sign."""
        return Area(1 - self.value, self.error)

    def interval(self, confidence: float, choices: int = 1) -> tuple[float, float]:
        """Both ends; they hold for all of so many areas at once (Bonferroni), so for the best of them too."""
        z = _NORMAL.inv_cdf(1 - (1 - confidence) / 2 / choices)
        return max(0.0, self.value - z * self.error), min(1.0, self.value + z * self.error)


def auc(scores: Array, labels: Array) -> float:
    """The chance that a positive scores above a negative, ties counting one half. Raises `ParameterError`."""
    return area(scores, labels).value


def area(scores: Array, labels: Array, strata: Array | None = None) -> Area:
    """The area and its error; with `strata` (n integers, from 0 on) only pairs of one stratum are compared.

    Where no stratum has both labels nothing is known: one half, with an error as large. Raises `ParameterError` for
    scores that are not finite, and where all labels are alike.
    """
    values, positive = np.asarray(scores, np.float64), np.asarray(labels) > 0
    if values.shape != positive.shape or values.ndim != 1:
        raise ParameterError(f"one score per label is needed, and {values.shape} is not {positive.shape}")
    if not np.isfinite(values).all():
        raise ParameterError("a score is not finite: the gradients held NaN or infinity")
    if strata is not None:
        # Each stratum's scores in an interval of its own, so that one sort serves all.
        values = np.asarray(strata) + _unit(values)
    above, below = np.sort(values[positive]), np.sort(values[~positive])
    kinds = 1 if strata is None else int(values.max(initial=0.0)) + 1
    counts = [_counts(one, kinds) for one in (above, below)]
    weights = counts[0] * counts[1]
    pairs = float(weights.sum())
    if not pairs:
        if strata is None or positive.all() or not positive.any():
            raise ParameterError("an area under the curve needs records of both labels")
        return Area(0.5, 0.5)
    shares = (_beaten(below, above, counts[1], counts[0]), _beaten(above, below, counts[0], counts[1]))
    means = _sums(shares[0], counts[0]) / np.maximum(counts[0], 1)
    variance = np.zeros(kinds)
    for each, count in zip(shares, counts, strict=True):
        variance += _spread(each, count)
    return Area(float(weights @ means) / pairs, math.sqrt(float(np.square(weights / pairs) @ variance)))


def quick(scores: Array, labels: Array) -> float:
    """The area alone, of scores that are known to be finite and labels that are booleans of both kinds."""
    above, below = np.sort(scores[labels]), np.sort(scores[~labels])
    places = np.searchsorted(below, above, "left") + np.searchsorted(below, above, "right")
    return float(places.mean()) / (2 * len(below))


def strata(prior: Array, bins: int = _BINS) -> Array:
    """Group records of a like prior: `bins` groups of equal size by rank."""
    order = np.argsort(prior, kind="stable")
    found = np.empty(len(order), np.int64)
    found[order] = np.arange(len(order)) * bins // max(len(order), 1)
    return found


def _unit(values: Array) -> Array:
    """The same order between 0 and 1."""
    low, high = values.min(initial=0.0), values.max(initial=0.0)
    return np.asarray((values - low) / ((high - low) * 1.000001 or 1.0))


def _counts(values: Array, kinds: int) -> Array:
    if kinds == 1:
        return np.array([len(values)])
    return np.bincount(values.astype(np.int64), minlength=kinds)


def _beaten(among: Array, each: Array, theirs: Array, own: Array) -> Array:
    """For each value the part of its stratum's `among` below it, ties counting one half; both are sorted."""
    places = np.searchsorted(among, each, "left") + np.searchsorted(among, each, "right")
    before = np.repeat(np.cumsum(theirs) - theirs, own)
    return np.asarray((places / 2 - before) / np.maximum(np.repeat(theirs, own), 1))


def _sums(each: Array, counts: Array) -> Array:
    """Sums over consecutive groups of so many."""
    ends = np.concatenate([[0.0], np.cumsum(each)])
    last = np.cumsum(counts)
    return np.asarray(ends[last] - ends[last - counts])


def _spread(each: Array, counts: Array) -> Array:
    """The variance of each group's mean; of a single value it is not known, and taken as the most it can be."""
    means = _sums(each, counts) / np.maximum(counts, 1)
    squares = _sums(np.square(each - np.repeat(means, counts)), counts)
    known = np.maximum(counts * (counts - 1), 1)
    return np.where(counts > 1, squares / known, 0.25)
