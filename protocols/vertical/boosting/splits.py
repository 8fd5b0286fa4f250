"""The best split of a node, from the integer histograms of all owners' columns.

Gain: Chen and Guestrin 2016, equation 7, twice. Rows with a missing value go to the side where they gain more
(section 3.4); where a node has none, later ones go to the side with more rows. The categories of a column are
ordered by their g / (h + l2), and divided like ordered bins (Fisher 1958; as in LightGBM).

Where a category goes, a column's owner is told, and it follows from the gradients: of a single row it is the label.
So a category with fewer than `Terms.least_rows` rows in the node goes right whatever its gradients are (compare
LightGBM's min_data_per_group), and so do missing values, if there are any but fewer than that; and no split parts so
few rows of such alone from all others. `routing.Split.check_rows` is the same rule at who has the column. As what is
rare goes right, the others are tried in both orders.

Equal gains: the first column in the order of owners (those in the other order are behind all), then the first bin,
then missing values to the right. All is computed value by value from the same integers, so that it does not depend on
whose columns they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.protocols.vertical.boosting.columns import Shape
from silo.protocols.vertical.boosting.gradients import Words
from silo.protocols.vertical.boosting.histogram import CHANNELS
from silo.protocols.vertical.boosting.parameters import Terms
from silo.protocols.vertical.boosting.routing import Split

LEAST_GAIN: Final = 1e-6
"""As in the XGBoost library: what is below is rounding."""


@dataclass(frozen=True, slots=True)
class Found:
    """A split of a node: its column in the order of all owners, and the (g, h, rows) that go left."""

    split: Split
    left: Words
    gain: float


def totals(hist: Words, shape: Shape) -> Words:
    """The (g, h, rows) of the node: those of its first column; (3,)."""
    found: Words = hist[: shape.widths[0]].sum(axis=0)
    return found


class Finder:
    """Looks for splits in histograms of one shape, (codes, 3), under one set of terms."""

    def __init__(self, shape: Shape, terms: Terms) -> None:
        self._terms = terms
        text = np.array(shape.categorical)
        # Columns of categories come a second time, in the other order.
        self._column = np.concatenate([np.arange(len(shape)), np.flatnonzero(text)])
        self._sign = np.where(np.arange(len(self._column)) < len(shape), 1.0, -1.0)
        self._bins = np.array(shape.bins)[self._column]
        most, count = int(self._bins.max()), len(self._column)
        starts = np.concatenate([[0], np.cumsum(shape.widths)[:-1]])[self._column]
        within = np.arange(most)[None, :]
        self._real = within < self._bins[:, None]
        # Where each bin stands in a histogram; the place behind the last is a row of zeros.
        self._places = np.where(self._real, starts[:, None] + within, shape.width)
        self._missing = starts + self._bins
        self._categorical = text[self._column]
        self._order = np.broadcast_to(within, (count, most))

    def best(self, hist: Words, steps: tuple[float, float]) -> Found | None:
        """The best split, or None where none is worth it; `steps` make (g, h) real."""
        padded = np.vstack([hist, np.zeros((1, CHANNELS), np.int64)])
        bins = padded[self._places]
        missing = padded[self._missing]
        order, bins = self._ordered(bins, steps)
        right = np.cumsum(bins, axis=1)
        whole = right[:, -1:, :] + missing[:, None, :]
        # Left sides with missing values to the right, and to the left.
        left = np.stack([right, right + missing[:, None, :]], axis=2)
        gains = self._gains(left, whole[:, :, None, :] - left, whole[0, 0], steps)
        gains[self._of_few(bins[..., 2], missing[:, 2])] = -np.inf
        best = int(np.argmax(gains))
        column, place, side = np.unravel_index(best, gains.shape)
        gain = float(gains[column, place, side])
        if not gain > max(self._terms.gamma, LEAST_GAIN):
            return None
        count = int(self._bins[column])
        table = np.zeros(count + 1, bool)
        table[order[column, : place + 1]] = True
        sums = left[column, place, side]
        none = not missing[column, 2]
        table[count] = bool(side) or bool(none and 2 * sums[2] >= whole[column, 0, 2])
        return Found(Split.of(int(self._column[column]), table), sums, gain)

    def _ordered(self, bins: Words, steps: tuple[float, float]) -> tuple[npt.NDArray[Any], Words]:
        """The order of each column's bins, and the bins in it."""
        if not self._categorical.any():
            return self._order, bins
        order = self._order.copy()
        for column in np.flatnonzero(self._categorical):
            g, h, n = bins[column].T
            ratio = np.full(len(g), np.inf)
            # Not below zero only: without l2 a hessian that was rounded to nothing divides by nothing.
            weight = h * steps[1] + self._terms.l2
            np.divide(g * steps[0] * self._sign[column], weight, out=ratio, where=(n > 0) & (weight > 0))
            # Rare categories come last, where no split ends.
            order[column] = np.lexsort((ratio, n < self._terms.least_rows))
        return order, np.take_along_axis(bins, order[:, :, None], axis=1)

    def _of_few(self, rows: npt.NDArray[np.int64], missing: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """(columns, bins in their order, sides): what is no split at all, or says where few rows without order go."""
        least, text = self._terms.least_rows, self._categorical[:, None]
        rest = rows.sum(axis=1, keepdims=True) - np.cumsum(rows, axis=1)
        few = missing[:, None] < least
        never = ~self._real | (text & (rows < least))
        alone = np.where(text, rest + missing[:, None] < least, (rest == 0) & few)
        return np.stack([never | alone, never | few | (text & (rest < least))], axis=2)

    def _gains(
        self, left: Words, right: Words, whole: Words, steps: tuple[float, float]
    ) -> npt.NDArray[np.float64]:
        terms = self._terms
        gains = self._score(left, steps) + self._score(right, steps)
        gains -= self._score(whole, steps)
        for side in (left, right):
            fits = (side[..., 2] >= terms.min_samples_leaf) & (
                side[..., 1] * steps[1] >= terms.min_child_weight
            )
            gains[~fits] = -np.inf
        return gains

    def _score(self, side: Words, steps: tuple[float, float]) -> npt.NDArray[np.float64]:
        g, weight = side[..., 0] * steps[0], side[..., 1] * steps[1] + self._terms.l2
        out = np.zeros(np.shape(weight))
        np.divide(g * g, weight, out=out, where=weight > 0)
        return out
