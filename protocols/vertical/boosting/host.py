"""A member with columns and no labels in a vertical boosting (paper, adversary, who learns what: see `label`).

It adds up encrypted rows, and tells which rows go left at splits of its own columns. It refuses, and names the
label party, when it is asked for what an honest one never asks: nodes that are not there, both of two siblings,
splits that are none or that say where a few rows without order go, parts below the agreed number of rows, other
samples and more trees than agreed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from silo.crypto.errors import ParameterError
from silo.crypto.histograms import Adder
from silo.crypto.rng import Rng
from silo.protocols.errors import InconsistentSets
from silo.protocols.step import Role
from silo.protocols.transit import Intake, Lot
from silo.protocols.vertical.boosting import histogram, sampling
from silo.protocols.vertical.boosting.ciphers import MOST_WIDTH, Ciphers
from silo.protocols.vertical.boosting.columns import Codes, Columns
from silo.protocols.vertical.boosting.far import PIECE, ROOM, hello_limit
from silo.protocols.vertical.boosting.line import Line
from silo.protocols.vertical.boosting.messages import Chosen, Hello, Level, Sides, Start, Turn
from silo.protocols.vertical.boosting.parameters import MOST_TREES, Terms
from silo.protocols.vertical.boosting.routing import Bits, Split, pack, unpack
from silo.protocols.vertical.boosting.sampling import Rows
from silo.protocols.vertical.work import Work

Splits = tuple[Split, ...]
"""A host's splits of one tree, in the order in which they were chosen."""


@dataclass(frozen=True, slots=True, repr=False)
class Holding:
    """What a host brings: its columns, and the splits of each tree that it has `before` from the training `run`.

    `after` is called with the training's name, the tree's number and the new splits once a tree is done.
    """

    columns: Columns
    terms: Terms
    run: bytes = b""
    before: Sequence[Splits] = ()
    after: Callable[[bytes, int, Splits], None] = lambda run, place, splits: None
    groups: int = 1
    """Trees of an iteration, as agreed."""
    most: int = MOST_TREES
    """Trees that may be grown with it in all, classes counted."""


@dataclass(frozen=True, slots=True, repr=False)
class Part:
    """A host's share of a model: its splits, tree by tree."""

    run: bytes
    groups: int
    splits: tuple[Splits, ...]


def host(line: Line, what: Holding, ciphers: Ciphers, *, rng: Rng, work: Work | None = None) -> Role[Part]:
    """Help to train. Raises `ProtocolViolation`, `ProtocolAborted`."""
    if what.columns.rows != line.rows:
        raise ParameterError(f"{what.columns.rows} rows of columns, and {line.rows} were agreed")
    helping = _Host(line, what, ciphers, work or Work(), rng=rng)
    return (yield from helping.run())


