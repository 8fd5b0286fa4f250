"""What every accountant does, and how a tree of events becomes a multiset of independent ones."""

from __future__ import annotations

import math
from collections import Counter
from typing import Protocol

from silo.crypto.errors import ParameterError
from silo.privacy import events
from silo.privacy.errors import Unaccountable
from silo.privacy.events import Event

Leaves = dict[Event, int]
"""Events without `Repeated` and `Composed`, each with how often it happened; sorted by their text."""


class Accountant(Protocol):
    """An upper bound of epsilon. One contract suite holds for all of them."""

    name: str
    version: str

    def epsilon(self, event: Event, delta: float) -> float:
        """The least epsilon that is known for `event` at `delta`; infinite if there is no finite one.

        Raises `Unaccountable` for an event without a sound bound, `ParameterError` for a delta outside [0, 1).
        """
        ...


def check_delta(delta: float) -> None:
    """Refuse a delta outside [0, 1). Raises `ParameterError`."""
    if not 0 <= delta < 1:
        raise ParameterError(f"delta is at least 0 and less than 1, not {delta}")


def flatten(event: Event) -> Leaves:
    """Count the independent parts of an event; what is mathematically the same becomes the same part."""
    found: Counter[Event] = Counter()
    _collect(event, 1, found)
    return dict(sorted(found.items(), key=lambda item: events.dumps(item[0])))


def _collect(event: Event, count: int, found: Counter[Event]) -> None:
    if isinstance(event, events.Composed):
        for one in event.events:
            _collect(one, count, found)
    elif isinstance(event, events.Repeated):
        _collect(event.event, count * event.count, found)
    elif isinstance(event, events.PoissonSampled):
        for one in _sampled(event):
            if isinstance(one, events.PoissonSampled | events.NoPrivacy):
                found[one] += count
            else:
                _collect(one, count, found)
    else:
        found[event] += count


def _sampled(event: events.PoissonSampled) -> tuple[Event, ...]:
    """A sampled event with its samples of samples and trivial layers taken off."""
    probability, inner = event.probability, event.event
    while True:
        if isinstance(inner, events.PoissonSampled):
            product = probability * inner.probability
            if 1 not in (probability, inner.probability):
                product = min(1.0, math.nextafter(product, 1.0))
            probability, inner = product, inner.event
        elif isinstance(inner, events.Repeated) and (inner.count == 1 or probability == 1):
            if probability == 1:
                return (inner,)
            inner = inner.event
        elif isinstance(inner, events.Composed) and len(inner.events) == 1:
            inner = inner.events[0]
        else:
            break
    if probability == 1 or inner == events.NoPrivacy():
        return (inner,)
    if isinstance(inner, events.Composed) and not inner.events:
        return ()
    if isinstance(inner, events.EpsilonDelta):
        # Amplification by sampling; it needs nothing but the two figures.
        epsilon = up(amplified(inner.epsilon, probability))
        delta = max(up(probability * inner.delta), math.ulp(0.0)) if inner.delta else 0.0
        return (events.EpsilonDelta(epsilon, min(delta, inner.delta)),)
    return (events.PoissonSampled(probability, inner),)


def pure(event: Event) -> float | None:
    """An epsilon that holds at delta 0, or None."""
    if isinstance(event, events.EpsilonDelta):
        return event.epsilon if event.delta == 0 else None
    if isinstance(event, events.Laplace):
        return up(1 / event.noise_multiplier)
    if isinstance(event, events.RandomizedResponse):
        return up(log_odds(event))
    if isinstance(event, events.Repeated):
        one = pure(event.event)
        return None if one is None else up(one * event.count)
    if isinstance(event, events.Composed):
        each = [pure(part) for part in event.events]
        known = [one for one in each if one is not None]
        return up(math.fsum(known)) if len(known) == len(each) else None
    if isinstance(event, events.PoissonSampled):
        one = pure(event.event)
        return None if one is None else up(amplified(one, event.probability))
    return None


def log_odds(event: events.RandomizedResponse) -> float:
    """The loss of a true answer against another one; at least 0."""
    # keep / other - 1, in which other = (1 - keep) / (values - 1); the last term covers the rounding
    expected = event.keep * event.values
    return math.log1p(max(0.0, expected - 1 + expected * 2.0**-50) / (1 - event.keep))


def amplified(epsilon: float, probability: float) -> float:
    """Epsilon of a sample, from epsilon of the whole: log(1 + q (e^epsilon - 1))."""
    if epsilon > 30:
        # log(q e^epsilon + 1 - q), where e^epsilon may be out of range.
        return epsilon + math.log(probability + (1 - probability) * math.exp(-epsilon))
    return math.log1p(probability * math.expm1(epsilon))


def up(value: float) -> float:
    """A little more than a computed value, so that rounding never makes a bound too low."""
    return value * (1 + 2.0**-48) if value else value


def refuse(event: Event, accountant: str) -> Unaccountable:
    """The error for an event without a sound bound."""
    what = type(event).__name__
    if isinstance(event, events.PoissonSampled):
        what = f"{type(event.event).__name__} under Poisson sampling"
    return Unaccountable(
        f"the {accountant} accountant has no sound bound for {what}: state an EpsilonDelta that is proven"
    )
