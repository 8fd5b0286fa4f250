"""Public parameters of one homomorphic sum, and the rules that keep them sound."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from silo.crypto import labels
from silo.crypto.errors import ParameterError
from silo.crypto.lattice import parameters as lattice
from silo.crypto.ring import Ring
from silo.protocols.total import HEAD_WORDS

MAX_SUMMANDS = 1024
_FIELD_BITS = 64


def require_room(protocol: str, parties: int, bits: int) -> None:
    """Refuse more parties than words of so many bits, or the lattice's noise, allow. Raises `ParameterError`."""
    Ring.of(bits)
    most = min(MAX_SUMMANDS, 1 << bits // 2)
    if not 2 <= parties <= most:
        raise ParameterError(f"a homomorphic sum in {bits} bits takes 2 to {most} parties, not {parties}")
    if protocol == "lattice":
        lattice.require(bits, parties)


@dataclass(frozen=True, slots=True)
class Parameters:
    """One sum of `length` words under `protocol` (paillier, ckks, lattice) among at most `parties` members.

    `holder` is who holds the key and `key` its fingerprint (32 bytes); both are empty where nobody does. `binding`
    is a digest of all else that the members agreed on. Raises `ParameterError`.
    """

    protocol: str
    parties: int
    threshold: int
    minimum_cohort: int
    colluders: int
    bits: int
    length: int
    holder: str
    key: bytes
    receivers: tuple[str, ...]
    binding: bytes

    def __post_init__(self) -> None:
        n, t, c = self.parties, self.threshold, self.colluders
        require_room(self.protocol, n, self.bits)
        if not 0 <= c < n or not 2 <= t <= n or 2 * t <= n + c:
            raise ParameterError(f"threshold {t} of {n}: it takes 2t > n + c with {c} colluders, and t <= n")
        if not 2 <= self.minimum_cohort <= n:
            raise ParameterError(f"a minimum cohort of {self.minimum_cohort} does not fit {n} parties")
        if self.length < 0 or len(self.binding) != 32 or len(self.key) != (32 if self.holder else 0):
            raise ParameterError("the length is not negative; binding and fingerprint have 32 bytes")

    @property
    def ring(self) -> Ring:
        return Ring.of(self.bits)

    @property
    def quorum(self) -> int:
        """Signatures on one set that no second set can have as well."""
        return max((self.parties + self.colluders) // 2 + 1, self.threshold)

    @property
    def fewest(self) -> int:
        """Parties that must be left at every step."""
        return max(self.quorum, self.minimum_cohort)

    @property
    def limb_bits(self) -> int:
        """The head's words travel in pieces of so many bits: their sums never carry into each other."""
        return self.bits // 2

    @property
    def limbs(self) -> int:
        """Pieces of one word of the head."""
        return -(-_FIELD_BITS // self.limb_bits)

    @property
    def head(self) -> int:
        """Words in front of the vector; under one holder's key a tag is the last of them."""
        return (HEAD_WORDS + bool(self.holder)) * self.limbs

    @property
    def tag(self) -> slice:
        """Where the tag stands."""
        return slice(HEAD_WORDS * self.limbs, self.head)

    @property
    def count(self) -> int:
        """Words that are encrypted."""
        return self.head + self.length

    def digest(self) -> bytes:
        """What every signature and key of the round binds; 32 bytes."""
        fields: list[bytes | int | str] = [
            self.protocol,
            self.parties,
            self.threshold,
            self.minimum_cohort,
            self.colluders,
            self.bits,
            self.length,
            self.holder,
            self.key,
            self.binding,
            *self.receivers,
        ]
        return hashlib.sha256(labels.bind(labels.TERMS, *fields)).digest()
