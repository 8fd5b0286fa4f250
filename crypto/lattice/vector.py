"""Vectors of words: encrypt and add. A payload is all first polynomials, then all second ones, transformed.

A ciphertext of m is (b u + e0 + round(Q m / t), a u + e1), with t = 2^bits.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.crypto.lattice import ntt, parameters, residues, sampling
from silo.crypto.lattice.keys import PublicKey
from silo.crypto.lattice.ntt import Factor, P, Words, columns
from silo.crypto.lattice.parameters import DEGREE, MODULUS, PRIMES
from silo.crypto.prg import Keystream
from silo.crypto.ring import Ring
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret

Payload = bytes | bytearray | memoryview
ROWS: Final = 8
"""Polynomials that are worked on at once: 1 MiB, which stays in the cache."""
MAX_SUMMANDS: Final = 1024


def polynomials(count: int) -> int:
    """Polynomials that hold `count` words."""
    return -(-count // DEGREE)


def payload_bytes(count: int, bits: int) -> int:
    """Bytes of an encrypted vector of `count` words. Raises `ParameterError` for bits without room."""
    parameters.most_parties(bits)
    return 2 * polynomials(count) * residues.POLYNOMIAL_BYTES


def encrypt(
    words: npt.NDArray[Any], public: PublicKey, bits: int, *, rng: Rng, threads: int = 1
) -> memoryview:
    """Encrypt words below 2^bits, carried as `Ring.of(bits)` carries them. Raises `ParameterError`."""
    ring, rows = Ring.of(bits), polynomials(words.size)
    parameters.most_parties(bits)
    if words.dtype != ring.dtype or words.ndim != 1:
        raise ParameterError(f"words of {bits} bits are carried in {ring.dtype}, not in {words.dtype}")
    if words.size and int(words.max()) > ring.mask:
        raise ParameterError(f"a word is beyond {bits} bits: reduce the words before")
    padded = np.zeros(rows * DEGREE, np.uint64)
    padded[: words.size] = words
    plain = padded.reshape(rows, DEGREE)
    out = np.empty((2, rows, residues.POLYNOMIAL_BYTES), np.uint8)
    starts = range(0, rows, ROWS)
    seeds = [Secret.random(32, rng=rng) for _ in starts]

    def work(at: int, seed: Secret) -> None:
        upto = min(at + ROWS, rows)
        first, second = _encrypt(plain[at:upto], public, bits, Keystream(seed))
        residues.pack(first, out[0, at:upto])
        residues.pack(second, out[1, at:upto])

    if threads > 1 and len(starts) > 1:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, starts, seeds))
    else:
        for at, seed in zip(starts, seeds, strict=True):
            work(at, seed)
    return out.reshape(-1).data


def _encrypt(plain: Words, public: PublicKey, bits: int, stream: Keystream) -> tuple[Words, Words]:
    primes, rows = columns(P, 1), len(plain)
    hidden = ntt.forward(sampling.residues(sampling.ternary(rows, stream)))
    first = sampling.residues(sampling.errors(rows, stream)) + scaled(plain, bits)
    first = ntt.forward(ntt.below(first, primes))
    second = ntt.forward(sampling.residues(sampling.errors(rows, stream)))
    first += ntt.times(hidden, public.joint, primes)
    second += ntt.times(hidden, public.common, primes)
    return ntt.reduced(first, primes), ntt.reduced(second, primes)


def scaled(plain: Words, bits: int) -> Words:
    """round(Q m / 2^bits) as (rows, 4, N) residues below p, without a fraction anywhere."""
    primes = columns(P, 1)
    high, low = divmod(MODULUS, 1 << bits)
    rounded = (plain * np.uint64(low) + np.uint64(1 << bits - 1)) >> np.uint64(bits)
    factor = Factor(columns(np.array([high % prime for prime in PRIMES], np.uint64), 1), primes)
    found = ntt.times(plain[:, None], factor, primes) + ntt.reduced(
        rounded[:, None] + np.zeros_like(primes), primes
    )
    return ntt.reduced(found, primes)


@final
class Sum:
    """A running sum of payloads, which needs no key. At most 1024 summands."""

    __slots__ = ("_total", "bits", "count", "rows", "summands")

    def __init__(self, count: int, bits: int) -> None:
        parameters.most_parties(bits)
        self.count, self.bits, self.rows = count, bits, polynomials(count)
        self._total: Words = np.zeros((2 * self.rows, 4, DEGREE), np.uint64)
        self.summands = 0

    def check(self, payload: Payload) -> None:
        """Refuse bytes that are no ciphertexts: another length, or a coefficient beyond its modulus."""
        self._read(payload)

    def _read(self, payload: Payload) -> Words:
        found = residues.unpack(payload, 2 * self.rows)
        if self.rows and not found[self.rows :].any(axis=(1, 2)).all():
            raise ParameterError("a ciphertext is transparent, so that anybody could read it: it is refused")
        return found

    def add(self, payload: Payload) -> None:
        """Add a payload. Raises `ParameterError`, and changes nothing, for one that is none."""
        if self.summands >= MAX_SUMMANDS:
            raise ParameterError(f"a sum has at most {MAX_SUMMANDS} summands")
        found = self._read(payload)
        np.add(self._total, found, out=self._total)
        ntt.below(self._total, columns(P, 1))
        self.summands += 1

    def payload(self) -> memoryview:
        """The sum as bytes."""
        out = np.empty((2 * self.rows, residues.POLYNOMIAL_BYTES), np.uint8)
        for at in range(0, 2 * self.rows, ROWS):
            residues.pack(self._total[at : at + ROWS], out[at : at + ROWS])
        return out.reshape(-1).data

    @classmethod
    def read(cls, payload: Payload, count: int, bits: int, *, summands: int) -> Sum:
        """A sum that somebody else added up, of so many summands as is said. Raises `ParameterError`."""
        if not 1 <= summands <= MAX_SUMMANDS:
            raise ParameterError(f"a sum has 1 to {MAX_SUMMANDS} summands, not {summands}")
        found = cls(count, bits)
        found.add(payload)
        found.summands = summands
        return found

    def part(self, place: int, at: int, upto: int) -> Words:
        """Rows of the first (0) or the second (1) polynomials."""
        return self._total[place * self.rows + at : place * self.rows + upto]
