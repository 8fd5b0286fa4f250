"""One parameter set, its security, and the room that noise has in it."""

from __future__ import annotations

import math
from typing import Final

from silo.crypto.errors import ParameterError
from silo.crypto.parameters import Parameters

DEGREE: Final = 4096
PRIMES: Final = (67084289, 67043329, 66994177, 66969601)
"""The largest primes below 2^26 that are 1 mod 8192, so that 8192th roots of 1 exist."""
MODULUS: Final = math.prod(PRIMES)
RESIDUE_BITS: Final = 26
RLWE_4096: Final = Parameters(
    "RLWE, degree 4096, modulus of 104 bits, ternary secrets, centred binomial errors of deviation 3.46",
    128,
    "Homomorphic Encryption Standard (2018), table 1: at degree 4096 up to 109 bits for 128-bit security",
)
ERROR_BOUND: Final = 24
"""Errors are centred binomial: the ones among 24 bits less those among 24 others. None is ever larger."""
FLOOD_BITS: Final = 62
"""Each partial decryption is hidden under a uniform number of so many bits."""
_SLACK: Final = 1 / 8
"""Part of a step for the truncation of the fixed-point decoding, which is below 2^-4."""
BITS: Final = (16, 24, 32)


def noise_bound(parties: int, summands: int) -> int:
    """The largest noise of a sum of `summands` ciphertexts under a key of `parties` parts, before flooding.

    In the worst case, with certainty: e u + e0 + s e1 with every coefficient at its bound, and the rounding of Q m / t.
    """
    one = 2 * DEGREE * ERROR_BOUND * parties + ERROR_BOUND + 1
    return summands * one


def largest_fraction(bits: int, parties: int, summands: int) -> float:
    """How far from a whole number a fused coefficient of an honest sum can be, in steps."""
    flooded = noise_bound(parties, summands) + (parties << FLOOD_BITS - 1)
    return flooded * 2.0**bits / MODULUS + _SLACK


def most_parties(bits: int) -> int:
    """So many parties, all of them summands, fit the noise at most."""
    if bits not in BITS:
        raise ParameterError(
            f"the lattice has room for words of 16, 24 or 32 bits, not {bits}: with more, the noise that hides a "
            "partial decryption would reach the values"
        )
    low, high = 1, 1 << 20
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if largest_fraction(bits, middle, middle) < 0.5 else (low, middle - 1)
    return min(low, 1024)


def flooding_bits(parties: int, summands: int) -> float:
    """What a partial decryption tells beside the sum: at most 2^-bits of statistical distance per coefficient."""
    return FLOOD_BITS - math.log2(noise_bound(parties, summands))


def require(bits: int, parties: int) -> None:
    """Refuse what does not fit. Raises `ParameterError`."""
    most = most_parties(bits)
    if not 1 <= parties <= most:
        raise ParameterError(
            f"a lattice sum of words of {bits} bits has at most {most} parties, not {parties}"
        )
