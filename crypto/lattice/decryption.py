"""Decryption by all parts together: each gives s_i c1 under flooding noise, and the sum of all with c0 is read.

Reading is exact: a residue v_i of v = c0 + sum of parts gives y_i = v_i (Q / p_i)^-1 mod p_i, and t v / Q is the sum
of y_i t / p_i up to a multiple of t. The quotients are taken with 32 bits behind the point; together they are too small
by less than 2^-4. What noise may do is bounded beforehand (`parameters.largest_fraction`); a coefficient that is
further from a whole number is no honest sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import DecryptionFailed, ParameterError
from silo.crypto.lattice import ntt, parameters, residues, sampling
from silo.crypto.lattice.keys import KeyShare
from silo.crypto.lattice.ntt import Factor, P, Words, columns
from silo.crypto.lattice.parameters import DEGREE, MODULUS, PRIMES
from silo.crypto.lattice.vector import ROWS, Sum, polynomials
from silo.crypto.prg import Keystream
from silo.crypto.ring import Ring
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret

_POINT: Final = 32
_HALF: Final = np.uint64(1 << _POINT - 1)
_FRACTION: Final = np.uint64((1 << _POINT) - 1)
_CENTRE: Final = np.uint64(len(PRIMES) << 25)
"""Half of what the quotients can be too small by: 4 2^26 units of 2^-32."""
_CRT: Final = Factor(
    columns(np.array([pow(MODULUS // prime, -1, prime) for prime in PRIMES], np.uint64), 1), columns(P, 1)
)


def partial_bytes(count: int) -> int:
    """Bytes of a partial decryption of `count` words."""
    return polynomials(count) * residues.POLYNOMIAL_BYTES


def partial(total: Sum, share: KeyShare, *, rng: Rng) -> memoryview:
    """This part's decryption of a sum. For each part and each sum once."""
    primes = columns(P, 1)
    out = np.empty((total.rows, residues.POLYNOMIAL_BYTES), np.uint8)
    stream = Keystream(Secret.random(32, rng=rng))
    for at in range(0, total.rows, ROWS):
        upto = min(at + ROWS, total.rows)
        found = ntt.inverse(ntt.below(ntt.times(total.part(1, at, upto), share.secret, primes), primes))
        found += sampling.flood(upto - at, stream)
        residues.pack(ntt.below(found, primes), out[at:upto])
    return out.reshape(-1).data


def fuse(total: Sum, partials: Sequence[Any], bits: int, *, summands: int) -> npt.NDArray[Any]:
    """The words of a sum from the partial decryptions of all parts of its key.

    Raises `ParameterError` for partials that are none, `DecryptionFailed` where a coefficient is further from a whole
    number than honest noise: a part is missing, wrong, or given twice, or a summand was not made with the key.
    """
    if total.summands != summands or total.bits != bits:
        raise ParameterError(f"the sum has {total.summands} summands of {total.bits} bits")
    parameters.require(bits, max(len(partials), summands, 1))
    limit = parameters.largest_fraction(bits, len(partials), summands)
    size, ring = residues.POLYNOMIAL_BYTES, Ring.of(bits)
    for one in partials:
        if len(one) != total.rows * size:
            raise ParameterError(f"a partial decryption has {total.rows * size} bytes, not {len(one)}")
    words = np.empty((total.rows, DEGREE), ring.dtype)
    worst = 0.0
    for at in range(0, total.rows, ROWS):
        upto = min(at + ROWS, total.rows)
        found = ntt.inverse(total.part(0, at, upto))
        for one in partials:
            found += residues.unpack(memoryview(one)[at * size : upto * size], upto - at)
            ntt.below(found, columns(P, 1))
        words[at:upto], apart = _read(found, bits)
        worst = max(worst, apart)
    if worst > limit:
        raise DecryptionFailed(
            f"the parts of the decryption leave {worst:.3f} of a step where honest noise leaves {limit:.3f} at most"
        )
    flat = words.reshape(-1)
    if flat[total.count :].any():
        raise DecryptionFailed("the encrypted sum has values behind its end")
    return flat[: total.count]


def _read(found: Words, bits: int) -> tuple[npt.NDArray[Any], float]:
    """(rows, N) words, and how far the worst coefficient is from a whole number."""
    primes = columns(P, 1)
    y = ntt.below(ntt.times(found, _CRT, primes), primes)
    quotients = columns(np.array([(1 << bits + _POINT) // prime for prime in PRIMES], np.uint64), 1)
    # Beyond 2^64 the sum wraps, which is a multiple of t or beyond the mask.
    fixed = (y * quotients).sum(axis=1, dtype=np.uint64) + _CENTRE + _HALF
    whole = fixed >> np.uint64(_POINT) & np.uint64((1 << bits) - 1)
    apart = np.abs((fixed & _FRACTION).astype(np.int64) - int(_HALF))
    return whole.astype(Ring.of(bits).dtype), float(apart.max()) / 2.0**_POINT if apart.size else 0.0
