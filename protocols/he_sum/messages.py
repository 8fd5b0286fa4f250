"""The messages of the homomorphic sums, in the order in which they travel."""

from __future__ import annotations

from typing import Annotated

from silo.protocols.codec import AtMostParties, Code, Frames, Message, Name, Short
from silo.protocols.envelope import Receipt


class Box(Message, frozen=True):
    """Bytes for one peer, end-to-end encrypted."""

    peer: Name
    ciphertext: Short


class HolderKey(Message, frozen=True):
    """Holder to all. The public key with its proof, of which the charter has the fingerprint.

    In a box for each member: the key of this round's tags, which the aggregator lacks.
    """

    public: memoryview
    boxes: Annotated[tuple[Box, ...], AtMostParties]


class KeyFrame(Message, frozen=True):
    """Aggregator to all. The holder's signed message, as it was sent."""

    frame: memoryview


class Upload(Message, frozen=True):
    """Member to aggregator. Encrypted head and vector; no other member sees it."""

    payload: memoryview


class Ciphertext(Message, frozen=True):
    """Aggregator to the holder. The encrypted sum over the survivors, and the votes of a quorum."""

    votes: Frames
    payload: memoryview


class Release(Message, frozen=True):
    """Holder to the receivers, past the aggregator: the sum under a fresh key, and this key in a box for each.

    With a `problem` there is no sum.
    """

    problem: Code
    boxes: Annotated[tuple[Box, ...], AtMostParties]
    sealed: memoryview


class Released(Message, frozen=True):
    """Aggregator to a member. The holder's signed release; empty for whom the charter gives no results."""

    frame: memoryview


class Part(Message, frozen=True):
    """Member to all, lattice. Its part of the joint key, and a box for each other member.

    In a box: a share of the secret part, a share of the key of the check, and for receivers a key of its own.
    """

    part: memoryview
    boxes: Annotated[tuple[Box, ...], AtMostParties]


class JointParts(Message, frozen=True):
    """Aggregator to all, lattice. The parts, as they were signed."""

    parts: Annotated[tuple[memoryview, ...], AtMostParties]


class Summed(Message, frozen=True):
    """Aggregator to all, lattice. The encrypted sum, and the receipts of the uploads in it.

    The note in each receipt is the sealed fingerprint of the upload: theirs must add up to that of the sum.
    """

    uploads: Annotated[tuple[Receipt, ...], AtMostParties]
    payload: memoryview


class Partial(Message, frozen=True):
    """Member to the receivers, lattice: its part of the decryption, and shares of the keys of those who are lost.

    Under a key that the receivers have and the aggregator lacks.
    """

    sealed: memoryview


class Missing(Message, frozen=True):
    """Aggregator to those who gave their part, lattice: who did not."""

    names: Annotated[tuple[Name, ...], AtMostParties]


class Recovery(Message, frozen=True):
    """Member to the receivers, lattice: shares of the keys of those who are missing."""

    sealed: memoryview


class Parts(Message, frozen=True):
    """Aggregator to a receiver, lattice: the signed parts and recoveries; empty for whom there are no results."""

    partials: Annotated[tuple[memoryview, ...], AtMostParties]
    recoveries: Annotated[tuple[memoryview, ...], AtMostParties]
