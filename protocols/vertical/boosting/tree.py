"""A tree as the label party has it: who owns each node's split, and the values of the leaves.

What a split says is known to its owner alone; the tree holds the owner's place (0: the label party, then the hosts in
the order of names) and the split's number among those that the owner has in this tree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.protocols.vertical.boosting.parameters import MOST_DEPTH
from silo.protocols.vertical.boosting.routing import Bits
from silo.protocols.vertical.boosting.sampling import Rows

LEAF: Final = -1
Sides = Callable[[int, int], Bits]
"""(owner, number) -> for every row, whether it goes left."""


@dataclass(slots=True)
class Node:
    """A leaf, until it is divided: then `left` is the place of a child, and the other is the next."""

    value: float
    owner: int = LEAF
    number: int = LEAF
    left: int = LEAF


@dataclass(slots=True, repr=False)
class Tree:
    """Nodes, the root first, a level behind the other."""

    nodes: list[Node] = field(default_factory=list)

    def divide(self, place: int, owner: int, number: int, values: tuple[float, float]) -> int:
        """Give a leaf two children with `values`; returns the place of the left one."""
        node = self.nodes[place]
        node.owner, node.number, node.left = owner, number, len(self.nodes)
        self.nodes += [Node(value) for value in values]
        return node.left

    @property
    def values(self) -> npt.NDArray[np.float64]:
        return np.array([node.value for node in self.nodes])

    def leaves(self, rows: int, sides: Sides) -> npt.NDArray[np.uint16]:
        """The place of each row's leaf."""
        found = np.zeros(rows, np.uint16)
        at: dict[int, Rows] = {0: np.arange(rows)}
        for place, node in enumerate(self.nodes):
            here = at.pop(place)
            if node.owner == LEAF:
                found[here] = place
                continue
            left = sides(node.owner, node.number)[here]
            at[node.left], at[node.left + 1] = here[left], here[~left]
        return found

    def count(self, owner: int) -> int:
        """How many splits an owner has here."""
        return sum(node.owner == owner for node in self.nodes)

    def check(self, owners: int) -> None:
        """Raise `ParameterError` unless this is a tree: what was read from a file may be anything."""
        seen, depth = [0] * len(self.nodes), {0: 0}
        for place, node in enumerate(self.nodes):
            if node.owner == LEAF:
                continue
            if not (0 <= node.owner < owners and place < node.left < len(self.nodes) - 1):
                raise ParameterError(f"node {place} of a tree points nowhere")
            for child in (node.left, node.left + 1):
                seen[child] += 1
                depth[child] = depth.get(place, 0) + 1
        numbers = sorted((node.owner, node.number) for node in self.nodes if node.owner != LEAF)
        counted = [(owner, number) for owner in range(owners) for number in range(self.count(owner))]
        if not seen or seen[0] or any(one != 1 for one in seen[1:]) or numbers != counted:
            raise ParameterError("the nodes of a tree do not make one")
        if max(depth.values()) > MOST_DEPTH:
            raise ParameterError(f"a tree has at most {MOST_DEPTH} levels of splits")
