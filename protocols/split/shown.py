"""Activations on their way to the label party: plain rows of one host, the masked sum of several."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from silo.protocols.split import wire, words
from silo.protocols.split.line import Line
from silo.protocols.split.terms import Terms
from silo.protocols.split.wire import Rows
from silo.protocols.vertical.masks import Masks


class Shower:
    """A host's end: masks are used once, in the order of what leaves."""

    def __init__(self, line: Line, terms: Terms) -> None:
        self._who, self._form = line.me, terms.wire
        self._masks: Masks | None = None
        if len(line.context.hosts) > 1:
            self._masks = Masks(line.context, line.me, line.own, np.uint32)

    def show(self, rows: Rows, first: int = 0) -> bytes:
        """Rows as they travel. Raises `ParameterError` for what has no place in the ring."""
        if self._masks is None:
            return wire.encode(rows, self._form)
        return self._masks.hide(words.encode(rows, self._who, first))


def seen(line: Line, terms: Terms, came: Mapping[str, bytes], width: int) -> Rows:
    """What the label party reads of one micro-batch: the sum over the hosts. Raises `ProtocolViolation`."""
    if len(line.context.hosts) == 1:
        ((host, raw),) = came.items()
        return line.read(host, raw, terms, width)
    total = np.zeros(0, np.uint32)
    for raw in came.values():
        part = words.read(raw)
        total = part if not len(total) else total + part
    return words.decode(total, width)
