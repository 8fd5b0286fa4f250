"""Renyi divergences of events at integer orders, and epsilon from them. NumPy only; the ledger's filter uses it.

Divergences of independent events add up (Mironov, arXiv 1702.07476). Per event, at order a:

- Gaussian: a / (2 s^2). Under Poisson sampling: Mironov, Talwar and Zhang (arXiv 1908.10530, section 3.3, integer
  orders), both directions of "add or remove".
- Laplace, and what is epsilon-DP alone: closed forms (1702.07476, table II); sampled, by amplification.
- Skellam: Agarwal, Kairouz and Liu (NeurIPS 2021, arXiv 2110.04995, theorem 3.5), with v the variance:
  a l2^2 / (2 v) + min(((2a - 1) l2^2 + 6 l1) / (4 v^2), 3 l1 / (2 v)).

The conversion to (epsilon, delta) is that of Canonne, Kamath and Steinke (arXiv 2004.00010, proposition 12).
What has a delta of its own has no finite divergence: it is kept beside the curve, its epsilon is added and its
delta taken from the target. Every value is rounded up by more than the rounding error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.privacy import events
from silo.privacy.accountants.base import Leaves, check_delta, flatten, log_odds, pure, refuse, up
from silo.privacy.events import Event

ORDERS: Final = (*range(2, 65), 80, 96, 128, 192, 256, 512, 1024)
_MAX_ORDER: Final = 4096
_EPS: Final = 2.0**-52
_NO_PRIVACY: Final = 1e6
"""A pure epsilon beyond this one counts as none at all: its exponentials would overflow to NaN."""

Curve = npt.NDArray[np.float64]


class RDP:
    """The least epsilon over ORDERS: sound also when every event is chosen after seeing the earlier outputs,
    as long as the order is fixed beforehand (see `silo.privacy.budget`)."""

    name = "RDP"
    version = "silo 1"

    def epsilon(self, event: Event, delta: float) -> float:
        """An upper bound of epsilon at `delta`. Raises `Unaccountable`, `ParameterError`."""
        check_delta(delta)
        return epsilon_of(flatten(event), delta)


def epsilon_of(leaves: Leaves, delta: float) -> float:
    """The same of parts that were counted already."""
    within, epsilon, lost = apart(leaves)
    left = delta - up(lost)
    if left < 0:
        return math.inf
    least = least_epsilon(sum_of(within, ORDERS), ORDERS, left)
    alone = pure(events.Composed(tuple(events.Repeated(one, count) for one, count in within.items())))
    return up(epsilon + (least if alone is None else min(least, alone)))


def split(event: Event) -> tuple[Event | None, float, float]:
    """Take off what has a delta of its own: what is left (or None), and the sums of their epsilon and delta."""
    within, epsilon, delta = apart(flatten(event))
    rest = tuple(one if count == 1 else events.Repeated(one, count) for one, count in within.items())
    return (events.Composed(rest) if rest else None), up(epsilon), up(delta)


def divergence(event: Event, order: int) -> float:
    """The divergence of an event at one order. Raises as `curve`."""
    return float(curve(event, (order,))[0])


def apart(leaves: Leaves) -> tuple[Leaves, float, float]:
    within, epsilon, delta = {}, [], []
    for one, count in leaves.items():
        if isinstance(one, events.EpsilonDelta) and one.delta > 0:
            epsilon.append(count * one.epsilon)
            delta.append(count * one.delta)
        else:
            within[one] = count
    return within, math.fsum(epsilon), math.fsum(delta)


def least_epsilon(divergences: Curve, orders: Sequence[int], delta: float) -> float:
    """Convert a curve to epsilon at `delta`, by the best of its orders."""
    if not divergences.any():
        return 0.0
    if delta <= 0:
        return math.inf
    a = np.asarray(orders, np.float64)
    found = divergences + np.log1p(-1 / a) - (math.log(delta) + np.log(a)) / (a - 1)
    best = float(found.min())
    # Of infinities that cancelled nothing is known.
    return math.inf if math.isnan(best) else max(0.0, best)


def curve(event: Event, orders: Sequence[int] = ORDERS) -> Curve:
    """Divergences (len(orders),) of an event at integer orders from 2; infinite where there is no privacy.

    Raises `Unaccountable`, also for what has a delta of its own; `ParameterError` for other orders.
    """
    chosen = tuple(orders)
    if not chosen or any(type(one) is not int or not 2 <= one <= _MAX_ORDER for one in chosen):
        raise ParameterError(f"Renyi orders are whole numbers from 2 to {_MAX_ORDER}")
    return sum_of(flatten(event), chosen)


def sum_of(leaves: Leaves, orders: tuple[int, ...]) -> Curve:
    total = np.zeros(len(orders))
    for one, count in leaves.items():
        total += count * _leaf(one, orders)
    total *= 1 + (2 + len(leaves)) * _EPS
    return total


@lru_cache(maxsize=4096)
def _leaf(event: Event, orders: tuple[int, ...]) -> Curve:
    found = _divergence(event, orders)
    found.flags.writeable = False
    return found


def _divergence(event: Event, orders: tuple[int, ...]) -> Curve:
    a = np.asarray(orders, np.float64)
    with np.errstate(over="ignore"):
        if isinstance(event, events.NoPrivacy):
            return np.full(len(a), math.inf)
        if isinstance(event, events.Gaussian):
            return np.asarray(a * (_half_inverse_square(event.noise_multiplier) * (1 + 2 * _EPS)))
        if isinstance(event, events.Laplace):
            return _laplace(event.noise_multiplier, a)
        if isinstance(event, events.Skellam):
            return _skellam(event, a)
        if isinstance(event, events.RandomizedResponse):
            return _randomized_response(event, a)
        if isinstance(event, events.PoissonSampled) and isinstance(event.event, events.Gaussian):
            return _sampled_gaussian(event.probability, event.event.noise_multiplier, orders)
        bound = pure(event)
        if bound is None:
            raise refuse(event, "RDP")
        return _pure(bound, a)


def _half_inverse_square(sigma: float) -> float:
    """1 / (2 sigma^2), rounded up; never 0."""
    inverse = 1 / sigma
    return math.nextafter(up(inverse * inverse / 2), math.inf)


def _skellam(event: events.Skellam, a: Curve) -> Curve:
    v, l2, l1 = (np.float64(one) for one in (event.variance, event.l2, event.l1))
    leading = a * (l2 / v) * l2 / 2
    fine = ((2 * a - 1) * (l2 / v) ** 2 + 6 * (l1 / v) / v) / 4
    found = (leading + np.minimum(fine, 1.5 * (l1 / v))) * (1 + 16 * _EPS)
    return np.asarray(np.nextafter(found, math.inf))


def _pure(epsilon: float, a: Curve) -> Curve:
    """The largest divergence of anything epsilon-DP: that of a coin whose odds differ by e^epsilon.

    log(cosh((a - 1/2) e) / cosh(e / 2)) / (a - 1), in a form that loses nothing when epsilon is small.
    """
    if epsilon == 0:
        return np.zeros(len(a))
    if epsilon > _NO_PRIVACY:
        return np.full(len(a), math.inf)
    if epsilon < 1e-8:
        return np.asarray(a * epsilon * epsilon / 2 * (1 + 4 * _EPS) + math.ulp(0.0))
    log_rest = (
        math.log(2)
        + _log_sinh(a * (epsilon / 2))
        + _log_sinh((a - 1) * (epsilon / 2))
        - (epsilon / 2 + math.log1p(math.exp(-epsilon)) - math.log(2))
    )
    found = _log1p_exp(log_rest + 16 * _EPS * (1 + np.abs(log_rest))) / (a - 1)
    return np.asarray(np.minimum(found * (1 + 64 * _EPS), epsilon))


def _log_sinh(x: Curve) -> Curve:
    return np.asarray(np.where(x < 20, np.log(np.sinh(np.minimum(x, 20))), x - math.log(2)))


def _laplace(scale: float, a: Curve) -> Curve:
    t = 1 / scale
    bound = _pure(up(t), a)
    if t > 1e-4:
        more, less = np.log(a / (2 * a - 1)) + (a - 1) * t, np.log((a - 1) / (2 * a - 1)) - a * t
        # The sum is 1 + O(t^2): what is lost to rounding is a few units of its last place.
        found = (np.logaddexp(more, less) + 16 * _EPS * (1 + a * t)) / (a - 1)
        bound = np.minimum(bound, found)
    return bound


def _randomized_response(event: events.RandomizedResponse, a: Curve) -> Curve:
    """Between two true values; an absent one answers at random, which is a mixture of these."""
    # keep^a other^(1-a) + other^a keep^(1-a) + (values - 2) other is 1 plus this product, which loses no digits.
    odds = up(log_odds(event))
    if odds == 0:
        return np.zeros(len(a))
    log_excess = math.log(event.keep) + _log_expm1((a - 1) * odds) + np.log(-np.expm1(-a * odds))
    found = _log1p_exp(log_excess + 8 * _EPS * (1 + np.abs(log_excess))) / (a - 1)
    return np.minimum(_pure(odds, a), np.nextafter(found * (1 + 16 * _EPS), math.inf))


def _log_expm1(x: Curve) -> Curve:
    """log(e^x - 1) for x > 0 of any size."""
    near, far = np.minimum(x, 1), np.maximum(x, 1)
    return np.asarray(np.where(x > 1, far + np.log1p(-np.exp(-far)), np.log(np.expm1(near))))


def _log1p_exp(x: Curve) -> Curve:
    """log(1 + e^x), relatively exact also where it is tiny."""
    return np.asarray(np.where(x < 0, np.log1p(np.exp(np.minimum(x, 0))), np.logaddexp(0, x)))


def _sampled_gaussian(q: float, sigma: float, orders: tuple[int, ...]) -> Curve:
    """log(sum over k of Binomial(a, q)(k) exp((k^2 - k) / (2 sigma^2))) / (a - 1).

    The terms k = 0 and 1 are 1 less than nothing: what is summed is the excess over 1, all of it positive, so
    that a tiny q loses no digits.
    """
    x = _half_inverse_square(sigma)
    if not math.isfinite(x * _MAX_ORDER**2):
        return np.full(len(orders), math.inf)
    log_binomial, k, rest, starts, width = _table(orders)
    grow = k * (k - 1) * x
    excess = _log_expm1(grow)
    kept, left = k * math.log(q), rest * math.log1p(-q)
    terms = log_binomial + kept + left + excess
    terms += 4 * _EPS * (log_binomial - kept - left + np.abs(excess) + 1)
    most = np.maximum.reduceat(terms, starts)
    log_sum = most + np.log(np.add.reduceat(np.exp(terms - np.repeat(most, width)), starts))
    a = np.asarray(orders, np.float64)
    return np.asarray(np.nextafter(_log1p_exp(log_sum) / (a - 1) * (1 + 2048 * _EPS), math.inf))


@lru_cache(maxsize=64)
def _table(orders: tuple[int, ...]) -> tuple[Any, ...]:
    """For all orders behind each other: log C(a, k), k, a - k for k from 2; where each begins; how long each is."""
    log_binomial, k, rest = [], [], []
    for order in orders:
        value = order
        for chosen in range(2, order + 1):
            value = value * (order - chosen + 1) // chosen
            log_binomial.append(math.log(value))
            k.append(chosen)
            rest.append(order - chosen)
    width = np.asarray([order - 1 for order in orders])
    starts = np.concatenate(([0], np.cumsum(width)[:-1]))
    return np.asarray(log_binomial), np.asarray(k, np.float64), np.asarray(rest, np.float64), starts, width
