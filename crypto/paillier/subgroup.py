"""Keys whose base lies in a small subgroup: decryption takes a quarter of the time and less. Opt in.

Source: eprint 2015/864. p - 1 and q - 1 each have a prime factor of 256 bits, and h_s has just this order modulo p^2
and q^2.

Assumption beyond Paillier's: that this subgroup cannot be told from the whole group, although n is public. What was not
made with the key must never be decrypted, as the outcome would tell of the order: `keys.Half` refuses it.
"""

from __future__ import annotations

import math
from typing import Final

from silo.crypto import powers
from silo.crypto.errors import ParameterError
from silo.crypto.paillier import keys
from silo.crypto.paillier.keys import SIZES, PrivateKey
from silo.crypto.rng import Rng

ORDER_BITS: Final = 256
"""Twice the security level: a collision in the subgroup takes 2^128 steps."""


def generate(bits: int = 3072, *, rng: Rng) -> PrivateKey:
    """Make a key of 2048, 3072 or 4096 bits with a base of order u v. Raises `ParameterError`."""
    if bits not in SIZES:
        raise ParameterError(f"a Paillier key has {', '.join(map(str, SIZES))} bits, not {bits}")
    return _generate(bits, ORDER_BITS, rng)


def insecure_small_key(bits: int, order_bits: int, *, rng: Rng) -> PrivateKey:
    """A key that protects nothing, for tests."""
    return _generate(bits, order_bits, rng)


def _generate(bits: int, order_bits: int, rng: Rng) -> PrivateKey:
    while True:
        (p, u), (q, v) = _prime(bits // 2, order_bits, rng), _prime(bits // 2, order_bits, rng)
        if u != v and (p - 1) % v and (q - 1) % u and keys.fit(p, q):
            break
    mod_p, mod_q = _element(p, u, rng), _element(q, v, rng)
    square = p * p
    joined = mod_p + (mod_q - mod_p) * pow(square, -1, q * q) % (q * q) * square
    return PrivateKey(p, q, joined, (u, v))


def _prime(bits: int, order_bits: int, rng: Rng) -> tuple[int, int]:
    """A prime p = 3 mod 4 and a prime factor u of p - 1."""
    u = keys.prime(order_bits, rng=rng)
    low, high = 3 << bits - 2, 1 << bits
    while True:
        k = powers.below((high - low) // (4 * u), rng=rng) + low // (4 * u) + 1
        p = 4 * u * k + 2 * u + 1  # p - 1 = 2 u (2 k + 1), and u is odd
        if p % 4 == 3 and p < high and not powers.has_small_factor(p) and powers.is_prime(p, rng=rng):
            return p, u


def _element(p: int, order: int, rng: Rng) -> int:
    """A number of this prime order modulo p^2."""
    square = p * p
    while True:
        x = powers.below(square, rng=rng)
        if math.gcd(x, p) == 1:
            found = int(powers.power(x, (p - 1) // order * p, square))
            if found != 1:
                return found
