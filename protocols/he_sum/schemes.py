"""What the protocol asks of encryption under one holder's key; a scheme's module is loaded when it is used."""

from __future__ import annotations

import hashlib
from typing import Any, Final, Protocol

import numpy.typing as npt

from silo.crypto import labels
from silo.crypto.errors import ParameterError
from silo.crypto.rng import Rng
from silo.protocols.envelope import Buffer

HELD: Final = ("paillier", "ckks")
KEY_LIMIT: Final = 1 << 20


class Sum(Protocol):
    """A running sum of ciphertexts, on the aggregator's side."""

    def check(self, payload: Buffer) -> None:
        """Refuse bytes that are no ciphertexts under this key. Raises `ParameterError`."""
        ...

    def add(self, payload: Buffer) -> None:
        """Add what was checked."""
        ...

    def payload(self) -> Buffer:
        """The sum as it goes to the holder."""
        ...


class Encryption(Protocol):
    """One vector of `count` words of `bits` bits under a public key."""

    payload_bytes: int

    def encrypt(self, words: npt.NDArray[Any], *, rng: Rng, threads: int) -> Buffer: ...

    def sum(self) -> Sum: ...


class Decryption(Protocol):
    """The holder's side."""

    payload_bytes: int

    def decrypt(self, payload: Buffer, *, summands: int, threads: int) -> npt.NDArray[Any]:
        """The sums of the words. Raises `DecryptionFailed` when it is no sum of so many honest inputs."""
        ...


def fingerprint(protocol: str, public: Buffer) -> bytes:
    """What the charter names a public key by; 32 bytes."""
    return hashlib.sha256(labels.bind(labels.SUM_KEY, protocol, bytes(public))).digest()


def encryption(protocol: str, public: Buffer, *, count: int, bits: int) -> Encryption:
    """Read a public key with its proof. Raises `ParameterError`."""
    if protocol == "paillier":
        from silo.protocols.he_sum.paillier import PaillierEncryption

        return PaillierEncryption(bytes(public), count, bits)
    if protocol == "ckks":
        from silo.protocols.he_sum.ckks import CkksEncryption

        return CkksEncryption(bytes(public), count, bits)
    raise ParameterError(f"{protocol} has no key holder")
