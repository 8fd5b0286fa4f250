"""Messages between two members that the relay only carries: end-to-end encrypted and signed.

Every member brings a fresh X25519 key to each process; the roll call shows it, signed. The key of one message
binds session, round, sender and recipient; the envelope around it is signed by the sender's pinned identity.
Adversary: a malicious relay. It learns the size, and that there was a message; it can drop it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from silo.crypto import aead, labels
from silo.crypto.errors import DecryptionFailed, ParameterError
from silo.crypto.keys import AgreementKey
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret
from silo.protocols.codec import Message
from silo.protocols.envelope import OVERHEAD, Bearings
from silo.protocols.errors import MalformedMessage, UnexpectedMessage

PROTOCOL: Final = "private"
EXTRA: Final = OVERHEAD + aead.OVERHEAD + 64


class Private(Message, frozen=True):
    """Member to member. AEAD under the pair's key of this round and direction."""

    ciphertext: memoryview


@dataclass(frozen=True, slots=True)
class Pair:
    """Two members in one round: the own channel key, and the key that the peer showed in the roll call."""

    bearings: Bearings
    me: str
    peer: str
    own: AgreementKey
    peer_key: bytes
    _keys: dict[str, tuple[Secret, bytes]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """By sender; worked out once, however many messages there are."""

    def seal(self, plaintext: bytes, *, rng: Rng) -> Private:
        """Encrypt for the peer."""
        key, binding = self._key(self.me, self.peer)
        return Private(memoryview(aead.seal(key, plaintext, binding, rng=rng)))

    def unseal(self, message: Private) -> bytes:
        """Decrypt what the peer sent. Raises `MalformedMessage`."""
        key, binding = self._key(self.peer, self.me)
        try:
            return aead.unseal(key, bytes(message.ciphertext), binding)
        except DecryptionFailed:
            raise MalformedMessage(
                "a message between members does not open", culprits=(self.peer,), round=self.bearings.round
            ) from None

    def _key(self, sender: str, recipient: str) -> tuple[Secret, bytes]:
        if sender not in self._keys:
            self._keys[sender] = self._agreed(sender, recipient)
        return self._keys[sender]

    def _agreed(self, sender: str, recipient: str) -> tuple[Secret, bytes]:
        where = self.bearings
        info = labels.bind(labels.CHANNEL, where.parameters, where.session, where.round, sender, recipient)
        try:
            return self.own.agree(self.peer_key, info), info
        except ParameterError as problem:
            raise UnexpectedMessage(
                f"its channel key cannot be used: {problem}", culprits=(self.peer,), round=where.round
            ) from None


def bearings(charter: bytes, session: bytes, round: int) -> Bearings:
    """Private messages belong to one round of a session under a charter."""
    return Bearings(PROTOCOL, charter, session, round)
