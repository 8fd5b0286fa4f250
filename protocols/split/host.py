"""Split learning, a host's side: see `silo.protocols.split.label`."""

from __future__ import annotations

from silo.protocols.split.line import Line
from silo.protocols.split.schedule import Places, Schedule
from silo.protocols.split.shown import Shower
from silo.protocols.split.terms import Terms
from silo.protocols.split.work import HostWork, checked
from silo.protocols.step import Role


def train(
    line: Line, terms: Terms, schedule: Schedule, work: HostWork, *, width: int, start: int = 0
) -> Role[None]:
    """A host's role from epoch `start` on. Raises `ProtocolViolation`, `ProtocolAborted`."""
    shower = Shower(line, terms)
    number = 0
    for epoch in range(start, terms.epochs):
        work.begin(epoch)
        for batch in schedule.batches(epoch):
            yield from _batch(line, terms, work, shower, batch, number, width)
            number += len(batch)
            work.step(sum(map(len, batch)))
        work.end(epoch)


def _batch(
    line: Line,
    terms: Terms,
    work: HostWork,
    shower: Shower,
    batch: tuple[Places, ...],
    number: int,
    width: int,
) -> Role[None]:
    """Send all of a batch without waiting, then take the answers in their order."""
    label, first = line.context.label, 0
    for place, places in enumerate(batch):
        found = checked(work.forward(places), len(places), width, f"{line.me}: the bottom module", first)
        raw = shower.show(found, first)
        yield from line.send(line.out(label, number + place, len(places), raw))
        first += len(places)
    size = terms.gradient_bytes(width)
    for place, places in enumerate(batch):
        came = yield from line.take((label,), number + place, len(places), size, "gradients")
        work.backward(line.read(label, came[label], terms, width))