class _Host:
    def __init__(self, line: Line, what: Holding, ciphers: Ciphers, work: Work, *, rng: Rng) -> None:
        self._line, self._what, self._ciphers, self._work, self._rng = line, what, ciphers, work, rng
        self._label = line.context.label
        self._training: Bits = np.zeros(0, bool)

    def run(self) -> Role[Part]:
        start = yield from self._open()
        splits = list(self._what.before[: start.trees])
        adder = self._adder(start)
        ciphertext = start.width
        most = min(self._what.terms.trees * start.groups, self._what.most)
        splits += [()] * (self._what.terms.alone * start.groups - len(splits))
        while True:
            turn = yield from self._line.take(self._label, Turn, limit=self._limit)
            if not turn.more:
                break
            if len(splits) >= most:
                raise self._refusal(f"asks for more than {most} trees")
            tree = _Tree(
                self._line, self._what, adder, ciphertext, self._sample(turn), self._work, rng=self._rng
            )
            grown = yield from tree.grow()
            self._what.after(start.run, len(splits), grown)
            splits.append(grown)
        if turn.kept > len(splits):
            raise self._refusal(f"keeps {turn.kept} of {len(splits)} trees")
        return Part(start.run, start.groups, tuple(splits[: turn.kept]))

    def _open(self) -> Role[Start]:
        shape = self._what.columns.shape
        hello = Hello(memoryview(bytes(shape.bins)), memoryview(pack(np.array(shape.categorical, bool))))
        yield from self._line.exchange({self._label: hello}, limit=hello_limit(self._line.context))
        start = yield from self._line.take(self._label, Start, limit=self._limit)
        if not 1 <= start.width <= MOST_WIDTH:
            raise self._refusal(f"says that a ciphertext has {start.width} bytes")
        if start.trees > len(self._what.before) or start.groups != self._what.groups:
            raise self._refusal(f"goes on from tree {start.trees} with {start.groups} an iteration")
        if start.trees and start.run != self._what.run:
            raise InconsistentSets(
                "its checkpoint is of another training than the one here: give an empty folder at all members",
                culprits=(self._label,),
                round=self._line.context.round,
            )
        self._training = self._bits(start.training)
        with self._naming():
            sampling.check_held_out(self._training, self._what.terms, start.groups)
        return start

    def _adder(self, start: Start) -> Adder:
        with self._naming():
            return self._ciphers.adder(bytes(start.key), self._line.rows)

    def _sample(self, turn: Turn) -> Rows:
        sample = self._bits(turn.sample)
        with self._naming():
            sampling.check(sample, self._training, self._what.terms)
        return np.flatnonzero(sample)

    def _bits(self, raw: memoryview) -> Bits:
        with self._naming():
            return unpack(raw, self._line.rows)

    def _naming(self) -> AbstractContextManager[None]:
        return self._line.naming(self._label)

    @property
    def _limit(self) -> int:
        return ROOM + self._line.rows // 8

    def _refusal(self, what: str) -> Exception:
        return self._line.malformed(f"it {what}", self._label)


