"""Scores of new rows under a boosted model whose splits stay with their owners.

Each host sends the label party, end-to-end encrypted, one bit for each row and each of its splits: whether the row
would go left. The label party follows each row down each tree, and adds up the leaves.

Adversary: semi-honest members, and a malicious relay, which learns sizes only. The label party learns the side of
every row at every split of the hosts, also at those that the row does not reach (more than SecureBoost's own
inference tells, which asks node by node and tells the hosts each row's path): so it learns, of two rows, how a host's
columns divide them, and no threshold, category or column. The splits of a column say together which of the bins
between their thresholds each row is in: a column that is often divided is known to its bin. A host learns the number
of rows, and nothing of others' splits, of paths or of scores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.protocols.step import Role
from silo.protocols.transit import PIECE, Intake, Lot
from silo.protocols.vertical.boosting.columns import Columns
from silo.protocols.vertical.boosting.gradients import Table
from silo.protocols.vertical.boosting.label import Model
from silo.protocols.vertical.boosting.line import Line
from silo.protocols.vertical.boosting.routing import Bits, Split

Packed = npt.NDArray[np.uint8]
"""(rows, bytes): a bit for each split, tree by tree."""


def label(line: Line | None, model: Model, columns: Columns) -> Role[Table]:
    """The margins, (rows, groups). Raises `ProtocolViolation`, `ProtocolAborted`."""
    rows = columns.rows
    if line is not None and line.rows != rows:
        raise ParameterError(f"{rows} rows of columns, and {line.rows} were agreed")
    hosts = line.context.hosts if line else ()
    counts = [[tree.count(owner) for tree in model.trees] for owner in range(1, len(hosts) + 1)]
    intakes = {}
    for host, count in zip(hosts, counts, strict=True):
        if sum(count):
            intakes[host] = Intake(-(-sum(count) // 8), rows, _padded(sum(count)), least=rows)
    if line is not None:
        yield from line.carry(take=intakes)
    packed = [
        np.frombuffer(intakes[host].joined(), np.uint8).reshape(rows, -1) if host in intakes else None
        for host in hosts
    ]
    firsts = [np.concatenate([[0], np.cumsum(count)]) for count in counts]
    every = np.arange(rows)
    margins = np.tile(model.base, (rows, 1))
    for place, tree in enumerate(model.trees):

        def sides(owner: int, number: int, place: int = place) -> Bits:
            if owner == 0:
                return model.splits[place][number].goes_left(columns, every)
            table = packed[owner - 1]
            if table is None:
                raise ParameterError("a tree asks for a split that its owner does not have")
            return _bit(table, int(firsts[owner - 1][place]) + number)

        margins[:, place % model.groups] += tree.values[tree.leaves(rows, sides)]
    return margins


def host(line: Line, splits: Sequence[Sequence[Split]], columns: Columns) -> Role[None]:
    """Tell the label party the side of each row at each own split. Raises `ProtocolViolation`, `ProtocolAborted`."""
    if line.rows != columns.rows:
        raise ParameterError(f"{columns.rows} rows of columns, and {line.rows} were agreed")
    own = [split for tree in splits for split in tree]
    tables = [(split.column, split.table) for split in own]

    def piece(at: int, upto: int) -> bytes:
        bits = np.empty((upto - at, len(own)), bool)
        for place, (column, table) in enumerate(tables):
            bits[:, place] = table[columns.codes[column, at:upto]]
        return np.packbits(bits, axis=1).tobytes()

    lots = {line.context.label: Lot(columns.rows, piece)} if own else {}
    yield from line.carry(lots, each=PIECE)


def _padded(count: int) -> Callable[[bytes], bytes]:
    """Checks that the bits behind the last split are zero."""

    def check(piece: bytes) -> bytes:
        last = np.frombuffer(piece, np.uint8).reshape(-1, -(-count // 8))[:, -1]
        if count % 8 and (last & (0xFF >> count % 8)).any():
            raise ParameterError("padding bits are not zero")
        return piece

    return check


def _bit(table: Packed, number: int) -> Bits:
    found: Bits = (table[:, number >> 3] >> (7 - (number & 7)) & 1).astype(bool)
    return found
