"""CKKS as the protocol uses it."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from silo.crypto.ckks import vector
from silo.crypto.ckks.keys import PrivateKey, PublicKey
from silo.crypto.ckks.parameters import Layout
from silo.crypto.rng import Rng
from silo.protocols.envelope import Buffer


class CkksSum:
    """A running sum of ciphertexts."""

    def __init__(self, public: PublicKey, count: int, bits: int) -> None:
        self._layout = Layout(count, bits, public.chosen)
        self._sum = vector.Sum(public, count, bits)

    def check(self, payload: Buffer) -> None:
        vector.parse(payload, self._layout)

    def add(self, payload: Buffer) -> None:
        self._sum.add(payload)

    def payload(self) -> Buffer:
        return self._sum.payload()


class CkksEncryption:
    """One vector under a public key."""

    def __init__(self, public: bytes, count: int, bits: int) -> None:
        self._public = PublicKey.from_bytes(public)
        self._count, self._bits = count, bits
        self.payload_bytes = vector.payload_bytes(self._public, count, bits)

    def encrypt(self, words: npt.NDArray[Any], *, rng: Rng, threads: int) -> Buffer:
        return vector.encrypt(words, self._public, self._bits, rng=rng)

    def sum(self) -> CkksSum:
        return CkksSum(self._public, self._count, self._bits)


class CkksDecryption:
    """The holder's side of one vector."""

    def __init__(self, private: PrivateKey, count: int, bits: int) -> None:
        self._private, self._count, self._bits = private, count, bits
        self.payload_bytes = vector.payload_bytes(private.public, count, bits)

    def decrypt(self, payload: Buffer, *, summands: int, threads: int) -> npt.NDArray[Any]:
        return vector.decrypt(payload, self._private, self._count, self._bits, summands=summands)
