"""Which rows go together, and when: the same at all members, as it follows from the session and the round.

In each epoch every row is in one batch: that is what an epoch's noise is accounted by. The order is public to whoever
knows the session, the relay too; it says nothing of any row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from silo.crypto import labels
from silo.crypto.prg import Keystream
from silo.crypto.secret import Secret
from silo.protocols.split.terms import Terms
from silo.protocols.vertical.context import Context

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Schedule:
    """The batches of all epochs; `seed` are 32 bytes that all know."""

    seed: bytes
    rows: int
    batch: int
    micro_batches: int = 1

    @classmethod
    def of(cls, context: Context, terms: Terms) -> Schedule:
        """That of one fit."""
        where = context.bearings
        bound = labels.bind(labels.SPLIT_ORDER, where.parameters, where.session, where.round)
        seed = hashlib.sha256(bound).digest()
        return cls(seed, context.parameters.rows, terms.batch, terms.micro_batches)

    def order(self, epoch: int) -> Places:
        """All rows, (rows,), in the order of an epoch: that of as many random words."""
        key = hashlib.sha256(labels.bind(labels.SPLIT_ORDER, self.seed, epoch)).digest()
        drawn = np.empty(self.rows, np.uint64)
        Keystream(Secret(key)).fill(drawn)
        return np.argsort(drawn, kind="stable")

    def batches(self, epoch: int) -> Iterator[tuple[Places, ...]]:
        """Each batch as its micro-batches, none of them empty."""
        order = self.order(epoch)
        for at in range(0, self.rows, self.batch):
            whole = order[at : at + self.batch]
            yield tuple(np.array_split(whole, min(self.micro_batches, len(whole))))
