"""Where one round of a homomorphic sum stands."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from silo.crypto import labels
from silo.crypto.errors import ParameterError
from silo.crypto.keys import AgreementKey
from silo.crypto.rng import Rng
from silo.protocols.envelope import Bearings
from silo.protocols.errors import MalformedMessage, UnexpectedMessage
from silo.protocols.he_sum.messages import Box
from silo.protocols.he_sum.parameters import Parameters
from silo.protocols.private import Pair, Private
from silo.protocols.rounds import Place, by_name


@dataclass(frozen=True, slots=True)
class Context(Place):
    """One round of a homomorphic sum, the same for all parties.

    `channels` are the X25519 keys that the members showed, signed, in the roll call.
    """

    parameters: Parameters
    channels: Mapping[str, bytes]

    def __post_init__(self) -> None:
        if len(self.roster) != self.parameters.parties:
            raise ParameterError(
                f"the roster has {len(self.roster)} parties, the parameters {self.parameters.parties}"
            )
        if self.aggregator in self.roster:
            raise ParameterError("the aggregator of a homomorphic sum is not a member: it could decrypt")
        if self.parameters.holder and self.parameters.holder not in self.roster:
            raise ParameterError(f"the key holder {self.parameters.holder} is not in the roster")

    @property
    def bearings(self) -> Bearings:
        return Bearings(self.parameters.protocol, self.parameters.digest(), self.session, self.round)

    @property
    def fewest(self) -> int:
        return self.parameters.fewest

    def pair(self, me: str, peer: str, own: AgreementKey) -> Pair:
        """The end-to-end channel between two members in this round."""
        if peer not in self.channels:
            raise UnexpectedMessage(
                f"{peer} was not in the roll call of this round",
                culprits=(self.aggregator, peer),
                round=self.round,
            )
        return Pair(self.bearings, me, peer, own, self.channels[peer])

    def box(self, me: str, peer: str, own: AgreementKey, raw: bytes, *, rng: Rng) -> tuple[Box, ...]:
        """A box for a peer; none for one whose channel key cannot be used, which is its own loss."""
        try:
            return (Box(peer, bytes(self.pair(me, peer, own).seal(raw, rng=rng).ciphertext)),)
        except UnexpectedMessage:
            return ()

    def unbox(self, me: str, sender: str, own: AgreementKey, boxes: Iterable[Box]) -> bytes:
        """What the sender's one box for us holds. Raises `MalformedMessage` and other `ProtocolViolation`."""
        mine = [box.ciphertext for box in boxes if box.peer == me]
        if len(mine) != 1:
            raise MalformedMessage("it has no box for us", culprits=(sender,), round=self.round)
        return self.pair(me, sender, own).unseal(Private(memoryview(mine[0])))

    def cohort(self, uploads: Mapping[str, bytes], *before: bytes) -> bytes:
        """The digest that is voted on: who uploaded which bytes, after what."""
        return hashlib.sha256(self.info(labels.SURVIVORS, *before, *by_name(uploads))).digest()
