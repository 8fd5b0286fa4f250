"""What members seal for the receivers, and how a missing member's part of the key is rebuilt."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Annotated, Any

from silo.crypto import aead, shamir
from silo.crypto.errors import DecryptionFailed, ParameterError, refuse_pickle
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret
from silo.crypto.shamir import Share
from silo.protocols import codec
from silo.protocols.codec import AtMostParties, Bytes33, Message, Name
from silo.protocols.envelope import Buffer
from silo.protocols.errors import MalformedMessage, ProtocolViolation, TooFewParties
from silo.protocols.he_sum.context import Context
from silo.protocols.he_sum.joint.key import KeyPart, Lattice

_MOST_TRIES = 1000


class Shared(Message, frozen=True):
    """One share of a lost member's seed."""

    owner: Name
    share: Bytes33

    def __repr__(self) -> str:
        return f"Shared({self.owner}, <secret>)"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


class Given(Message, frozen=True):
    """What a member gives the receivers: its part of the decryption (or nothing), and shares of who is lost."""

    partial: memoryview
    shares: Annotated[tuple[Shared, ...], AtMostParties]

    def __repr__(self) -> str:
        return "Given(<secret>)"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


def seal(key: Secret, given: Given, associated: bytes, *, rng: Rng) -> memoryview:
    """Seal under a key that the receivers have and the aggregator lacks."""
    return memoryview(aead.seal(key, codec.encode(given), associated, rng=rng))


def unseal(context: Context, sender: str, key: Secret, sealed: Buffer, associated: bytes) -> Given:
    """Open what `sender` sealed. Raises `MalformedMessage`."""
    try:
        raw = aead.unseal(key, bytes(sealed), associated)
    except DecryptionFailed:
        raise MalformedMessage(
            "its part of the decryption does not open", culprits=(sender,), round=context.round
        ) from None
    return codec.decode(Given, raw, sender=sender, round=context.round)


def rebuild(
    context: Context, lattice: Lattice, owner: str, part: bytes, shares: Mapping[str, bytes]
) -> KeyPart:
    """A lost member's part of the key from shares by holder. Raises `TooFewParties` or `ProtocolViolation`.

    Shares carry no proof: subsets are tried until the seed gives the part that its owner published.
    """
    threshold = context.parameters.threshold
    if len(shares) < threshold:
        raise TooFewParties(threshold, sorted(shares), f"the recovery of {owner}'s part of the key")
    held = {}
    for holder, raw in sorted(shares.items()):
        try:
            held[holder] = Share.from_bytes(context.roster.point(holder), raw)
        except ParameterError:
            continue
    for names in itertools.islice(itertools.combinations(held, threshold), _MOST_TRIES):
        try:
            found = lattice.part(shamir.recover([held[name] for name in names], threshold))
        except ParameterError:
            continue
        if found.public == part:
            return found
    raise ProtocolViolation(
        f"the shares of {owner}'s part of the key do not fit it: one of them is wrong, or it shared another",
        culprits=(owner, *sorted(shares)),
        round=context.round,
    )
