"""Keys of Okamoto and Uchiyama: n = p^2 q with safe primes, and bases that nobody chose.

The public key is n alone. g is the square of a hash of n, and h = g^n. As (p - 1) / 2 and (q - 1) / 2 are prime, h
generates all squares among the n-th powers: h^r with a uniform r hides everything but the message, also from who knows
p and q. With a base that the maker chose, of small order, it would hide nothing.

A modulus has no proof here: that of `paillier.proof` shows gcd(n, phi(n)) = 1, and for p^2 q it is p. A modulus of
another form harms its maker, as it may not decrypt, but for one thing: from a sum that was returned under fresh
randomness the maker reads its class modulo the powers of h. For a key made as here that is the message, below p; rows
that the maker did not take from the squares add two bits. For others it is at most n, the length of the ciphertext; for
a modulus of many small primes it comes near that. No cheap check tells p^2 q from such numbers without the factors.
"""

from __future__ import annotations

import hashlib
import math
from functools import cached_property
from typing import Any, Final, final

import numpy as np

from silo.crypto import labels, powers
from silo.crypto.errors import ParameterError, refuse_pickle
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret

SIZES: Final = (2048, 3072)
"""Bits of n: about 98 and 124 bits of security, by the cheapest of three ways to factor it, o(1) left out.

The number field sieve on n takes 2^112 and 2^128 (NIST SP 800-57 part 1 rev. 5, table 2); elliptic curves for p of 560
and 840 bits L_p[1/2, sqrt 2] = 2^98 and 2^124 operations modulo n (Lenstra 1987); class groups for q of 928 and 1392
bits L_q[1/2, 1] ln n = 2^103 and 2^128 operations on forms (Mulder, arXiv 2308.06130). The last is why p and q are not
of equal length, as is usual: with 683 bits each it takes some 2^88. 2048 bits are less than with Paillier's scheme.
"""
FEWEST: Final = 512
SLACK_BITS: Final = 64
"""Random numbers are longer than their modulus by so many bits, and uniform up to 2^-64."""
_HEAD: Final = 2
_WINDOW: Final = 1 << 18
_SIEVE: Final = 1 << 16


def prime_bits(bits: int) -> int:
    """Bits of p for a modulus of so many."""
    return bits * 35 // 128


