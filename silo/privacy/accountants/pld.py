"""Privacy loss distributions: the accountant that reports.

After Google's dp-accounting, which composes and converts: pessimistic, connecting the dots, losses in steps of 1e-4.
The steps are finer where a whole composition loses little, and coarser, up to `COARSEST` and just as pessimistic,
where it would not fit into memory. The distributions themselves are made in `profile`: equal to dp-accounting's, for
more events, and much faster.

Skellam noise on vectors has none, as the worst one-dimensional shift is not the worst of all: it enters by the curve
that follows from its Renyi divergences. The rounding of Fourier transforms is taken from delta: without this,
dp-accounting is below the truth at small deltas (sigma 100, 10,000 times, delta 1e-12: 7.217 for 7.238). Where that
leaves nothing of delta, or the steps would be too coarse, the RDP accountant answers: both are upper bounds, and the
smaller one counts.

Independent of the order of events. No gate for events chosen adaptively: see `silo.privacy.budget`.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections import OrderedDict
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Final

import numpy as np

from silo.privacy import events
from silo.privacy.accountants import profile, rdp
from silo.privacy.accountants.base import Leaves, check_delta, flatten, log_odds, pure, refuse, up
from silo.privacy.events import Event

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from dp_accounting.pld import pld_pmf
    from dp_accounting.pld import privacy_loss_distribution as distribution
    from scipy import fft

STEP: Final = 1e-4
COARSEST: Final = STEP * 2**13
_FINEST: Final = STEP / 2**8
_MOST_CELLS: Final = 1 << 22
"""Of one distribution; 32 MiB."""
_KEPT_CELLS: Final = 1 << 23
_MOST_NOISE: Final = 1e6
"""More Gaussian noise counts as this much: its losses are in the grid's first cell."""
_TAIL: Final = 1e-15
_SLACK_PER_COUNT: Final = 2e-15
_SLACK_PER_COMPOSITION: Final = 1e-14


class PLD:
    """The tightest of the accountants. Compositions are kept: one more run costs one composition."""

    name = "PLD"
    version = f"dp-accounting {version('dp-accounting')}, steps of {STEP:g}"

    def epsilon(self, event: Event, delta: float) -> float:
        """An upper bound of epsilon at `delta`. Raises `Unaccountable`, `ParameterError`."""
        check_delta(delta)
        leaves = flatten(event)
        if events.NoPrivacy() in leaves:
            return math.inf
        for leaf in leaves:
            if not _supported(leaf):
                raise refuse(leaf, self.name)
        if not leaves:
            return 0.0
        return min(own(leaves, delta), rdp.epsilon_of(leaves, delta))


class _TooLong(Exception):
    """A distribution would have too many cells with these steps."""


def _supported(leaf: Event) -> bool:
    if isinstance(leaf, events.PoissonSampled):
        return isinstance(leaf.event, events.Gaussian) or pure(leaf) is not None
    return True


def own(leaves: Leaves, delta: float) -> float:
    """What the distributions alone say of events that `PLD` accounts for; infinite where they say nothing."""
    step = _step(leaves)
    while step <= COARSEST:
        try:
            return _least(leaves, delta, step)
        except _TooLong:
            step *= 2
    return math.inf


def _step(leaves: Leaves) -> float:
    """A power of two times STEP that is fine against the whole loss, and leaves no distribution too long."""
    within, epsilon, _ = rdp.apart(leaves)
    reach = rdp.epsilon_of(within, 1e-12) + epsilon
    span = max(_span(leaf) for leaf in leaves)
    if not math.isfinite(reach + span):
        return math.inf
    wanted = min(STEP, max(reach / 2**14, _FINEST))
    wanted = max(wanted, span / 2**18 if wanted < STEP else 0.0, reach / 2**20, span / 2**20)
    return STEP * 2.0 ** math.ceil(math.log2(wanted / STEP) - 1e-9)


def _span(leaf: Event) -> float:
    """About the largest loss of one event."""
    if isinstance(leaf, events.PoissonSampled) and isinstance(leaf.event, events.Gaussian):
        whole = _span(leaf.event)
        return float(np.logaddexp(0, math.log(leaf.probability) + whole))
    if isinstance(leaf, events.Gaussian):
        inverse = 1 / leaf.noise_multiplier
        return inverse * inverse / 2 + 11 * inverse
    return pure(leaf) or (leaf.epsilon if isinstance(leaf, events.EpsilonDelta) else 0.0)


