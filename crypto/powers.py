"""Large numbers: gmpy2 where it is installed, Python's own otherwise, with the same results."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

from silo.crypto.rng import Rng

try:
    import gmpy2 as _gmpy2
except ModuleNotFoundError:  # pragma: no cover - tests force this path
    _gmpy2 = None

gmpy2: Any = _gmpy2
_ROUNDS: Final = 40
_SMALL_LIMIT: Final = 1 << 13


def number(value: int) -> Any:
    """The value in the form that the arithmetic here is fastest with."""
    return gmpy2.mpz(value) if gmpy2 else value


def power(base: Any, exponent: Any, modulus: Any) -> Any:
    """base^exponent mod modulus, for exponents that are public."""
    return gmpy2.powmod(base, exponent, modulus) if gmpy2 else pow(int(base), int(exponent), int(modulus))


def powers(bases: Sequence[Any], exponent: Any, modulus: Any) -> list[Any]:
    """base^exponent mod modulus for each base; with gmpy2 other threads run meanwhile."""
    if gmpy2:
        return list(gmpy2.powmod_base_list(list(bases), exponent, modulus))
    return [pow(int(base), int(exponent), int(modulus)) for base in bases]


def inverse(value: Any, modulus: Any) -> Any:
    """1 / value mod modulus. Raises `ValueError` (or `ZeroDivisionError`) where there is none."""
    return gmpy2.invert(value, modulus) if gmpy2 else pow(int(value), -1, int(modulus))


def gcd(one: Any, other: Any) -> int:
    """The greatest common divisor."""
    return int(gmpy2.gcd(one, other)) if gmpy2 else math.gcd(int(one), int(other))


def primes_below(limit: int) -> list[int]:
    """All primes below `limit`, by a sieve."""
    flags = bytearray([1]) * limit
    flags[:2] = b"\0\0"
    for candidate in range(2, math.isqrt(limit) + 1):
        if flags[candidate]:
            flags[candidate * candidate :: candidate] = bytes(
                len(range(candidate * candidate, limit, candidate))
            )
    return [value for value, flag in enumerate(flags) if flag]


SMALL_PRIMES: Final = tuple(primes_below(_SMALL_LIMIT))
_SMALL_PRODUCT: Final = math.prod(SMALL_PRIMES)


def has_small_factor(value: int) -> bool:
    """Whether a prime below 2^13 divides the value."""
    return math.gcd(int(value), _SMALL_PRODUCT) != 1


def is_prime(value: int, *, rng: Rng) -> bool:
    """Fermat's test to base 2, then Miller and Rabin's with 40 random bases: a composite passes with at most 4^-40."""
    if value in SMALL_PRIMES:
        return True
    if value < 2 or has_small_factor(value) or power(2, value - 1, value) != 1:
        return False
    odd, twos = value - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for _ in range(_ROUNDS):
        base = 2 + below(value - 3, rng=rng)
        found = int(power(base, odd, value))
        if found in (1, value - 1):
            continue
        for _ in range(twos - 1):
            found = found * found % value
            if found == value - 1:
                break
        else:
            return False
    return True


def below(limit: int, *, rng: Rng) -> int:
    """A uniform number from 0 to limit - 1, up to 2^-128."""
    size = (limit.bit_length() + 7) // 8 + 16
    return int.from_bytes(rng.bytes(size), "big") % limit


def product(values: Iterable[Any], modulus: Any) -> Any:
    """The product of all values mod modulus."""
    total = number(1)
    for value in values:
        total = total * value % modulus
    return total
