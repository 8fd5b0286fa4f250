"""The messages of the homomorphic sums, in the order in which they travel."""

from __future__ import annotations

from typing import Annotated

from silo.protocols.codec import AtMostParties, Bytes32, Code, Frames, Message, Name, Short


class HolderKey(Message, frozen=True):
    """Holder to all. The public key with its proof; the charter has its fingerprint."""

    public: memoryview


class KeyFrame(Message, frozen=True):
    """Aggregator to all. The holder's signed message, as it was sent."""

    frame: memoryview


class Box(Message, frozen=True):
    """Bytes for one peer, end-to-end encrypted."""

    peer: Name
    ciphertext: Short


class Upload(Message, frozen=True):
    """Member to aggregator (where nobody holds the key: to all). Encrypted head and vector."""

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


class Commit(Message, frozen=True):
    """Member to all, lattice. Commits to its part of the joint key before it sees the others'."""

    commitment: Bytes32


class Commits(Message, frozen=True):
    """Aggregator to all, lattice."""

    commits: Frames


class Reveal(Message, frozen=True):
    """Member to all, lattice. Its part of the joint key, and boxes for the others: a share of its secret part."""

    nonce: Bytes32
    part: memoryview
    boxes: Annotated[tuple[Box, ...], AtMostParties]


class Reveals(Message, frozen=True):
    """Aggregator to all, lattice."""

    reveals: Annotated[tuple[memoryview, ...], AtMostParties]


class Pledge(Message, frozen=True):
    """Member to all, lattice. The digest of the upload to come: nobody's can be made from another's."""

    digest: Bytes32


class Pledges(Message, frozen=True):
    """Aggregator to all, lattice."""

    pledges: Frames


class Uploads(Message, frozen=True):
    """Aggregator to all, lattice. Every upload, as it was signed: each member adds them up itself."""

    uploads: Annotated[tuple[memoryview, ...], AtMostParties]


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
