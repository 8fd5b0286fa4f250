"""The hosts as the label party meets them in a training; everything they answer is checked here, and named.

Without hosts nothing is sent and nothing is waited for: the same training then runs on the label party's own columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from silo.crypto.errors import DecryptionFailed, ParameterError
from silo.crypto.histograms import MOST_BINS, Owner
from silo.crypto.rng import Rng
from silo.protocols.errors import UnlikeTerms
from silo.protocols.step import Role
from silo.protocols.transit import Intake, Lot
from silo.protocols.vertical.boosting.ciphers import Ciphers
from silo.protocols.vertical.boosting.columns import Shape
from silo.protocols.vertical.boosting.gradients import Words
from silo.protocols.vertical.boosting.histogram import CHANNELS
from silo.protocols.vertical.boosting.line import Line
from silo.protocols.vertical.boosting.messages import (
    Chosen,
    Hello,
    Level,
    OwnSplit,
    Sides,
    Start,
    Turn,
)
from silo.protocols.vertical.boosting.routing import Bits, Split, pack, unpack
from silo.protocols.vertical.boosting.sampling import Rows
from silo.protocols.vertical.context import Context
from silo.protocols.vertical.work import Work

PIECE: Final = 1 << 20
"""Bytes of a piece of encrypted sums."""
COUNT_BYTES: Final = 4
ROOM: Final = 1 << 16


class Far:
    """The hosts of one training, in the order of names; their places in `shapes` are those of the tree's owners."""

    def __init__(self, line: Line | None, ciphers: Ciphers, work: Work, *, rng: Rng) -> None:
        self._line, self._ciphers, self._work, self._rng = line, ciphers, work, rng
        self.hosts = line.context.hosts if line else ()
        self.shapes: list[Shape] = []
        self._owner: Owner | None = None

    def open(self, run: bytes, trees: int, groups: int, training: Bits) -> Role[None]:
        """Learn what columns the hosts have, and tell them which training this is."""
        if self._line is None:
            return
        line = self._line
        columns, limit = line.context.parameters.columns, hello_limit(line.context)
        hellos = yield from line.exchange(take=dict.fromkeys(self.hosts, Hello), limit=limit)
        for host in self.hosts:
            self.shapes.append(_shape(line, host, hellos[host], columns[host]))
        self._owner = self._ciphers.owner(self._line.rows, rng=self._rng)
        start = Start(
            run, trees, groups, memoryview(self._owner.public), self._owner.width, memoryview(pack(training))
        )
        yield from line.exchange(dict.fromkeys(self.hosts, start), limit=ROOM + len(training) // 8)

    def begin(self, sample: Rows, words: Words, rows: int) -> Role[None]:
        """Begin a tree: which rows are in its sample, and their (g, h), encrypted piece by piece."""
        if self._line is None or self._owner is None:
            return
        bits = np.zeros(rows, bool)
        bits[sample] = True
        yield from self._turn(Turn(True, 0, memoryview(pack(bits))))
        lot = Lot(len(words), _Last(self._owner, words, self._work, rng=self._rng))
        yield from self._line.carry(dict.fromkeys(self.hosts, lot))

    def end(self, kept: int) -> Role[None]:
        """Tell the hosts that no tree follows, and how many are kept."""
        yield from self._turn(Turn(False, kept, memoryview(b"")))

    def _turn(self, turn: Turn) -> Role[None]:
        if self._line:
            limit = ROOM + self._line.rows // 8
            yield from self._line.exchange(dict.fromkeys(self.hosts, turn), limit=limit)

    def histograms(
        self, sides: Mapping[str, Sequence[bytes]], add: Sequence[int], nodes: Words
    ) -> Role[Words]:
        """The hosts' histograms, (nodes, codes of all their columns, 3), of the nodes of the level to `add` up.

        `sides` are those of the level above that a host does not have; `nodes` are the (g, h, rows) of those to add up.
        """
        line, owner = self._line, self._owner
        if line is None or owner is None:
            return np.empty((len(add), 0, CHANNELS), np.int64)
        letters = {
            host: Level(tuple(memoryview(one) for one in sides[host]), tuple(add)) for host in self.hosts
        }
        yield from line.exchange(letters, limit=ROOM + line.rows // 8)
        if not add:
            return np.empty((0, sum(shape.width for shape in self.shapes), CHANNELS), np.int64)
        coming = {
            host: Intake(1, len(add) * shape.width * (COUNT_BYTES + owner.width))
            for host, shape in zip(self.hosts, self.shapes, strict=True)
        }
        yield from line.carry(take=coming, each=PIECE)
        found = [
            self._opened(host, shape, memoryview(coming[host].joined()), nodes)
            for host, shape in zip(self.hosts, self.shapes, strict=True)
        ]
        return np.concatenate(found, axis=1)

    def _opened(self, host: str, shape: Shape, raw: memoryview, nodes: Words) -> Words:
        """A host's histograms, decrypted; every column of a node adds up to what the node is known to hold."""
        line, owner = self._line, self._owner
        if line is None or owner is None:
            raise ParameterError("there are no hosts")
        size, each = COUNT_BYTES * shape.width, len(raw) // len(nodes)
        if each * len(nodes) != len(raw) or each < size:
            raise line.malformed(f"{len(raw)} bytes are no histograms of {len(nodes)} nodes", host)
        hist = np.empty((len(nodes), shape.width, CHANNELS), np.int64)
        for place, one in enumerate(hist):
            part = raw[place * each : (place + 1) * each]
            try:
                one[:, :2] = owner.decrypt(part[size:], shape.width)
            except (ParameterError, DecryptionFailed) as problem:
                raise line.malformed(problem, host) from None
            one[:, 2] = np.frombuffer(part[:size], "<u4")
        starts = np.concatenate([[0], np.cumsum(shape.widths)[:-1]])
        if not (np.add.reduceat(hist, starts, axis=1) == nodes[:, None, :]).all():
            raise line.malformed("its sums of a column do not make the node's", host)
        return hist

    def sides(
        self,
        own: Mapping[str, Sequence[tuple[int, Split]]],
        others: Mapping[str, Sequence[int]],
        rows: Sequence[Rows],
    ) -> Role[dict[int, Bits]]:
        """Tell the hosts what was chosen, (node, split); returns who goes left in each node that a host divides."""
        if self._line is None:
            return {}
        line = self._line
        letters = {
            host: Chosen(
                tuple(OwnSplit(node, split.column, split.left) for node, split in own[host]),
                tuple(others[host]),
            )
            for host in self.hosts
        }
        yield from line.exchange(letters)
        awaited = {host: Sides for host in self.hosts if own[host]}
        answers = yield from line.exchange(take=awaited, limit=ROOM + line.rows // 8)
        found: dict[int, Bits] = {}
        for host, answer in answers.items():
            if len(answer.masks) != len(own[host]):
                raise line.malformed(
                    f"{len(answer.masks)} bit masks for {len(own[host])} splits of its columns", host
                )
            for (node, _), mask in zip(own[host], answer.masks, strict=True):
                try:
                    found[node] = unpack(mask, len(rows[node]))
                except ParameterError as problem:
                    raise line.malformed(problem, host) from None
        return found

    def require(self, left: int, expected: int, owner: int) -> None:
        """Raise `ProtocolViolation` unless as many rows go left as the histogram of the split's owner said."""
        if left != expected and self._line:
            raise self._line.malformed(
                f"its bit mask sends {left} rows of a sample left, and its histogram {expected}",
                self.hosts[owner - 1],
            )


class _Last:
    """Encrypts pieces, and keeps the last one: all hosts get the same ciphertexts."""

    def __init__(self, owner: Owner, words: Words, work: Work, *, rng: Rng) -> None:
        self._owner, self._words, self._work, self._rng = owner, words, work, rng
        self._at, self._piece = (-1, -1), b""

    def __call__(self, at: int, upto: int) -> bytes:
        if self._at != (at, upto):
            made = self._owner.encrypt(
                self._words[at:upto], rng=self._rng, parts=self._work.parts, run=self._work.run
            )
            self._at, self._piece = (at, upto), bytes(made)
        return self._piece


def _shape(line: Line, host: str, hello: Hello, columns: int) -> Shape:
    try:
        bins = np.frombuffer(hello.bins, np.uint8)
        if len(bins) != columns:
            raise ParameterError(f"bins of {len(bins)} columns, and {columns} were agreed")
        categorical = unpack(hello.categorical, columns)
        shape = Shape(tuple(bins.tolist()), tuple(categorical.tolist()))
        require_room(shape)
        return shape
    except ParameterError as problem:
        raise line.malformed(problem, host) from None


def require_columns(context: Context) -> None:
    """Raise `UnlikeTerms` for who says that it has more columns than one histogram holds, a value and none in each."""
    most = MOST_BINS // 2
    over = tuple(name for name, count in sorted(context.parameters.columns.items()) if not 1 <= count <= most)
    if over:
        raise UnlikeTerms(f"{', '.join(over)}: boosting takes 1 to {most} columns of a member", over)


def hello_limit(context: Context) -> int:
    """Bytes of the first letter of who has no labels. Raises `UnlikeTerms`."""
    require_columns(context)
    return ROOM + 2 * max(context.parameters.columns.values())


def require_room(shape: Shape) -> None:
    """Raise `ParameterError` where one encrypted histogram does not hold all columns."""
    if not 1 <= shape.width <= MOST_BINS:
        raise ParameterError(
            f"{len(shape)} columns of {shape.width} bins in all: there are 1 to {MOST_BINS}, take fewer bins"
        )
