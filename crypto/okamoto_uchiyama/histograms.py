"""Encrypted histograms (`crypto.histograms`) under Okamoto and Uchiyama's scheme: the fast one.

Beyond the contract: the owner's key may be bad, and no proof shows that it is not (`keys` says why). Rows are then told
apart at most as far as a returned ciphertext is long, n; with a sound key an owner that lies about its values reads as
much as p is long, about a quarter. Bases come from a hash of the modulus, so that an owner cannot choose them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from silo.crypto import cells, histograms, powers
from silo.crypto.errors import DecryptionFailed, ParameterError, refuse_pickle
from silo.crypto.histograms import Payload, Run, Terms, Values
from silo.crypto.okamoto_uchiyama import encryption, many_powers
from silo.crypto.okamoto_uchiyama.keys import PrivateKey, PublicKey
from silo.crypto.rng import Rng


@final
class Owner:
    """Who has the labels and the key. A key that refused an answer opens nothing any more."""

    def __init__(self, private: PrivateKey, terms: Terms) -> None:
        self._private, self._terms = private, terms
        self._each = terms.bins(private.public.plain_bits)
        self._spoiled = False
        self._powers: many_powers.Table | None = None

    @property
    def public(self) -> bytes:
        """The public key."""
        return self._private.public.to_bytes()

    @property
    def width(self) -> int:
        """Bytes of a ciphertext."""
        return self._private.public.size

    def encrypt(self, values: Values, *, rng: Rng, parts: int = 1, run: Run = map) -> memoryview:
        """Encrypt (n, channels) values, a ciphertext a row. Raises `ParameterError`.

        Other processes get jobs with the factors in them: they must be this party's own.
        """
        plain = self._terms.packed(values)
        share = max(1, -(-len(plain) // max(1, parts)))
        jobs = [
            encryption.job(self._private, plain[at : at + share], rng.bytes(32), rng.bytes(32))
            for at in range(0, len(plain), share)
        ]
        if len(jobs) != 1:
            return memoryview(b"".join(run(encryption.encrypt_part, jobs)))
        # The table is kept here, and goes with the key: nothing that tells p outlives it.
        self._powers = self._powers or encryption.powers_of(self._private)
        return memoryview(encryption.encrypt_part(jobs[0], self._powers))

    def decrypt(self, payload: Payload, bins: int) -> Values:
        """The sums, (bins, channels). Raises `ParameterError`, `DecryptionFailed`."""
        if self._spoiled:
            raise DecryptionFailed("this key refused an answer and opens no other: take a new key")
        found = read(payload, self._private.public, histograms.ciphertexts(bins, self._each))
        messages = encryption.decrypt_all(found, self._private)
        try:
            return self._terms.all_apart(messages, int(self._private.p), bins)
        except DecryptionFailed:
            self._spoiled = True
            raise

    def __repr__(self) -> str:
        return f"Owner({self._private!r})"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


@final
class Adder:
    """Who has binned columns; made from the owner's public key. Raises `ParameterError` for a bad one."""

    def __init__(self, public: bytes | PublicKey, terms: Terms) -> None:
        self._public = public if isinstance(public, PublicKey) else PublicKey.from_bytes(public)
        self._terms = terms
        self._each = terms.bins(self._public.plain_bits)

    @property
    def width(self) -> int:
        """Bytes of a ciphertext."""
        return self._public.size

    def check(self, payload: Payload, n: int) -> None:
        """Refuse what is not n ciphertexts: length, range, units. Raises `ParameterError`."""
        if n > self._terms.rows:
            raise ParameterError(f"at most {self._terms.rows} rows were agreed, not {n}")
        read(payload, self._public, n)

    def sums(
        self,
        rows: Payload,
        node: npt.NDArray[np.int64],
        codes: npt.NDArray[Any],
        bins: Sequence[int],
        *,
        rng: Rng,
        parts: int = 1,
        run: Run = map,
    ) -> memoryview:
        """Add the rows of a node in each bin of each feature. Raises `ParameterError`."""
        width, n, h = self._public.size, int(self._public.n), int(self._public.h)
        made = cells.histogram(rows, width, n, self._terms, node, codes, bins, parts=parts, run=run)
        jobs = [
            Fold(n, h, piece, self._each, self._terms.bits, rng.bytes(32))
            for piece in cells.pieces(made, width * self._each, parts)
        ]
        return memoryview(b"".join(run(fold_part, jobs)))


@dataclass(frozen=True, slots=True, repr=False)
class Fold:
    """Sums that one process packs together, and the seed of their fresh randomness."""

    n: int
    h: int
    sums: bytes
    each: int
    shift: int
    seed: bytes


def fold_part(job: Fold) -> bytes:
    """The ciphertexts that are returned."""
    width = job.n.bit_length() // 8
    packed = cells.folded(cells.read(job.sums, width), job.each, job.shift, powers.number(job.n))
    return cells.write(encryption.randomise(packed, job.n, job.h, job.seed), width)


def read(payload: Payload, public: PublicKey, count: int) -> list[Any]:
    """The ciphertexts of a payload. Raises `ParameterError` for another length, zero, beyond n, or no unit."""
    if len(payload) != count * public.size:
        raise ParameterError(f"{count} ciphertexts take {count * public.size} bytes, not {len(payload)}")
    found = cells.read(payload, public.size)
    if any(not 0 < one < public.n for one in found):
        raise ParameterError("a ciphertext is not between 0 and n")
    if powers.gcd(powers.product(found, public.n), public.n) != 1:
        raise ParameterError("a ciphertext is not a unit: it was not made with this key")
    return found
