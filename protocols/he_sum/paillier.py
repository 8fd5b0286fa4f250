"""Paillier as the protocol uses it: what travels is the public key with the proof that its owner knows the factors."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.crypto.paillier import keys, proof, vector
from silo.crypto.paillier.keys import PrivateKey, PublicKey
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret
from silo.protocols.envelope import Buffer

_LENGTH = 4


def generate(bits: int, *, rng: Rng) -> PrivateKey:
    """Make a key of so many bits. Raises `ParameterError`."""
    return keys.generate(bits, rng=rng)


def private_from(secret: Secret) -> PrivateKey:
    """Read what `PrivateKey.to_bytes` gave. Raises `ParameterError`."""
    return PrivateKey.from_bytes(secret)


def public_bytes(private: PrivateKey) -> bytes:
    """The public key and its proof."""
    raw = private.public.to_bytes()
    return len(raw).to_bytes(_LENGTH, "big") + raw + proof.prove(private)


@lru_cache(maxsize=8)
def read_public(raw: bytes) -> PublicKey:
    """Read a public key and check its proof. Raises `ParameterError`."""
    size = int.from_bytes(raw[:_LENGTH], "big")
    if len(raw) < _LENGTH + size:
        raise ParameterError("a Paillier key is shorter than it says")
    public = PublicKey.from_bytes(raw[_LENGTH : _LENGTH + size])
    proof.verify(public, raw[_LENGTH + size :])
    return public


class PaillierSum:
    """A running sum of ciphertexts."""

    def __init__(self, public: PublicKey, count: int, bits: int) -> None:
        self._sum = vector.Sum(public, count, bits)

    def check(self, payload: Buffer) -> None:
        self._sum.check(payload)

    def add(self, payload: Buffer) -> None:
        self._sum.add(payload)

    def payload(self) -> Buffer:
        return self._sum.payload()


class PaillierEncryption:
    """One vector under a public key."""

    def __init__(self, public: bytes, count: int, bits: int) -> None:
        self._public = read_public(public)
        self._count, self._bits = count, bits
        self.payload_bytes = vector.payload_bytes(self._public, count, bits)

    def encrypt(self, words: npt.NDArray[Any], *, rng: Rng, threads: int) -> Buffer:
        return vector.encrypt(words, self._public, self._bits, rng=rng)

    def sum(self) -> PaillierSum:
        return PaillierSum(self._public, self._count, self._bits)


class PaillierDecryption:
    """The holder's side of one vector."""

    def __init__(self, private: PrivateKey, count: int, bits: int) -> None:
        self._private, self._count, self._bits = private, count, bits
        self.payload_bytes = vector.payload_bytes(private.public, count, bits)

    def decrypt(self, payload: Buffer, *, summands: int, threads: int) -> npt.NDArray[Any]:
        return vector.decrypt(
            payload, self._private, self._count, self._bits, summands=summands, threads=threads
        )
