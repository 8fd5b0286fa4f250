"""The same scheme with Python's whole numbers and schoolbook products: slow, and obviously right."""

from __future__ import annotations

from collections.abc import Sequence

from silo.crypto.lattice.parameters import MODULUS, PRIMES


def lift(residues: Sequence[int]) -> int:
    """The number below Q with these residues."""
    total = 0
    for residue, prime in zip(residues, PRIMES, strict=True):
        rest = MODULUS // prime
        total += int(residue) * rest * pow(rest, -1, prime)
    return total % MODULUS


def product(a: Sequence[int], b: Sequence[int], modulus: int) -> list[int]:
    """a b mod x^N + 1."""
    found = [0] * len(a)
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            if one and other:
                sign, place = (1, i + j) if i + j < len(a) else (-1, i + j - len(a))
                found[place] += sign * one * other
    return [value % modulus for value in found]


def rounded(message: int, bits: int) -> int:
    """round(Q m / t), halves up."""
    return (2 * MODULUS * message + (1 << bits)) // (2 << bits)


def decoded(value: int, bits: int) -> int:
    """round(t v / Q) mod t."""
    return (2 * value * (1 << bits) + MODULUS) // (2 * MODULUS) % (1 << bits)
