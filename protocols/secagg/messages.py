"""The messages of the masked sum, in the order in which they travel."""

from __future__ import annotations

from typing import Annotated, Any

from silo.crypto.errors import refuse_pickle
from silo.protocols.codec import AtMostParties, Bytes32, Bytes33, Frames, Message, Name, Short


class Advertise(Message, frozen=True):
    """Member to all. Two ephemeral X25519 keys and two commitments."""

    mask_key: Bytes32
    share_key: Bytes32
    seed_commitment: Bytes32
    graph_commitment: Bytes32


class Directory(Message, frozen=True):
    """Aggregator to all. The signed advertisements, as they were sent."""

    advertisements: Frames


class Reveal(Message, frozen=True):
    """Member to all, k-regular graph only. Opens the commitment to its part of the graph's seed."""

    nonce: Bytes32
    directory: Bytes32


class Reveals(Message, frozen=True):
    """Aggregator to all. The signed openings of everybody in the directory."""

    reveals: Frames


class Sealed(Message, frozen=True):
    """A share package for one peer, under the pair's key. `peer` is the recipient on the way to the
    aggregator and the sender on the way from it."""

    peer: Name
    ciphertext: Short


class Shares(Message, frozen=True):
    """Member to aggregator, for its neighbours."""

    packages: Annotated[tuple[Sealed, ...], AtMostParties]


class Delivery(Message, frozen=True):
    """Aggregator to one member: the packages of those neighbours that completed the step."""

    packages: Annotated[tuple[Sealed, ...], AtMostParties]


class Package(Message, frozen=True):
    """What a `Sealed` holds: shares of the self-mask seed and of the mask key; a part of the blinding key."""

    seed_share: Bytes33
    key_share: Bytes33
    blind: Short

    def __repr__(self) -> str:
        return "Package(<secret>)"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


class Upload(Message, frozen=True):
    """Member to aggregator. The masked head and vector."""

    payload: memoryview


class Revealed(Message, frozen=True):
    """One share: of the self-mask seed of a survivor, or of the mask key of a lost party. Never both."""

    owner: Name
    share: Bytes33


class Unmasking(Message, frozen=True):
    """Member to aggregator."""

    seed_shares: Annotated[tuple[Revealed, ...], AtMostParties]
    key_shares: Annotated[tuple[Revealed, ...], AtMostParties]


class Result(Message, frozen=True):
    """Aggregator to the receivers: head and vector, unmasked (blinded ones still under the members' key).
    Whoever does not receive gets an empty payload."""

    payload: memoryview
