"""U-shaped split learning: one member has the rows and the labels, another lends its processors.

The owner has bottom and top, the partner the middle. In each batch activations go there, features come back, their
gradient goes there, and that of the activations comes back; labels never leave (Vepakomma et al., arXiv 1812.00564,
section 2). All micro-batches of a batch are on their way at once.

Adversary: a malicious relay; two members that follow the protocol and look at all they get. The partner learns
activations and a gradient for each row and epoch, and its middle; the owner learns what the middle makes of its rows.
What of rows and labels shows in activations and gradients is up to the owner's `work`: without noise the label can be
read off both.
"""

from __future__ import annotations

from silo.protocols.split import wire
from silo.protocols.split.line import Line
from silo.protocols.split.schedule import Places, Schedule
from silo.protocols.split.terms import Terms
from silo.protocols.split.wire import Rows
from silo.protocols.split.work import HostWork, LabelWork, MiddleWork, checked
from silo.protocols.step import Outgoing, Role


def owner(
    line: Line,
    terms: Terms,
    schedule: Schedule,
    bottom: HostWork,
    top: LabelWork,
    *,
    width: int,
    back: int,
    start: int = 0,
) -> Role[None]:
    """The data owner's role; cuts of `width` and `back` numbers. Raises `ProtocolViolation`, `ProtocolAborted`."""
    number = 0
    for epoch in range(start, terms.epochs):
        bottom.begin(epoch)
        top.begin(epoch)
        for batch in schedule.batches(epoch):
            yield from _owned(line, terms, batch, bottom, top, 2 * number, width, back)
            number += len(batch)
            size = sum(map(len, batch))
            bottom.step(size)
            top.step(size)
        top.end(epoch)
        bottom.end(epoch)


def _owned(
    line: Line,
    terms: Terms,
    batch: tuple[Places, ...],
    bottom: HostWork,
    top: LabelWork,
    number: int,
    width: int,
    back: int,
) -> Role[None]:
    (partner,) = line.context.hosts
    first, firsts = 0, []
    for place, places in enumerate(batch):
        found = checked(bottom.forward(places), len(places), width, f"{line.me}: the bottom module", first)
        yield from _put(line, partner, number + place, found, terms)
        firsts.append(first)
        first += len(places)
    # Each answer leaves with the wait for what comes next, the last one with that for the first gradient.
    answer: tuple[Outgoing, ...] = ()
    for place, places in enumerate(batch):
        features = yield from _got(
            line, partner, number + place, len(places), back, "features", terms, answer
        )
        found = checked(
            top.exchange(places, features), len(places), back, f"{line.me}: the top module", firsts[place]
        )
        raw = wire.encode(found, terms.wire)
        answer = (line.out(partner, number + len(batch) + place, len(places), raw),)
    for place, places in enumerate(batch):
        gradient = yield from _got(
            line, partner, number + len(batch) + place, len(places), width, "gradients", terms, answer
        )
        answer = ()
        bottom.backward(gradient)


def partner(
    line: Line,
    terms: Terms,
    schedule: Schedule,
    middle: MiddleWork,
    *,
    width: int,
    back: int,
    start: int = 0,
) -> Role[None]:
    """The compute partner's role. Raises `ProtocolViolation`, `ProtocolAborted`."""
    owner, number = line.context.label, 0
    what = f"{line.me}: the middle module"
    for epoch in range(start, terms.epochs):
        middle.begin(epoch)
        for batch in schedule.batches(epoch):
            at, firsts, first = 2 * number, [], 0
            for place, places in enumerate(batch):
                came = yield from _got(line, owner, at + place, len(places), width, "activations", terms)
                found = checked(middle.forward(came), len(places), back, what, first)
                yield from _put(line, owner, at + place, found, terms)
                firsts.append(first)
                first += len(places)
            at += len(batch)
            for place, places in enumerate(batch):
                came = yield from _got(line, owner, at + place, len(places), back, "gradients", terms)
                found = checked(middle.backward(came), len(places), width, what, firsts[place])
                yield from _put(line, owner, at + place, found, terms)
            number += len(batch)
            middle.step(first)
        middle.end(epoch)


def _put(line: Line, peer: str, number: int, rows: Rows, terms: Terms) -> Role[None]:
    yield from line.send(line.out(peer, number, len(rows), wire.encode(rows, terms.wire)))


def _got(
    line: Line,
    peer: str,
    number: int,
    rows: int,
    width: int,
    what: str,
    terms: Terms,
    sending: tuple[Outgoing, ...] = (),
) -> Role[Rows]:
    size = wire.row_bytes(terms.wire, width)
    came = yield from line.take((peer,), number, rows, size, what, sending)
    return line.read(peer, came[peer], terms, width)
