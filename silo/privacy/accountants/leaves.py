"""An event tree as its leaves and how often each happens."""

from __future__ import annotations

from collections import Counter

from silo.privacy import events
from silo.privacy.events import Event


def leaves(event: Event, times: int = 1) -> Counter[Event]:
    """Every event that is no composition, with its count; sampling with probability 1 is none."""
    if isinstance(event, events.Repeated):
        return leaves(event.event, times * event.count)
    if isinstance(event, events.Composed):
        found: Counter[Event] = Counter()
        for one in event.events:
            found.update(leaves(one, times))
        return found
    if isinstance(event, events.PoissonSampled) and event.probability == 1.0:
        return leaves(event.event, times)
    return Counter({event: times})


def tree(counted: Counter[Event]) -> Event:
    """The leaves as one event again."""
    return events.Composed(
        tuple(one if count == 1 else events.Repeated(one, count) for one, count in counted.items())
    )
