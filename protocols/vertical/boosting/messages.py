"""What the label party and a host write to each other; every letter is end-to-end encrypted (`protocols.transit`)."""

from __future__ import annotations

from typing import Annotated

from silo.protocols.codec import AtMostTerms, Bytes32, Count, Message

Nodes = Annotated[tuple[Count, ...], AtMostTerms]
"""Nodes of one level, counted from the left; a level has fewer than the bound, and who reads it checks that."""
Masks = Annotated[tuple[memoryview, ...], AtMostTerms]


class Hello(Message, frozen=True):
    """Host: the bins of each of its columns (a byte each), and which are categorical (a bit each)."""

    bins: memoryview
    categorical: memoryview


class Start(Message, frozen=True):
    """Label party: which training this is, how many trees of it are done, how many an iteration has, its public key,
    the bytes of a ciphertext, and the rows that are trained on (a bit each)."""

    run: Bytes32
    trees: Count
    groups: Count
    key: memoryview
    width: Count
    training: memoryview


class Turn(Message, frozen=True):
    """Label party: the rows of the next tree's sample (a bit each), or the end and how many trees are kept."""

    more: bool
    kept: Count
    sample: memoryview


class Level(Message, frozen=True):
    """Label party: who goes left in each node that others divided, and which nodes to add up."""

    sides: Masks
    add: Nodes


class OwnSplit(Message, frozen=True):
    """A node, the host's column that divides it, and the codes that go left (a bit each)."""

    node: Count
    column: Count
    left: Bytes32


class Chosen(Message, frozen=True):
    """Label party: the splits of a level that are the host's, and the other nodes that are divided (none of the last
    level)."""

    own: Annotated[tuple[OwnSplit, ...], AtMostTerms]
    others: Nodes


class Sides(Message, frozen=True):
    """Host: who goes left in each node that it divided, in the order in which it was told them."""

    masks: Masks
