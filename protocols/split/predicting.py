"""Scores of a split network: activations go to who has the top, and nothing comes back.

With several hosts the label party reads only the sum of their activations. In the U-shape features come back from the
partner, which sees activations and no score.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from silo.protocols.split import wire
from silo.protocols.split.line import Line
from silo.protocols.split.shown import Shower, seen
from silo.protocols.split.terms import MOST_MICRO, Terms
from silo.protocols.split.wire import Rows
from silo.protocols.split.work import checked
from silo.protocols.step import Role

_AHEAD: Final = MOST_MICRO
"""Micro-batches that a host may be ahead of the label party, which tells it to go on after each: all that are kept."""
Forward = Callable[[slice], Rows]
"""The activations of some of the rows."""


def host(line: Line, terms: Terms, forward: Forward, *, width: int) -> Role[None]:
    """A host sends the activations of all rows, in their order, a micro-batch at a time."""
    shower = Shower(line, terms)
    for number, part in enumerate(_parts(line, terms)):
        if number >= _AHEAD:
            yield from line.take((line.context.label,), number - _AHEAD, 0, 0, "the word to go on")
        rows = part.stop - part.start
        found = checked(forward(part), rows, width, f"{line.me}: the bottom module", part.start)
        raw = shower.show(found, part.start)
        yield from line.send(line.out(line.context.label, number, rows, raw))


def label(line: Line, terms: Terms, *, width: int) -> Role[Rows]:
    """The label party takes (rows, width) activations in. Raises `ProtocolViolation`, `ProtocolAborted`."""
    hosts = line.context.hosts
    size = terms.activation_bytes(width, len(hosts))
    found = np.empty((line.context.parameters.rows, width), np.float32)
    parts = _parts(line, terms)
    for number, part in enumerate(parts):
        came = yield from line.take(hosts, number, part.stop - part.start, size, "activations")
        if number + _AHEAD < len(parts):
            yield from line.send(*(line.out(host, number, 0, b"") for host in hosts))
        found[part] = seen(line, terms, came, width)
    return found


def owner(line: Line, terms: Terms, forward: Forward, *, width: int, back: int) -> Role[Rows]:
    """In the U-shape the owner sends activations, and gets (rows, back) features."""
    (partner,) = line.context.hosts
    found = np.empty((line.context.parameters.rows, back), np.float32)
    for number, part in enumerate(_parts(line, terms)):
        rows = part.stop - part.start
        shown = checked(forward(part), rows, width, f"{line.me}: the bottom module", part.start)
        out = line.out(partner, number, rows, wire.encode(shown, terms.wire))
        size = wire.row_bytes(terms.wire, back)
        came = yield from line.take((partner,), number, rows, size, "features", (out,))
        found[part] = line.read(partner, came[partner], terms, back)
    return found


def partner(line: Line, terms: Terms, middle: Callable[[Rows], Rows], *, width: int, back: int) -> Role[None]:
    """In the U-shape the partner sends features for activations."""
    owner, size = line.context.label, wire.row_bytes(terms.wire, width)
    for number, part in enumerate(_parts(line, terms)):
        rows = part.stop - part.start
        came = yield from line.take((owner,), number, rows, size, "activations")
        made = middle(line.read(owner, came[owner], terms, width))
        found = checked(made, rows, back, f"{line.me}: the middle module", part.start)
        yield from line.send(line.out(owner, number, rows, wire.encode(found, terms.wire)))


def _parts(line: Line, terms: Terms) -> list[slice]:
    rows, each = line.context.parameters.rows, terms.part
    return [slice(at, min(at + each, rows)) for at in range(0, rows, each)]