def _least(leaves: Leaves, delta: float, step: float) -> float:
    plain: Leaves = {leaf: count for leaf, count in leaves.items() if not isinstance(leaf, events.Skellam)}
    vectors: Leaves = {leaf: count for leaf, count in leaves.items() if leaf not in plain}
    found, compositions = _composed(plain, step)
    if vectors:
        one = _of_divergences(vectors, step)
        found, compositions = one if found is None else _pair(found, one), compositions + 1
    total = sum(count for leaf, count in leaves.items() if not isinstance(leaf, events.Gaussian))
    left = delta - _SLACK_PER_COUNT * total - _SLACK_PER_COMPOSITION * (compositions + 1)
    if left <= 0:
        return math.inf
    # The conversion of dp-accounting was seen 1e-10 below a closed form.
    return float(found.get_epsilon_for_delta(left)) * (1 + 1e-9)


_lock = threading.Lock()
_kept: OrderedDict[tuple[float, frozenset[tuple[Event, int]]], tuple[Any, int]] = OrderedDict()


def _composed(leaves: Leaves, step: float) -> tuple[Any, int]:
    """The distribution of all leaves, and in how many compositions it was made; begins at the nearest one known."""
    if not leaves:
        return None, 0
    with _lock:
        known, found, depth = _nearest(leaves, step)
    rest = {leaf: count - known.get(leaf, 0) for leaf, count in leaves.items()}
    parts = _parts({leaf: count for leaf, count in rest.items() if count}, step)
    depth += len(parts)
    while len(parts) > 1:
        # Neighbours first, so that long distributions are composed seldom.
        pairs = zip(parts[0::2], parts[1::2], strict=False)
        parts = [_pair(*pair) for pair in pairs] + parts[len(parts) // 2 * 2 :]
    if parts:
        found = parts[0] if found is None else _pair(found, parts[0])
    with _lock:
        key = step, frozenset(leaves.items())
        _kept[key] = found, depth
        _kept.move_to_end(key)
        while len(_kept) > 1 and sum(_cells(one) for one, _ in _kept.values()) > _KEPT_CELLS:
            _kept.popitem(last=False)
    return found, depth


def _nearest(leaves: Leaves, step: float) -> tuple[Leaves, Any, int]:
    """The composition within `leaves` that lacks the fewest, unless to begin anew is as short."""
    best: tuple[Leaves, Any, int] = {}, None, 0
    fewest = len(leaves)
    for (one_step, items), (found, depth) in _kept.items():
        if one_step != step or depth > 2 * len(leaves) + 32:
            continue
        if all(count <= leaves.get(leaf, 0) for leaf, count in items):
            lacking = len(leaves.items() - items)
            if lacking < fewest:
                best, fewest = (dict(items), found, depth), lacking
    return best


def _parts(leaves: Leaves, step: float) -> list[Any]:
    """One distribution for each leaf, and one for all unsampled Gaussians: their composition is a Gaussian."""
    rates = [count * _rate(leaf) for leaf, count in leaves.items() if isinstance(leaf, events.Gaussian)]
    found = [
        _repeated(_single(leaf, step), count)
        for leaf, count in leaves.items()
        if not isinstance(leaf, events.Gaussian)
    ]
    if rates:
        found.append(_single(events.Gaussian(1 / math.sqrt(up(math.fsum(rates)))), step))
    return found


def _rate(leaf: events.Gaussian) -> float:
    inverse = 1 / min(leaf.noise_multiplier, _MOST_NOISE)
    return inverse * inverse


def _repeated(one: Any, count: int) -> Any:
    """A distribution composed with itself."""
    if count == 1:
        return one
    if _length(one) > _MOST_CELLS:
        raise _TooLong
    return distribution.PrivacyLossDistribution(*(_power(pmf.to_dense_pmf(), count) for pmf in _pmfs(one)))


def _power(pmf: Any, count: int) -> Any:
    """As dp-accounting's `self_compose`, whose bounds of the tails take most of its time, and overflow."""
    cells = pmf._probs
    low, high = _tails(cells, count)
    if high - low >= _MOST_CELLS:
        raise _TooLong
    length = fft.next_fast_len(max(high - low + 1, len(cells)), real=True)
    # What lies outside comes in at the other end; its probability is counted as an infinite loss as well.
    found = fft.irfft(fft.rfft(cells, length) ** count, length)
    found = np.roll(found, -(low % length))[: high - low + 1]
    infinite = _TAIL - math.expm1(count * math.log1p(-pmf._infinity_mass)) if pmf._infinity_mass < 1 else 1.0
    return pld_pmf.DensePLDPmf(pmf._discretization, pmf._lower_loss * count + low, found, infinite, True)


def _tails(cells: Any, count: int) -> tuple[int, int]:
    """Between which places the `count`-fold sum lies but for _TAIL, by Chernoff's bound at several rates."""
    places = np.arange(len(cells), dtype=np.float64)
    mass = float(cells.sum())
    mean = float(cells @ places) / mass
    deviation = math.sqrt(max(float(cells @ (places - mean) ** 2) / mass, 1e-12))
    low, high, margin = 0, (len(cells) - 1) * count, math.log(2 / _TAIL)
    best = math.sqrt(2 * margin / count) / deviation
    for rate in (best * 2.0**power for power in range(-5, 3)):
        rate = min(rate, 500 / len(cells))
        for sign in (1, -1):
            moment = math.log(float(cells @ np.exp(sign * rate * (places - mean))))
            bound = count * mean + sign * (count * moment + margin) / rate
            low, high = (
                (low, min(high, math.ceil(bound))) if sign > 0 else (max(low, math.floor(bound)), high)
            )
    return low, max(low, high)


def _pair(one: Any, other: Any) -> Any:
    if _length(one) + _length(other) > _MOST_CELLS:
        raise _TooLong
    return one.compose(other, _TAIL)


def _pmfs(one: Any) -> tuple[Any, ...]:
    return (one._pmf_remove,) if one._symmetric else (one._pmf_remove, one._pmf_add)


def _cells(one: Any) -> int:
    return sum(pmf.size for pmf in _pmfs(one))


def _length(one: Any) -> int:
    return max(_reach(pmf) for pmf in _pmfs(one))


def _reach(pmf: Any) -> int:
    """Cells from the least to the largest loss, the empty ones too."""
    if isinstance(pmf, pld_pmf.SparsePLDPmf):
        return int(max(pmf._loss_probs) - min(pmf._loss_probs)) + 1
    return int(pmf.size)


@lru_cache(maxsize=256)
def _single(leaf: Event, step: float) -> Any:
    probability, inner = (
        (leaf.probability, leaf.event) if isinstance(leaf, events.PoissonSampled) else (1.0, leaf)
    )
    if isinstance(inner, events.Gaussian):
        return _sampled(
            profile.gaussian(min(inner.noise_multiplier, _MOST_NOISE)), _span(inner), probability, step
        )
    if isinstance(inner, events.Laplace):
        return _sampled(profile.laplace(inner.noise_multiplier), _span(inner), probability, step)
    match leaf:
        case events.RandomizedResponse(keep, values):
            other = (1 - keep) / (values - 1)
            return _given(profile.atom(up(log_odds(leaf)), keep, (values - 2) * other, step), 0.0, step)
        case events.EpsilonDelta(epsilon, delta):
            return _given(profile.pure(epsilon, delta, step), delta, step)
        case _:
            return _given(profile.pure(pure(leaf) or 0.0, 0.0, step), 0.0, step)


def _of_divergences(leaves: Leaves, step: float) -> Any:
    curve = rdp.sum_of(leaves, rdp.ORDERS)
    end = rdp.least_epsilon(curve, rdp.ORDERS, 1e-22)
    if end / step > _MOST_CELLS or end > 600:
        raise _TooLong
    return _given(*profile.from_divergences(curve, np.asarray(rdp.ORDERS, np.float64), step, end), step)


def _sampled(deltas: profile.Deltas, end: float, probability: float, step: float) -> Any:
    found = profile.sampled(deltas, end, probability, step)
    return distribution.PrivacyLossDistribution(
        *(pld_pmf.DensePLDPmf(step, first, cells, infinite, True) for first, cells, infinite in found)
    )


def _given(masses: profile.Masses, infinite: float, step: float) -> Any:
    return distribution.PrivacyLossDistribution(pld_pmf.create_pmf(masses, step, infinite, True))
