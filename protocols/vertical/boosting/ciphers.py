"""The schemes under which (g, h) travel, by name; `crypto.histograms` has the contract and what each assumes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from silo.crypto import histograms
from silo.crypto.errors import ParameterError
from silo.crypto.histograms import Adder, Owner
from silo.crypto.rng import Rng
from silo.protocols.vertical.boosting.parameters import FIXED_BITS, PAILLIER, Terms

LIMITS: Final = (2**FIXED_BITS, 2**FIXED_BITS)
"""No g and no h of a row is larger in size."""
MOST_WIDTH: Final = 4096
"""Bytes of a ciphertext."""


class Ciphers(Protocol):
    """A scheme: makes keys, and reads them."""

    def owner(self, rows: int, *, rng: Rng) -> Owner:
        """A fresh key for sums of up to `rows` rows."""
        ...

    def adder(self, public: bytes, rows: int) -> Adder:
        """Raises `ParameterError` for what is no public key."""
        ...


@dataclass(frozen=True, slots=True)
class OkamotoUchiyama:
    """The fast one: factoring p^2 q is hard."""

    bits: int

    def owner(self, rows: int, *, rng: Rng) -> Owner:
        from silo.crypto.okamoto_uchiyama import histograms as scheme
        from silo.crypto.okamoto_uchiyama import keys

        return scheme.Owner(keys.generate(self.bits, rng=rng), terms(rows))

    def adder(self, public: bytes, rows: int) -> Adder:
        from silo.crypto.okamoto_uchiyama import histograms as scheme

        _require_size(public, self.bits)
        return scheme.Adder(public, terms(rows))


@dataclass(frozen=True, slots=True)
class Paillier:
    """The classical one, with a proof of its key."""

    bits: int

    def owner(self, rows: int, *, rng: Rng) -> Owner:
        from silo.crypto.paillier import histograms as scheme
        from silo.crypto.paillier import keys

        return scheme.Owner(keys.generate(self.bits, rng=rng), terms(rows))

    def adder(self, public: bytes, rows: int) -> Adder:
        from silo.crypto.paillier import histograms as scheme

        _require_size(public, self.bits)
        return scheme.Adder(public, terms(rows))


def ciphers(agreed: Terms) -> Ciphers:
    """The scheme that was agreed on."""
    return (Paillier if agreed.scheme == PAILLIER else OkamotoUchiyama)(agreed.key_bits)


def terms(rows: int) -> histograms.Terms:
    """What a key is good for, the same at both ends."""
    return histograms.Terms(rows, LIMITS)


def _require_size(public: bytes, bits: int) -> None:
    """Both schemes write the bits of the modulus first."""
    found = int.from_bytes(public[:2], "big")
    if found != bits:
        raise ParameterError(f"its public key has {found} bits, and {bits} were agreed")