@final
class PublicKey:
    """The modulus n; g and h follow from it."""

    def __init__(self, n: int) -> None:
        self.bits = n.bit_length()
        if self.bits % 128 or self.bits < FEWEST or n % 2 == 0 or powers.has_small_factor(n):
            raise ParameterError(
                f"an Okamoto-Uchiyama modulus of {self.bits} bits cannot be used, or has a small factor"
            )
        self.n = powers.number(n)
        seed = labels.bind(labels.OKAMOTO_UCHIYAMA_BASE, self.to_bytes())
        drawn = int.from_bytes(hashlib.shake_256(seed).digest(self.size + SLACK_BITS // 8), "big") % n
        self.g = powers.number(drawn * drawn % n)
        self.h = powers.power(self.g, n, n)
        if math.gcd(int(self.h), n) != 1 or self.h == 1 or self.h * self.h % n == 1:
            raise ParameterError("the base of an Okamoto-Uchiyama key hides nothing: it has order 1 or 2")

    @property
    def size(self) -> int:
        """Bytes of n, and of a ciphertext."""
        return self.bits // 8

    @property
    def plain_bits(self) -> int:
        """Bits of p: a plaintext is below it."""
        return prime_bits(self.bits)

    def to_bytes(self) -> bytes:
        """The size and n, big-endian."""
        return self.bits.to_bytes(_HEAD, "big") + int(self.n).to_bytes(self.size, "big")

    @classmethod
    def from_bytes(cls, raw: bytes) -> PublicKey:
        """Read a key of one of `SIZES`. Raises `ParameterError`."""
        bits = int.from_bytes(raw[:_HEAD], "big")
        n = int.from_bytes(raw[_HEAD:], "big")
        if bits not in SIZES or len(raw) != _HEAD + bits // 8 or n.bit_length() != bits:
            raise ParameterError("these bytes are no Okamoto-Uchiyama key of 2048 or 3072 bits")
        return cls(n)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the key, 32 bytes."""
        return hashlib.sha256(labels.bind(labels.OKAMOTO_UCHIYAMA_KEY, self.to_bytes())).digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and bool(self.n == other.n)

    def __hash__(self) -> int:
        return hash(int(self.n))

    def __repr__(self) -> str:
        return f"PublicKey({self.bits} bits, {self.fingerprint.hex()[:16]}...)"


@final
class PrivateKey:
    """The factors. It holds its public key; only `to_bytes` gives the secret out."""

    def __init__(self, p: int, q: int) -> None:
        if p == q or not _safe(p) or not _safe(q):
            raise ParameterError("these are not the factors of an Okamoto-Uchiyama key")
        self.public = PublicKey(p * p * q)
        if p.bit_length() != self.public.plain_bits:
            raise ParameterError("the factors of an Okamoto-Uchiyama key do not have the agreed lengths")
        self.p, self.q = powers.number(p), powers.number(q)
        self.square = self.p * self.p
        if self.generator == 0 or self.public.h % self.p == 1 or self.public.h % self.q == 1:
            raise ParameterError("the bases of this Okamoto-Uchiyama key hide nothing: take other factors")

    @cached_property
    def generator(self) -> Any:
        """L(g^(p - 1) mod p^2), where L(x) = (x - 1) / p."""
        return (powers.power(self.public.g, self.p - 1, self.square) - 1) // self.p

    @cached_property
    def factor(self) -> Any:
        """1 / L(g^(p - 1)) mod p."""
        return powers.inverse(self.generator, self.p)

    def to_bytes(self) -> Secret:
        """The size and the factors, for a file that only its owner reads."""
        bits = self.public.bits
        p, q = _lengths(bits)
        return Secret(
            bits.to_bytes(_HEAD, "big") + int(self.p).to_bytes(p, "big") + int(self.q).to_bytes(q, "big")
        )

    @classmethod
    def from_bytes(cls, secret: Secret) -> PrivateKey:
        """Read what `to_bytes` gave. Raises `ParameterError`."""
        raw = secret.reveal()
        bits = int.from_bytes(raw[:_HEAD], "big")
        p, q = _lengths(bits)
        if bits not in SIZES or len(raw) != _HEAD + p + q:
            raise ParameterError("these bytes are no Okamoto-Uchiyama key: restore it from a backup")
        found = cls(int.from_bytes(raw[_HEAD : _HEAD + p], "big"), int.from_bytes(raw[_HEAD + p :], "big"))
        if found.public.bits != bits:
            raise ParameterError(f"a key says {bits} bits and has {found.public.bits}")
        return found

    def __repr__(self) -> str:
        return f"PrivateKey({self.public.bits} bits, redacted)"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


def generate(bits: int = 3072, *, rng: Rng) -> PrivateKey:
    """Make a key of 2048 or 3072 bits; takes seconds. Raises `ParameterError` for others."""
    if bits not in SIZES:
        raise ParameterError(f"an Okamoto-Uchiyama key has {', '.join(map(str, SIZES))} bits, not {bits}")
    return _generate(bits, rng)


def insecure_small_key(bits: int, *, rng: Rng) -> PrivateKey:
    """A key that protects nothing, for tests."""
    return _generate(bits, rng)


def safe_prime(bits: int, *, rng: Rng) -> int:
    """A random prime p with (p - 1) / 2 prime, its three top bits set, so that p^2 q has all its bits.

    Both are sieved together from a random place on; the first pair there is taken.
    """
    small = [value for value in powers.primes_below(_SIEVE) if value > 2]
    while True:
        drawn = powers.below(1 << bits - 4, rng=rng) | 1
        start = 7 << bits - 4 | drawn
        open_ = np.ones(_WINDOW, bool)
        for value in small:
            half = (value + 1) // 2
            open_[-start * half % value :: value] = False  # start + 2 i = 0
            open_[-(2 * start + 1) * half * half % value :: value] = False  # 2 (start + 2 i) + 1 = 0
        for place in np.flatnonzero(open_).tolist():
            half = start + 2 * place
            found = 2 * half + 1
            if found.bit_length() > bits:
                break
            if _fermat(half) and _fermat(found) and all(powers.is_prime(x, rng=rng) for x in (half, found)):
                return found


def _generate(bits: int, rng: Rng) -> PrivateKey:
    p = prime_bits(bits)
    return PrivateKey(safe_prime(p, rng=rng), safe_prime(bits - 2 * p, rng=rng))


def _lengths(bits: int) -> tuple[int, int]:
    """Bytes of p and q."""
    p = prime_bits(bits)
    return -(-p // 8), -(-(bits - 2 * p) // 8)


def _fermat(value: int) -> bool:
    return bool(powers.power(2, value - 1, value) == 1)


def _safe(value: int) -> bool:
    """Whether this may be a safe prime: it was tested when it was made, and here once more, quickly."""
    return value > 7 and value % 4 == 3 and _fermat(value) and _fermat(value // 2)
