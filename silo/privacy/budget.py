"""The budget of one data set, and the filter that keeps it.

The filter is the Renyi filter of Feldman and Zrnic (NeurIPS 2021, arXiv 2008.11193): events may be chosen
adaptively, and are admitted while their Renyi divergences of one order add up to no more than the budget
allows at this order. The order is fixed when the budget is opened. (To admit whenever *some* order of several
still has room would need delta divided among the orders, as the order that counts could then depend on what
was released.) The conversion to (epsilon, delta) is that of Canonne, Kamath and Steinke (NeurIPS 2020,
proposition 12).

The PLD accountant is no gate: its optimal composition does not hold for adaptively chosen events
(arXiv 2602.06756). It reports.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from silo.errors import ParameterError
from silo.privacy.accountants.rdp import ORDERS

MAX_EPSILON: Final = 1000.0


def conversion(order: int, delta: float) -> float:
    """What an order's divergence is short of epsilon: epsilon = divergence + conversion."""
    return math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1)


@dataclass(frozen=True, slots=True)
class Budget:
    """Epsilon and delta for all that is ever released of a data set, and the order of its filter.

    Without an order it is the one at which Gaussian noise has most room. Training on samples would do best at a lower
    one: in 147 plans (epsilon .5 to 8, delta 1e-6 to 1e-3, sampling .005 to 1) it took 1 % more noise on average, and
    9 % at most. `delta` belongs well below 1 / (number of units).
    """

    epsilon: float
    delta: float
    order: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.epsilon <= MAX_EPSILON:
            raise ParameterError(
                f"epsilon of a budget is more than 0 and at most {MAX_EPSILON:g}, not {self.epsilon}"
            )
        if not 1e-300 < self.delta < 1:
            raise ParameterError(f"delta of a budget is between 0 and 1, not {self.delta}")
        if self.order == 0:
            best = max(ORDERS, key=lambda order: (self.epsilon - conversion(order, self.delta)) / order)
            object.__setattr__(self, "order", best)
        if self.order not in ORDERS:
            raise ParameterError(
                f"the filter has one of the orders {ORDERS[0]} to {ORDERS[-1]}, not {self.order}"
            )
        if not self.allowed > 0:
            raise ParameterError(
                f"a budget of epsilon {self.epsilon:g} at delta {self.delta:g} leaves order {self.order} nothing: "
                "take a larger delta, epsilon or order"
            )

    @property
    def allowed(self) -> float:
        """The Renyi divergence of the order that may be spent."""
        return self.epsilon - conversion(self.order, self.delta)

    def admits(self, spent: Spent) -> bool:
        """Whether so much may be spent in all."""
        return self.filter_epsilon(spent) <= self.epsilon

    def filter_epsilon(self, spent: Spent) -> float:
        """The epsilon that the filter counts for what was spent; infinite beyond rescue."""
        if spent.nothing:
            return 0.0
        delta = self.delta - spent.delta
        if delta <= 0 or not math.isfinite(spent.divergence):
            return math.inf
        if spent.divergence == 0:
            return spent.epsilon
        return max(0.0, spent.divergence + conversion(self.order, delta)) + spent.epsilon

    def used(self, spent: Spent) -> float:
        """The share of the budget that is gone, as the filter counts: above 1 is too much; infinite beyond rescue."""
        if self.filter_epsilon(spent) == math.inf:
            return math.inf
        if spent.divergence == 0:
            return spent.epsilon / self.epsilon
        left = self.epsilon - spent.epsilon - conversion(self.order, self.delta - spent.delta)
        return 1 - (left - spent.divergence) / self.allowed


@dataclass(frozen=True, slots=True)
class Spent:
    """What events cost at one order; what has a delta of its own is kept beside, and adds up plainly."""

    divergence: float = 0.0
    epsilon: float = 0.0
    delta: float = 0.0

    @property
    def nothing(self) -> bool:
        return self == Spent()

    def plus(self, other: Spent) -> Spent:
        return Spent(
            self.divergence + other.divergence, self.epsilon + other.epsilon, self.delta + other.delta
        )

    def most(self, other: Spent) -> Spent:
        """What covers both: for disjoint parts of one data set."""
        return Spent(
            max(self.divergence, other.divergence),
            max(self.epsilon, other.epsilon),
            max(self.delta, other.delta),
        )
