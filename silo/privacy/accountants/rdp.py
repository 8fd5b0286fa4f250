"""Renyi differential privacy of events, at whole orders: the accountant of the filter.

Mironov (CSF 2017); Poisson-sampled Gaussian: Mironov, Talwar and Zhang (arXiv 1908.10530), whose sum over
binomials is exact at whole orders; Skellam: Agarwal, Kairouz and Liu (NeurIPS 2021, theorem 3.5); conversion:
Canonne, Kamath and Steinke (NeurIPS 2020, proposition 12). Logarithms of sums are in double precision, and every
divergence is then raised by a relative 1e-9, above what the rounding can have taken off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.privacy import events
from silo.privacy.errors import Unaccountable
from silo.privacy.events import Event

ORDERS: Final = (*range(2, 65), 80, 96, 128, 192, 256, 512, 1024)
_UP: Final = 1e-9


def curve(event: Event, orders: Sequence[int] = ORDERS) -> npt.NDArray[np.float64]:
    """The divergence at each order; infinite where there is no bound. Raises `Unaccountable`."""
    return np.array([divergence(event, order) for order in orders])


def divergence(event: Event, order: int) -> float:
    """The divergence of an event at one whole order from 2 on. Raises `Unaccountable`."""
    match event:
        case events.Repeated():
            return event.count * divergence(event.event, order)
        case events.Composed():
            return math.fsum(divergence(one, order) for one in event.events)
        case events.NoPrivacy():
            return math.inf
        case _:
            return _single(event, order)


class RDP:
    """The accountant: epsilon by the best order. What has a delta of its own is added plainly."""

    name = "RDP"
    version = "silo 1"

    def epsilon(self, event: Event, delta: float) -> float:
        """Epsilon at `delta`; infinite where there is none. Raises `Unaccountable`."""
        rest, epsilon, lost = split(event)
        left = delta - lost
        if rest is None:
            return epsilon if left >= 0 else math.inf
        if left <= 0:
            return math.inf
        found = math.inf
        for order, value in zip(ORDERS, curve(rest), strict=True):
            if value == 0:
                return epsilon
            bound = value + math.log1p(-1 / order) - (math.log(left) + math.log(order)) / (order - 1)
            found = min(found, max(bound, 0.0))
        return found + epsilon


def split(event: Event) -> tuple[Event | None, float, float]:
    """Take the events with a delta of their own off: what is left, and the sums of their epsilon and delta."""
    if isinstance(event, events.EpsilonDelta) and event.delta > 0:
        return None, event.epsilon, event.delta
    if isinstance(event, events.Repeated):
        rest, epsilon, delta = split(event.event)
        kept = None if rest is None else events.Repeated(rest, event.count)
        return kept, event.count * epsilon, event.count * delta
    if isinstance(event, events.Composed):
        parts = [split(one) for one in event.events]
        left = tuple(rest for rest, _, _ in parts if rest is not None)
        return (
            events.Composed(left) if left else None,
            math.fsum(epsilon for _, epsilon, _ in parts),
            math.fsum(delta for _, _, delta in parts),
        )
    return event, 0.0, 0.0


@lru_cache(maxsize=65536)
def _single(event: Any, order: int) -> float:
    match event:
        case events.Gaussian():
            return order / (2 * event.noise_multiplier**2) * (1 + _UP)
        case events.Laplace():
            return _laplace(event.noise_multiplier, order) * (1 + _UP)
        case events.RandomizedResponse():
            epsilon = math.log(event.keep * (event.values - 1) / (1 - event.keep))
            return _pure(epsilon, order)
        case events.Skellam():
            return _skellam(event, order) * (1 + _UP)
        case events.EpsilonDelta(epsilon, 0.0):
            return _pure(epsilon, order)
        case events.PoissonSampled(1.0, inner):
            return divergence(inner, order)
        case events.PoissonSampled(probability, events.Gaussian(sigma)):
            return _sampled_gaussian(probability, sigma, order) * (1 + _UP)
        case events.PoissonSampled(probability, events.EpsilonDelta(epsilon, 0.0)):
            return _pure(math.log1p(probability * math.expm1(epsilon)), order)
        case events.PoissonSampled(probability, events.Laplace(scale)):
            return _pure(math.log1p(probability * math.expm1(1 / scale)), order)
    raise Unaccountable(
        f"the RDP accountant has no sound bound for {type(event).__name__}"
        f"{f' of {type(event.event).__name__}' if isinstance(event, events.PoissonSampled) else ''}: "
        "state an EpsilonDelta that is proven"
    )


def _sampled_gaussian(q: float, sigma: float, order: int) -> float:
    """log E[((1 - q) + q e^(privacy loss))^order] / (order - 1), in logarithms."""
    k = np.arange(order + 1, dtype=np.float64)
    lgamma = np.array([math.lgamma(i + 1) for i in range(order + 1)])
    log_binomial = lgamma[order] - lgamma - lgamma[::-1]
    terms = log_binomial + k * math.log(q) + (order - k) * math.log1p(-q) + k * (k - 1) / (2 * sigma**2)
    # The terms with k = 0 and 1 have no loss; together with those of the others they sum to 1 + excess.
    excess = log_binomial[2:] + k[2:] * math.log(q) + (order - k[2:]) * math.log1p(-q)
    gain = k[2:] * (k[2:] - 1) / (2 * sigma**2)
    if gain[-1] < 700 and float(np.max(excess + gain)) < 0:
        # Small losses: 1 + sum of binomial q^k (1 - q)^(order - k) (e^gain - 1), without cancellation.
        return math.log1p(math.fsum(np.exp(excess) * np.expm1(gain))) / (order - 1)
    top = float(np.max(terms))
    return max(0.0, (top + math.log(math.fsum(np.exp(terms - top)))) / (order - 1))


def _laplace(scale: float, order: int) -> float:
    first = math.log(order / (2 * order - 1)) + (order - 1) / scale
    second = math.log((order - 1) / (2 * order - 1)) - order / scale
    top = max(first, second)
    return (top + math.log(math.exp(first - top) + math.exp(second - top))) / (order - 1)


def _skellam(event: events.Skellam, order: int) -> float:
    v = event.variance
    square = ((2 * order - 1) * event.l2**2 + 6 * event.l1) / (4 * v**2)
    return order * event.l2**2 / (2 * v) + min(square, 3 * event.l1 / (2 * v))


def _pure(epsilon: float, order: int) -> float:
    """Pure differential privacy: the divergence of randomized response with this epsilon is the largest."""
    if epsilon == 0:
        return 0.0
    if order * epsilon > 700:
        return epsilon
    top = math.sinh(order * epsilon) - math.sinh((order - 1) * epsilon)
    return min(epsilon, math.log(top / math.sinh(epsilon)) / (order - 1) * (1 + _UP))
