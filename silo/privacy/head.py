"""The newest record of a ledger, signed so that it can be kept elsewhere: by its owner, and by partners.

`str()` of a `SealedHead` or a `Witnessed` is the line that an auditor keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from silo.crypto import labels, signing
from silo.errors import ParameterError
from silo.privacy import record

LEDGER_ID_BYTES: Final = 16


@dataclass(frozen=True, slots=True, order=True)
class Head:
    """Ledger id (16 bytes), number of its newest record, and that record's hash (32 bytes)."""

    ledger: bytes
    sequence: int
    hash: bytes

    def __post_init__(self) -> None:
        if len(self.ledger) != LEDGER_ID_BYTES or len(self.hash) != 32 or self.sequence < 1:
            raise ParameterError("the head of a ledger is its id, a number from 1 on, and a hash of 32 bytes")

    def witness_bytes(self, owner: str) -> bytes:
        """What a partner signs: that `owner` showed it this head."""
        return labels.bind(labels.LEDGER_WITNESS, owner, self.ledger, self.sequence, self.hash)


@dataclass(frozen=True, slots=True)
class SealedHead:
    """A head under its owner's signature (64 bytes)."""

    head: Head
    signature: bytes

    def check(self, key: bytes) -> None:
        """Raise `InvalidSignature` unless the owner of `key` signed it."""
        head = self.head
        message = record.signed(head.ledger, head.sequence, head.hash)
        signing.verify(key, labels.LEDGER_SIGNATURE, message, self.signature)

    def __str__(self) -> str:
        head = self.head
        return (
            f"silo-ledger-head:{head.ledger.hex()}:{head.sequence}:{head.hash.hex()}:{self.signature.hex()}"
        )

    @classmethod
    def parse(cls, line: str) -> SealedHead:
        """Read the line again. Raises `ParameterError`."""
        ledger, sequence, digest, signature = _split(line, "silo-ledger-head", 4)
        return cls(_head(ledger, sequence, digest), _hex(signature, 64))


@dataclass(frozen=True, slots=True)
class Witnessed:
    """A partner's word, under its signature (64 bytes), that `owner` showed it this sealed head.

    The owner's own signature is in it, so that nobody can be accused of a head that it never had.
    """

    owner: str
    witness: str
    sealed: SealedHead
    signature: bytes

    @property
    def head(self) -> Head:
        return self.sealed.head

    def check(self, owner_key: bytes, witness_key: bytes) -> None:
        """Raise `InvalidSignature` unless both signed."""
        self.sealed.check(owner_key)
        signing.verify(
            witness_key, labels.LEDGER_WITNESS, self.head.witness_bytes(self.owner), self.signature
        )

    def __str__(self) -> str:
        head = self.head
        return (
            f"silo-ledger-witness:{self.owner}:{self.witness}:{head.ledger.hex()}:{head.sequence}:"
            f"{head.hash.hex()}:{self.sealed.signature.hex()}:{self.signature.hex()}"
        )

    @classmethod
    def parse(cls, line: str) -> Witnessed:
        """Read the line again. Raises `ParameterError`."""
        owner, witness, ledger, sequence, digest, own, signature = _split(line, "silo-ledger-witness", 7)
        sealed = SealedHead(_head(ledger, sequence, digest), _hex(own, 64))
        return cls(owner, witness, sealed, _hex(signature, 64))


def _split(line: str, word: str, count: int) -> list[str]:
    parts = line.strip().split(":")
    if parts[0] != word or len(parts) != count + 1:
        raise ParameterError(f"this is no such line: give the whole line {word}:…")
    return parts[1:]


def _head(ledger: str, sequence: str, digest: str) -> Head:
    if not (sequence.isascii() and sequence.isdecimal() and len(sequence) <= 15):
        raise ParameterError("the line of a ledger's head names no record number: give the whole line")
    return Head(_hex(ledger, LEDGER_ID_BYTES), int(sequence), _hex(digest, 32))


def _hex(text: str, size: int) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) != size:
        raise ParameterError("the line of a ledger's head is damaged: give the whole line") from None
    return raw
