"""Uniform, ternary, error and flooding polynomials, from the cryptographic stream."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from silo.crypto.lattice.ntt import P, Words, columns
from silo.crypto.lattice.parameters import DEGREE, ERROR_BOUND, FLOOD_BITS, PRIMES, RESIDUE_BITS
from silo.crypto.prg import Keystream

_HALF: Final = np.uint64((1 << ERROR_BOUND) - 1)
_SHIFT: Final = np.uint64(ERROR_BOUND)
_FLOOD: Final = np.uint64((1 << FLOOD_BITS) - 1)


def uniform(stream: Keystream) -> Words:
    """(1, 4, N) residues, each uniform below its prime: candidates of 26 bits, those beyond the prime left out."""
    found = np.empty((1, len(PRIMES), DEGREE), np.uint64)
    for place, prime in enumerate(PRIMES):
        kept = np.empty(0, np.uint32)
        while len(kept) < DEGREE:
            drawn = np.empty(DEGREE, np.uint32)
            stream.fill(drawn)
            drawn &= np.uint32((1 << RESIDUE_BITS) - 1)
            kept = np.concatenate([kept, drawn[drawn < prime]])
        found[0, place] = kept[:DEGREE]
    return found


def ternary(rows: int, stream: Keystream) -> npt.NDArray[np.int64]:
    """(rows, N) numbers -1, 0 and 1, each as likely: bytes mod 3, without the byte 255."""
    count = rows * DEGREE
    kept = np.empty(0, np.uint8)
    while len(kept) < count:
        drawn = np.empty(count - len(kept) + count // 128 + 64, np.uint8)
        stream.fill(drawn)
        kept = np.concatenate([kept, drawn[drawn < 255]])
    return (kept[:count] % 3).astype(np.int64).reshape(rows, DEGREE) - 1


def errors(rows: int, stream: Keystream) -> npt.NDArray[np.int64]:
    """(rows, N) centred binomial numbers: ones among 24 bits less ones among 24 others."""
    drawn = np.empty((rows, DEGREE), np.uint64)
    stream.fill(drawn)
    plus = np.bitwise_count(drawn & _HALF).astype(np.int64)
    minus = np.bitwise_count(drawn >> _SHIFT & _HALF).astype(np.int64)
    return np.asarray(plus - minus)


def flood(rows: int, stream: Keystream) -> Words:
    """(rows, 4, N) residues of numbers that are uniform in -2^61 to 2^61 - 1."""
    drawn = np.empty((rows, 1, DEGREE), np.uint64)
    stream.fill(drawn)
    drawn &= _FLOOD
    middle = np.array([(1 << FLOOD_BITS - 1) % prime for prime in PRIMES], np.uint64)
    found: Words = drawn % columns(P, 1) + columns(P - middle, 1)
    np.minimum(found, found - columns(P, 1), out=found)
    return found


def residues(small: npt.NDArray[np.int64]) -> Words:
    """(rows, N) small signed numbers as (rows, 4, N) residues."""
    signed = columns(P, 1).astype(np.int64)
    return np.where(small[:, None] < 0, small[:, None] + signed, small[:, None]).astype(np.uint64)
