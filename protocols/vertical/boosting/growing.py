"""How the label party grows a tree: level by level, all nodes of a level in one exchange with the hosts.

Of two siblings only the smaller one is added up by anybody; the other is its parent's histogram less that. Rows
that are not in the tree's sample, or held out, are routed like all others, and count nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from silo.protocols.step import Role
from silo.protocols.vertical.boosting import histogram, splits
from silo.protocols.vertical.boosting.columns import Columns
from silo.protocols.vertical.boosting.far import Far
from silo.protocols.vertical.boosting.gradients import Fixed, Words
from silo.protocols.vertical.boosting.parameters import Terms
from silo.protocols.vertical.boosting.routing import Bits, Split, pack
from silo.protocols.vertical.boosting.sampling import Rows
from silo.protocols.vertical.boosting.tree import Node, Tree


@dataclass(frozen=True, slots=True, repr=False)
class Grown:
    """A tree, the label party's own splits in it, and the place of each row's leaf. Never sent."""

    tree: Tree
    splits: tuple[Split, ...]
    leaves: npt.NDArray[np.uint16]


@dataclass(slots=True, eq=False)
class _Open:
    """A node that may still be divided: its place, its rows, those of the sample, and its (g, h, rows)."""

    place: int
    rows: Rows
    sampled: Rows
    whole: Words
    hist: Words | None = None
    sibling: _Open | None = None
    parent: Words | None = None


@dataclass(frozen=True, slots=True)
class _Division:
    """A node, its split in the order of all columns, whose column that is, and the split as its owner is told it."""

    node: int
    found: splits.Found
    owner: int
    own: Split


class Grower:
    """Grows one tree from the sample's (g, h)."""

    def __init__(
        self, far: Far, columns: Columns, finder: splits.Finder, terms: Terms, sample: Rows, fixed: Fixed
    ) -> None:
        self._far, self._columns, self._finder, self._terms = far, columns, finder, terms
        self._fixed = fixed
        self._place = np.full(columns.rows, -1, np.int64)
        self._place[sample] = np.arange(len(sample))
        every = np.arange(columns.rows)
        words = fixed.words
        whole = np.array([*words.sum(axis=0), len(words)], np.int64)
        self._level = [_Open(0, every, sample, whole)]
        self._tree = Tree([Node(self._value(whole))])
        self._own: list[Split] = []
        self._numbers: dict[int, int] = {}
        starts = [0, len(columns.shape)]
        for shape in far.shapes:
            starts.append(starts[-1] + len(shape))
        self._starts = starts

    def grow(self) -> Role[Grown]:
        """Grow the tree to its end. Raises `ProtocolViolation`, `ProtocolAborted`."""
        above: dict[str, list[bytes]] = {host: [] for host in self._far.hosts}
        leaves = np.zeros(self._columns.rows, np.uint16)
        for depth in range(1, self._terms.depth + 1):
            yield from self._add_up(above)
            found = self._divisions()
            sides = yield from self._sides(found, last=depth == self._terms.depth)
            for host, owner in zip(self._far.hosts, range(1, len(self._far.hosts) + 1), strict=True):
                above[host] = [pack(sides[one.node]) for one in found if one.owner != owner]
            self._level = [child for one in found for child in self._children(one, sides[one.node], leaves)]
            if not found:
                break
        return Grown(self._tree, tuple(self._own), leaves)

    def _add_up(self, above: dict[str, list[bytes]]) -> Role[None]:
        """Histograms of the level's nodes that may be divided: added up, or from their parent and sibling."""
        add = [place for place, node in enumerate(self._level) if self._to_add(node)]
        nodes = [self._level[place] for place in add]
        wholes = np.array([node.whole for node in nodes], np.int64).reshape(-1, histogram.CHANNELS)
        theirs = yield from self._far.histograms(above, add, wholes)
        for node, far in zip(nodes, theirs, strict=True):
            own = histogram.sums(self._columns, node.sampled, self._fixed.words[self._place[node.sampled]])
            node.hist = np.concatenate([own, far])
        for node in self._level:
            if node.hist is not None or not self._may_divide(node):
                continue
            if node.parent is not None and node.sibling is not None and node.sibling.hist is not None:
                node.hist = node.parent - node.sibling.hist

    def _to_add(self, node: _Open) -> bool:
        if node.sibling is None:
            return self._may_divide(node)
        here, there = int(node.whole[2]), int(node.sibling.whole[2])
        smaller = here < there or (here == there and node.place < node.sibling.place)
        return smaller and (self._may_divide(node) or self._may_divide(node.sibling))

    def _may_divide(self, node: _Open) -> bool:
        rows, weight = int(node.whole[2]), float(node.whole[1] * self._fixed.steps[1])
        return rows >= 2 * self._terms.min_samples_leaf and weight >= 2 * self._terms.min_child_weight

    def _divisions(self) -> list[_Division]:
        found = []
        for place, node in enumerate(self._level):
            if node.hist is None or not self._may_divide(node):
                continue
            best = self._finder.best(node.hist, self._fixed.steps)
            if best is None:
                continue
            owner = int(np.searchsorted(self._starts, best.split.column, side="right")) - 1
            own = Split(best.split.column - self._starts[owner], best.split.left)
            found.append(_Division(place, best, owner, own))
        return found

    def _sides(self, found: Sequence[_Division], *, last: bool) -> Role[dict[int, Bits]]:
        """Who goes left in each divided node, as the owner of its split says."""
        hosts = self._far.hosts
        own = {
            host: [(one.node, one.own) for one in found if one.owner == owner]
            for owner, host in enumerate(hosts, 1)
        }
        others = {
            host: [] if last else [one.node for one in found if one.owner != owner]
            for owner, host in enumerate(hosts, 1)
        }
        sides = yield from self._far.sides(own, others, [node.rows for node in self._level])
        for one in found:
            if one.owner == 0:
                sides[one.node] = one.own.goes_left(self._columns, self._level[one.node].rows)
        return sides

    def _children(self, one: _Division, left: Bits, leaves: npt.NDArray[np.uint16]) -> tuple[_Open, _Open]:
        parent = self._level[one.node]
        inside = self._place[parent.rows] >= 0
        self._far.require(int((left & inside).sum()), int(one.found.left[2]), one.owner)
        wholes = (one.found.left, parent.whole - one.found.left)
        number = self._numbers.get(one.owner, 0)
        self._numbers[one.owner] = number + 1
        if one.owner == 0:
            self._own.append(one.own)
        values = (self._value(wholes[0]), self._value(wholes[1]))
        place = self._tree.divide(parent.place, one.owner, number, values)
        pair = []
        for child, side in enumerate((left, ~left)):
            rows, sampled = parent.rows[side], parent.rows[side & inside]
            leaves[rows] = place + child
            pair.append(_Open(place + child, rows, sampled, wholes[child], parent=parent.hist))
        pair[0].sibling, pair[1].sibling = pair[1], pair[0]
        return pair[0], pair[1]

    def _value(self, whole: Words) -> float:
        """The leaf's value (Chen and Guestrin 2016, equation 5), shrunk by the learning rate."""
        weight = float(whole[1]) * self._fixed.steps[1] + self._terms.l2
        if weight <= 0:
            return 0.0
        return -self._terms.learning_rate * float(whole[0]) * self._fixed.steps[0] / weight
