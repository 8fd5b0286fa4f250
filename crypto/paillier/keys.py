"""Keys of Damgård, Jurik and Nielsen: n = p q with p = q = 3 mod 4, and a base whose powers hide a message."""

from __future__ import annotations

import hashlib
import math
from functools import cached_property
from typing import Any, Final, final

from silo.crypto import labels, powers
from silo.crypto.errors import DecryptionFailed, ParameterError, refuse_pickle
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret

SIZES: Final = (2048, 3072, 4096)
"""Bits of n: about 112, 128 and 152 bits of security (NIST SP 800-57 part 1 rev. 5, table 2)."""
SHORT_EXPONENT: Final = 512
"""Bits of r: twice the security level and more; the assumption is stated in docs/limitations.md."""
_HEAD: Final = 2
_LEAST: Final = 512


@final
class PublicKey:
    """The modulus n, and h_s, the base whose powers hide a message."""

    def __init__(self, n: int, h_s: int) -> None:
        self.bits = n.bit_length()
        if self.bits % 64 or self.bits < _LEAST or n % 2 == 0 or powers.has_small_factor(n):
            raise ParameterError(
                f"a Paillier modulus of {self.bits} bits cannot be used, or has a small factor"
            )
        if not 1 < h_s < n * n - 1 or math.gcd(h_s, n) != 1:
            raise ParameterError("the base of a Paillier key is not a unit")
        self.n, self.h_s = powers.number(n), powers.number(h_s)
        self.square = self.n * self.n

    @property
    def size(self) -> int:
        """Bytes of n."""
        return self.bits // 8

    @property
    def ciphertext_bytes(self) -> int:
        """Bytes of a ciphertext, twice those of n."""
        return 2 * self.size

    def to_bytes(self) -> bytes:
        """The size, n and h_s, big-endian."""
        return (
            self.bits.to_bytes(_HEAD, "big")
            + int(self.n).to_bytes(self.size, "big")
            + int(self.h_s).to_bytes(2 * self.size, "big")
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> PublicKey:
        """Read a key of one of `SIZES`. Raises `ParameterError`."""
        return _read_public(raw, SIZES)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the key, 32 bytes."""
        return hashlib.sha256(labels.bind(labels.PAILLIER_KEY, self.to_bytes())).digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and (self.n, self.h_s) == (other.n, other.h_s)

    def __hash__(self) -> int:
        return hash((int(self.n), int(self.h_s)))

    def __repr__(self) -> str:
        return f"PublicKey({self.bits} bits, {self.fingerprint.hex()[:16]}...)"


@final
class PrivateKey:
    """The factors. It holds its public key; only `to_bytes` gives the secret out.

    `orders` are those of h_s modulo p^2 and q^2 where it was made to lie in a small subgroup (`subgroup.generate`).
    """

    def __init__(self, p: int, q: int, h_s: int, orders: tuple[int, int] | None = None) -> None:
        if (
            p == q
            or p % 4 != 3
            or q % 4 != 3
            or math.gcd(p - 1, q - 1) != 2
            or p.bit_length() != q.bit_length()
        ):
            raise ParameterError("these are not the factors of a Paillier key")
        self.p, self.q = powers.number(p), powers.number(q)
        self.public = PublicKey(p * q, h_s)
        self.orders = orders or (p - 1, q - 1)
        for order, prime in zip(self.orders, (p, q), strict=True):
            if order < 3 or (prime - 1) % order or powers.power(h_s, order, prime * prime) != 1:
                raise ParameterError("the base of a Paillier key does not have the order that the key says")

    @property
    def small(self) -> bool:
        """Whether the base lies in a small subgroup."""
        return self.orders != (int(self.p) - 1, int(self.q) - 1)

    @property
    def order(self) -> int:
        """phi(n)."""
        return int((self.p - 1) * (self.q - 1))

    def halves(self) -> tuple[Half, Half]:
        """What decrypts mod p and mod q."""
        return self._p_half, self._q_half

    @cached_property
    def _p_half(self) -> Half:
        return Half(self.p, self.public.n, self.orders[0])

    @cached_property
    def _q_half(self) -> Half:
        return Half(self.q, self.public.n, self.orders[1])

    @cached_property
    def _joint(self) -> Any:
        return powers.inverse(self.p, self.q)

    def join(self, mod_p: Any, mod_q: Any) -> Any:
        """The number below n with these remainders."""
        return mod_p + (mod_q - mod_p) * self._joint % self.q * self.p

    def to_bytes(self) -> Secret:
        """The size, factors, orders and h_s, for a file that only its owner reads."""
        half = self.public.size // 2
        parts = [int(value).to_bytes(half, "big") for value in (self.p, self.q, *self.orders)]
        h_s = int(self.public.h_s).to_bytes(2 * self.public.size, "big")
        return Secret(b"".join([self.public.bits.to_bytes(_HEAD, "big"), *parts, h_s]))

    @classmethod
    def from_bytes(cls, secret: Secret) -> PrivateKey:
        """Read what `to_bytes` gave. Raises `ParameterError`."""
        raw = secret.reveal()
        size = int.from_bytes(raw[:_HEAD], "big") // 8
        if size * 8 not in SIZES or len(raw) != _HEAD + 4 * size:
            raise ParameterError("these bytes are no Paillier key: restore it from a backup")
        half = size // 2
        p, q, first, second = (
            int.from_bytes(raw[at : at + half], "big") for at in range(_HEAD, _HEAD + 4 * half, half)
        )
        return cls(p, q, int.from_bytes(raw[_HEAD + 4 * half :], "big"), (first, second))

    def __repr__(self) -> str:
        return f"PrivateKey({self.public.bits} bits, redacted)"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


class Half:
    """Decryption modulo one prime: m mod p = L(c^e mod p^2) / L((1 + n)^e mod p^2), L(x) = (x - 1) / p.

    e is the order of the base modulo p^2: p - 1, or that of its subgroup.
    """

    def __init__(self, prime: Any, n: Any, exponent: int) -> None:
        self.prime, self.square = prime, prime * prime
        self._exponent = powers.number(exponent)
        lifted = (powers.power(1 + n, self._exponent, self.square) - 1) // prime
        self._factor = powers.inverse(lifted, prime)

    def decrypt(self, ciphertexts: list[Any]) -> list[Any]:
        """Messages mod the prime; with gmpy2 the other half runs beside.

        Raises `DecryptionFailed` for what was not made with this key: under a small subgroup its decryption would
        tell of the key.
        """
        square, prime = self.square, self.prime
        raised = powers.powers([c % square for c in ciphertexts], self._exponent, square)
        if any(one % prime != 1 for one in raised):
            raise DecryptionFailed("a ciphertext was not made with this key")
        return [(one - 1) // prime * self._factor % prime for one in raised]

    def __repr__(self) -> str:
        return "Half(redacted)"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


def generate(bits: int = 3072, *, rng: Rng) -> PrivateKey:
    """Make a key of 2048, 3072 or 4096 bits. Raises `ParameterError` for others."""
    if bits not in SIZES:
        raise ParameterError(f"a Paillier key has {', '.join(map(str, SIZES))} bits, not {bits}")
    return _generate(bits, rng)


def insecure_small_key(bits: int, *, rng: Rng) -> PrivateKey:
    """A key that protects nothing, for tests."""
    return _generate(bits, rng)


def _generate(bits: int, rng: Rng) -> PrivateKey:
    while True:
        p, q = prime(bits // 2, rng=rng), prime(bits // 2, rng=rng)
        if fit(p, q):
            return with_factors(p, q, rng=rng)


def fit(p: int, q: int) -> bool:
    """Whether two primes, both 3 mod 4, can be the factors of a key."""
    return p != q and math.gcd(p - 1, q - 1) == 2 and math.gcd(p * q, (p - 1) * (q - 1)) == 1


def with_factors(p: int, q: int, *, rng: Rng) -> PrivateKey:
    """A key with these factors and a fresh base. Raises `ParameterError`."""
    n = p * q
    while True:
        x = powers.below(n, rng=rng)
        if math.gcd(x, n) == 1 and x > 1:
            break
    return PrivateKey(p, q, int(powers.power(n - x * x % n, n, n * n)))


def prime(bits: int, *, rng: Rng) -> int:
    """A random prime, 3 mod 4, with its two top bits set, so that products of two have all their bits."""
    while True:
        value = int.from_bytes(rng.bytes(bits // 8), "big") | 3 << bits - 2 | 3
        if not powers.has_small_factor(value) and powers.is_prime(value, rng=rng):
            return value


def _read_public(raw: bytes, sizes: tuple[int, ...]) -> PublicKey:
    bits = int.from_bytes(raw[:_HEAD], "big")
    size = bits // 8
    if bits not in sizes or len(raw) != _HEAD + 3 * size:
        raise ParameterError("these bytes are no Paillier key of 2048, 3072 or 4096 bits")
    n = int.from_bytes(raw[_HEAD : _HEAD + size], "big")
    if n.bit_length() != bits:
        raise ParameterError(f"a Paillier key says {bits} bits and has {n.bit_length()}")
    return PublicKey(n, int.from_bytes(raw[_HEAD + size :], "big"))