class _Tree:
    """One tree, as a host sees it grow."""

    def __init__(
        self, line: Line, what: Holding, adder: Adder, width: int, sample: Rows, work: Work, *, rng: Rng
    ) -> None:
        self._line, self._adder, self._width, self._work, self._rng = line, adder, width, work, rng
        self._columns, self._terms, self._label = what.columns, what.terms, line.context.label
        self._sample = sample
        self._place = np.full(line.rows, -1, np.int64)
        self._place[sample] = np.arange(len(sample))
        self._limit = ROOM + line.rows // 8
        self._nodes: list[Rows] = [np.arange(line.rows)]
        self._payload = b""
        self._splits: list[Split] = []

    def grow(self) -> Role[Splits]:
        """Take part in a tree; returns the own splits in it."""
        yield from self._rows()
        codes = np.ascontiguousarray(self._columns.codes[:, self._sample].T)
        others: tuple[int, ...] = ()
        own: dict[int, Bits] = {}
        for depth in range(1, self._terms.depth + 1):
            level = yield from self._line.take(self._label, Level, limit=self._limit)
            self._descend(level, own, others)
            yield from self._answer(level.add, codes)
            chosen = yield from self._line.take(self._label, Chosen)
            own = self._divide(chosen)
            others = chosen.others
            self._check_nodes([*own, *others], "divides")
            if own:
                sides = Sides(tuple(memoryview(pack(own[node])) for node in own))
                yield from self._line.exchange({self._label: sides}, limit=self._limit)
            else:
                yield from self._line.exchange()
            if not own and not others:
                break
            if depth == self._terms.depth and others:
                raise self._refusal("tells of others' splits in the last level")
        return tuple(self._splits)

    def _rows(self) -> Role[None]:
        """Take in the encrypted rows of the sample."""

        def checked(piece: bytes) -> bytes:
            self._adder.check(piece, len(piece) // self._width)
            return piece

        count = len(self._sample)
        intake = Intake(self._width, count, checked, least=count)
        yield from self._line.carry(take={self._label: intake})
        self._payload = intake.joined()

    def _descend(self, level: Level, own: dict[int, Bits], others: tuple[int, ...]) -> None:
        """From the nodes of a level to those of the next: the children of all that were divided."""
        if len(level.sides) != len(others):
            raise self._refusal(f"sends {len(level.sides)} bit masks of {len(others)} nodes")
        sides = dict(own)
        for node, mask in zip(others, level.sides, strict=True):
            with self._line.naming(self._label):
                sides[node] = unpack(mask, len(self._nodes[node]))
            self._require_enough(node, sides[node])
        if sides:
            self._nodes = [
                self._nodes[node][side] for node in sorted(sides) for side in (sides[node], ~sides[node])
            ]

    def _answer(self, add: Sequence[int], codes: Codes) -> Role[None]:
        """Send the histograms of the nodes that are asked for: numbers of rows in clear, and encrypted sums."""
        self._check_add(add)
        if not add:
            return
        columns = self._columns
        nodes = [self._place[self._nodes[node]] for node in add]
        nodes = [places[places >= 0] for places in nodes]
        parts: list[bytes] = []
        for places in nodes:
            sums = self._adder.sums(
                self._payload,
                places,
                codes,
                columns.shape.widths,
                rng=self._rng,
                parts=self._work.parts,
                run=self._work.run,
            )
            counts = histogram.counts(columns, self._sample[places])
            parts += [counts.astype("<u4").tobytes(), bytes(sums)]
        raw = b"".join(parts)
        lot = Lot(len(raw), lambda at, upto: raw[at:upto])
        yield from self._line.carry({self._label: lot}, each=PIECE)

    def _divide(self, chosen: Chosen) -> dict[int, Bits]:
        """The own splits of a level, and who goes left in their nodes."""
        own: dict[int, Bits] = {}
        self._check_nodes([one.node for one in chosen.own], "divides")
        for one in chosen.own:
            split, shape = Split(one.column, one.left), self._columns.shape
            inside = self._inside(one.node)
            with self._line.naming(self._label):
                split.check(shape)
                codes = self._columns.codes[split.column][inside]
                counts = np.bincount(codes, minlength=shape.widths[split.column])
                split.check_rows(shape, counts, self._terms.least_rows)
            own[one.node] = split.goes_left(self._columns, self._nodes[one.node])
            self._require_enough(one.node, own[one.node])
            self._splits.append(split)
        return own

    def _require_enough(self, node: int, left: Bits) -> None:
        """Both sides of a split have as many rows of the sample as was agreed."""
        inside = self._place[self._nodes[node]] >= 0
        count = int((left & inside).sum())
        if min(count, int(inside.sum()) - count) < self._terms.min_samples_leaf:
            raise self._refusal(
                f"divides a node so that a side has fewer than {self._terms.min_samples_leaf} rows"
            )

    def _inside(self, node: int) -> Rows:
        """The rows of a node that are in the sample."""
        rows = self._nodes[node]
        return rows[self._place[rows] >= 0]

    def _check_add(self, add: Sequence[int]) -> None:
        """Of two siblings one at most, and none of nodes that are too small for anybody to divide."""
        self._check_nodes(add, "adds up")
        below_root = len(self._nodes) > 1
        if below_root and len({node // 2 for node in add}) < len(add):
            raise self._refusal("adds up both of two siblings")
        for node in add:
            sizes = [len(self._inside(one)) for one in ({node, node ^ 1} if below_root else {node})]
            if max(sizes) < 2 * self._terms.min_samples_leaf:
                raise self._refusal(f"adds up {max(sizes)} rows, which are too few to be divided")

    def _check_nodes(self, nodes: Sequence[int], what: str) -> None:
        if len(set(nodes)) != len(nodes) or any(node >= len(self._nodes) for node in nodes):
            raise self._refusal(f"{what} nodes that are not there, or twice")

    def _refusal(self, what: str) -> Exception:
        return self._line.malformed(f"it {what}", self._label)
