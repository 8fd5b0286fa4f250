"""The lattice scheme as the protocol uses it: parts of a key, their sum, and parts of a decryption."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from silo.crypto.errors import refuse_pickle
from silo.crypto.lattice import decryption, keys, parameters, vector
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret
from silo.protocols.envelope import Buffer


class JointSum:
    """A running sum of ciphertexts."""

    def __init__(self, total: vector.Sum) -> None:
        self.payload_bytes = vector.payload_bytes(total.count, total.bits)
        self.total = total

    def check(self, payload: Buffer) -> None:
        """Refuse bytes that are no ciphertexts. Raises `ParameterError`."""
        self.total.check(payload)

    def add(self, payload: Buffer) -> None:
        """Add what was checked."""
        self.total.add(payload)

    def payload(self) -> Buffer:
        """The sum as bytes."""
        return self.total.payload()


class KeyPart:
    """One member's part of the key; `public` is what it shows."""

    __slots__ = ("_share", "public")

    def __init__(self, share: keys.KeyShare) -> None:
        self._share = share
        self.public: bytes = share.public

    def partial(self, total: JointSum, *, rng: Rng) -> bytes:
        """This member's part of the decryption of a sum."""
        return bytes(decryption.partial(total.total, self._share, rng=rng))

    def __repr__(self) -> str:
        return "KeyPart(<secret>)"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


class JointKey:
    """The sum of all parts."""

    def __init__(self, public: keys.PublicKey, bits: int) -> None:
        self._public, self._bits = public, bits

    def encrypt(self, words: npt.NDArray[Any], *, rng: Rng, threads: int) -> Buffer:
        """Encrypt words below 2^bits."""
        return vector.encrypt(words, self._public, self._bits, rng=rng, threads=threads)


class Lattice:
    """The scheme of one round: `common` (32 bytes) gives the polynomial that all parts share.

    Raises `ParameterError` for more parties than the noise has room for.
    """

    def __init__(self, common: bytes, *, count: int, bits: int, parties: int) -> None:
        parameters.require(bits, parties)
        self._common = keys.expand(common)
        self._count, self._bits = count, bits
        self.payload_bytes = vector.payload_bytes(count, bits)
        self.partial_bytes = decryption.partial_bytes(count)
        self.part_bytes = keys.PUBLIC_BYTES

    def part(self, seed: Secret) -> KeyPart:
        """The part of the key that a 32-byte seed gives."""
        return KeyPart(keys.KeyShare.from_seed(seed, self._common))

    def check_part(self, raw: Buffer) -> None:
        """Refuse bytes that are no part of a key. Raises `ParameterError`."""
        keys.check_public(bytes(raw))

    def combine(self, parts: Mapping[str, bytes]) -> JointKey:
        """The joint key. Raises `ParameterError`."""
        return JointKey(keys.combine(self._common, [parts[name] for name in sorted(parts)]), self._bits)

    def sum(self) -> JointSum:
        """An empty sum."""
        return JointSum(vector.Sum(self._count, self._bits))

    def read_sum(self, payload: Buffer, *, summands: int) -> JointSum:
        """A sum that somebody else added up. Raises `ParameterError`."""
        return JointSum(vector.Sum.read(payload, self._count, self._bits, summands=summands))

    def fuse(self, total: JointSum, partials: Mapping[str, bytes], *, summands: int) -> npt.NDArray[Any]:
        """The sum of the words, from all parts of its decryption. Raises `DecryptionFailed`, `ParameterError`."""
        given = [partials[name] for name in sorted(partials)]
        return decryption.fuse(total.total, given, self._bits, summands=summands)
