"""Constant coefficients: of products, without transforming back, and as whole numbers modulo Q.

The transform of a polynomial is its values at all N roots of x^N + 1, whose mean is the constant coefficient, whatever
their order. So the constant coefficient of a product of transformed polynomials is an inner product: of 4096 products
of 52 bits, which just fit 64 bits, so that one reduction suffices.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto.lattice.ntt import P, Words
from silo.crypto.lattice.parameters import DEGREE, MODULUS, PRIMES

_MEAN: Final[Words] = np.array([pow(DEGREE, -1, prime) for prime in PRIMES], np.uint64)
_BASE: Final = [MODULUS // prime * pow(MODULUS // prime, -1, prime) for prime in PRIMES]


def of_product(one: Words, other: Words) -> Words:
    """(rows, 4) residues of the constant coefficients; `one` is (rows, 4, N) and `other` (4, N), transformed."""
    found: Words = np.einsum("rpn,pn->rp", one, other) % P * _MEAN % P
    return found


def lifted(residues: npt.NDArray[Any]) -> list[int]:
    """The numbers below Q with these (rows, 4) residues."""
    return [
        sum(residue * base for residue, base in zip(row, _BASE, strict=True)) % MODULUS
        for row in residues.tolist()
    ]


def scaled(message: int, bits: int) -> int:
    """round(Q m / 2^bits)."""
    return MODULUS * message + (1 << bits - 1) >> bits


def decoded(phase: int, bits: int) -> int:
    """round(2^bits v / Q) mod 2^bits."""
    return ((phase << bits + 1) + MODULUS) // (2 * MODULUS) & (1 << bits) - 1
