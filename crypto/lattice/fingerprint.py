"""A linear fingerprint of ciphertexts under a key: that of a sum is the sum of the summands' fingerprints.

Three times, modulo each of the four primes, the residues are multiplied by secret uniform numbers of 26 bits and added.
Whoever lacks the key finds another list of polynomials with the same fingerprint with a chance below (2 / p)^3 < 2^-74
(an almost universal hash: Carter and Wegman 1979), if it has seen no fingerprint in clear.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.crypto.lattice import residues
from silo.crypto.lattice.ntt import P
from silo.crypto.lattice.parameters import DEGREE, PRIMES, RESIDUE_BITS
from silo.crypto.lattice.vector import Payload
from silo.crypto.prg import Keystream
from silo.crypto.secret import Secret

TIMES: Final = 3
BYTES: Final = TIMES * len(PRIMES) * 4

Fingerprint = npt.NDArray[np.uint64]
"""(3, 4) numbers, each below its prime."""


def of(payload: Payload, key: Secret) -> Fingerprint:
    """The fingerprint of a payload of whole polynomials. Raises `ParameterError`."""
    rows = len(payload) // residues.POLYNOMIAL_BYTES
    if rows * residues.POLYNOMIAL_BYTES != len(payload):
        raise ParameterError(f"{len(payload)} bytes are no whole number of polynomials")
    stream, found = Keystream(key), np.zeros((TIMES, len(PRIMES)), np.uint64)
    factors: npt.NDArray[Any] = np.empty((TIMES, DEGREE), np.uint32)
    view = memoryview(payload)
    for row in range(rows):
        at = row * residues.POLYNOMIAL_BYTES
        polynomial = residues.unpack(view[at : at + residues.POLYNOMIAL_BYTES], 1)[0]
        stream.fill(factors)
        factors &= np.uint32((1 << RESIDUE_BITS) - 1)
        # 4096 products of 52 bits stay below 2^64.
        found += factors.astype(np.uint64) @ polynomial.T % P
    return found % P


def added(one: Fingerprint, other: Fingerprint) -> Fingerprint:
    """The fingerprint of the sum of what these two are of."""
    total: Fingerprint = (one + other) % P
    return total


def write(fingerprint: Fingerprint) -> bytes:
    """48 bytes."""
    return fingerprint.astype("<u4").tobytes()


def read(raw: bytes) -> Fingerprint:
    """What `write` gave. Raises `ParameterError`."""
    if len(raw) != BYTES:
        raise ParameterError(f"a fingerprint has {BYTES} bytes, not {len(raw)}")
    found: Fingerprint = np.frombuffer(raw, "<u4").reshape(TIMES, len(PRIMES)).astype(np.uint64)
    if not (found < P).all():
        raise ParameterError("a fingerprint is beyond its modulus")
    return found
