"""Privacy loss distributions: the accountant that reports.

dp-accounting's, pessimistic, by connecting the dots (Doroshenko et al., PETS 2022), losses in steps of 1e-4.
What it has no distribution for enters as the (epsilon, delta) that the RDP accountant proves. The result is the
smaller of its own and the RDP accountant's, as both are upper bounds.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter, OrderedDict
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Final

from silo.errors import UsageError
from silo.privacy import events
from silo.privacy.accountants.leaves import leaves, tree
from silo.privacy.accountants.rdp import RDP
from silo.privacy.errors import Unaccountable
from silo.privacy.events import Event

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dp_accounting.pld import common
        from dp_accounting.pld import privacy_loss_distribution as distribution
except ModuleNotFoundError:
    raise UsageError("accounting needs dp-accounting: install silo-privacy[dp]") from None

STEP: Final = 1e-4
"""Width of a step of privacy loss."""

_LARGEST: Final = 60.0
"""Beyond this epsilon the RDP accountant answers alone: the distribution would need too much memory."""
_FALLBACK: Final = 0.5
"""The part of delta that goes to events without a distribution."""
_KEPT: Final = 8

Leaf = tuple[Event, int]


class PLD:
    """The accountant. Compositions are kept, so that a run more costs one composition more."""

    name = "PLD"
    version = f"dp-accounting {version('dp-accounting')}, h = {STEP:g}"

    def epsilon(self, event: Event, delta: float) -> float:
        """Epsilon at `delta`; infinite where there is none. Raises `Unaccountable`."""
        counted = leaves(event)
        if not counted or delta >= 1:
            return 0.0
        if events.NoPrivacy() in counted:
            return math.inf
        bound = _rdp(event, delta)
        if bound is not None and (bound == 0 or bound > _LARGEST):
            return bound
        own = _own(counted, delta)
        if own is None and bound is None:
            raise Unaccountable("no accountant has a sound bound for this event: state an EpsilonDelta")
        return min(value for value in (own, bound) if value is not None)


def _rdp(event: Event, delta: float) -> float | None:
    try:
        return RDP().epsilon(event, delta)
    except Unaccountable:
        return None


def _own(counted: Counter[Event], delta: float) -> float | None:
    known = {leaf: count for leaf, count in counted.items() if not isinstance(leaf, events.Skellam)}
    others = Counter({leaf: count for leaf, count in counted.items() if leaf not in known})
    if others and not known:
        return None
    if others:
        part = _FALLBACK * delta
        known[events.EpsilonDelta(_rdp_of(others, part), part)] = 1
    try:
        found = _composed(frozenset(known.items()))
    except Unaccountable:
        return None
    return float(found.get_epsilon_for_delta(delta))


def _rdp_of(others: Counter[Event], delta: float) -> float:
    return RDP().epsilon(tree(others), delta)


_compositions: OrderedDict[frozenset[Leaf], Any] = OrderedDict()


def _composed(wanted: frozenset[Leaf]) -> Any:
    """The distribution of all leaves, begun at the largest composition that is known."""
    base = max((known for known in _compositions if known <= wanted), key=len, default=frozenset())
    found = _compositions.get(base)
    for leaf, count in sorted(wanted - base, key=lambda one: events.dumps(one[0])):
        one = _distribution(leaf, count)
        found = one if found is None else found.compose(one)
    _compositions[wanted] = found
    _compositions.move_to_end(wanted)
    while len(_compositions) > _KEPT:
        _compositions.popitem(last=False)
    return found


@lru_cache(maxsize=256)
def _distribution(leaf: Event, count: int) -> Any:
    match leaf:
        case events.Gaussian(sigma):
            return distribution.from_gaussian_mechanism(
                sigma / math.sqrt(count), value_discretization_interval=STEP
            )
        case events.Laplace(scale):
            one = distribution.from_laplace_mechanism(scale, value_discretization_interval=STEP)
        case events.PoissonSampled(q, events.Gaussian(sigma)):
            one = distribution.from_gaussian_mechanism(
                sigma, sampling_prob=q, value_discretization_interval=STEP
            )
        case events.PoissonSampled(q, events.Laplace(scale)):
            one = distribution.from_laplace_mechanism(
                scale, sampling_prob=q, value_discretization_interval=STEP
            )
        case events.PoissonSampled(q, events.EpsilonDelta(epsilon, delta)):
            one = _parameters(math.log1p(q * math.expm1(epsilon)), q * delta)
        case events.RandomizedResponse(keep, values):
            one = _parameters(math.log(keep * (values - 1) / (1 - keep)), 0.0)
        case events.EpsilonDelta(epsilon, delta):
            one = _parameters(epsilon, delta)
        case _:
            raise Unaccountable(f"the PLD accountant has no distribution for {events.dumps(leaf)[:80]}")
    return one if count == 1 else one.self_compose(count)


def _parameters(epsilon: float, delta: float) -> Any:
    return distribution.from_privacy_parameters(
        common.DifferentialPrivacyParameters(epsilon, delta), value_discretization_interval=STEP
    )
