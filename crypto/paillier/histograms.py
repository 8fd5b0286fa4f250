"""Encrypted histograms (`crypto.histograms`) under Paillier's scheme: the one with the larger plaintext.

The owner sends the proof of `proof` with its key: gcd(n, phi(n)) is 1, so that x^n with a uniform x hides everything of
a returned ciphertext but its message, whatever key and ciphertexts the owner made. The key's own base h_s is not used
for that: the owner chose it, and short exponents hide little from who takes logarithms modulo its factors.
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
from silo.crypto.paillier import proof, vector
from silo.crypto.paillier.keys import SHORT_EXPONENT, PrivateKey, PublicKey
from silo.crypto.prg import Keystream
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret

_SLACK_BYTES = 16


@final
class Owner:
    """Who has the labels and the key. A key that refused an answer opens nothing any more."""

    def __init__(self, private: PrivateKey, terms: Terms) -> None:
        self._private, self._terms = private, terms
        self._each = terms.bins(private.public.bits)
        self._public = private.public.to_bytes() + proof.prove(private)
        self._spoiled = False

    @property
    def public(self) -> bytes:
        """The public key and its proof."""
        return self._public

    @property
    def width(self) -> int:
        """Bytes of a ciphertext."""
        return self._private.public.ciphertext_bytes

    def encrypt(self, values: Values, *, rng: Rng, parts: int = 1, run: Run = map) -> memoryview:
        """Encrypt (n, channels) values, a ciphertext a row. Raises `ParameterError`."""
        n, h_s = int(self._private.public.n), int(self._private.public.h_s)
        plain = [message % n for message in self._terms.packed(values)]
        share = max(1, -(-len(plain) // max(1, parts)))
        jobs = [
            vector.Job(n, h_s, plain[at : at + share], rng.bytes(32), SHORT_EXPONENT)
            for at in range(0, len(plain), share)
        ]
        return memoryview(b"".join(run(vector.encrypt_part, jobs)))

    def decrypt(self, payload: Payload, bins: int) -> Values:
        """The sums, (bins, channels). Raises `ParameterError`, `DecryptionFailed`."""
        if self._spoiled:
            raise DecryptionFailed("this key refused an answer and opens no other: take a new key")
        public = self._private.public
        found = vector.read(payload, public, histograms.ciphertexts(bins, self._each))
        vector.require_units(found, public)
        try:
            mod_p, mod_q = (half.decrypt(found) for half in self._private.halves())
            messages = [int(self._private.join(one, two)) for one, two in zip(mod_p, mod_q, strict=True)]
            return self._terms.all_apart(messages, int(public.n), bins)
        except DecryptionFailed:
            self._spoiled = True
            raise

    def __repr__(self) -> str:
        return f"Owner({self._private!r})"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


@final
class Adder:
    """Who has binned columns; made from the owner's public key and proof. Raises `ParameterError` for a bad one."""

    def __init__(self, public: bytes | PublicKey, terms: Terms) -> None:
        self._public = public if isinstance(public, PublicKey) else _proven(public)
        self._terms = terms
        self._each = terms.bins(self._public.bits)

    @property
    def width(self) -> int:
        """Bytes of a ciphertext."""
        return self._public.ciphertext_bytes

    def check(self, payload: Payload, n: int) -> None:
        """Refuse what is not n ciphertexts: length, range, units. Raises `ParameterError`."""
        if n > self._terms.rows:
            raise ParameterError(f"at most {self._terms.rows} rows were agreed, not {n}")
        vector.require_units(vector.read(payload, self._public, n), self._public)

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
        width, square = self._public.ciphertext_bytes, int(self._public.square)
        made = cells.histogram(rows, width, square, self._terms, node, codes, bins, parts=parts, run=run)
        jobs = [
            Fold(int(self._public.n), piece, self._each, self._terms.bits, rng.bytes(32))
            for piece in cells.pieces(made, width * self._each, parts)
        ]
        return memoryview(b"".join(run(fold_part, jobs)))


@dataclass(frozen=True, slots=True, repr=False)
class Fold:
    """Sums that one process packs together, and the seed of their fresh randomness."""

    n: int
    sums: bytes
    each: int
    shift: int
    seed: bytes


def fold_part(job: Fold) -> bytes:
    """The ciphertexts that are returned: each times x^n for an x of its own."""
    n, width = powers.number(job.n), job.n.bit_length() // 4
    square, size = n * n, job.n.bit_length() // 8 + _SLACK_BYTES
    packed = cells.folded(cells.read(job.sums, width), job.each, job.shift, square)
    drawn = np.empty(len(packed) * size, np.uint8)
    Keystream(Secret(job.seed)).fill(drawn)
    hidden = powers.powers([one % n for one in cells.read(drawn.tobytes(), size)], n, square)
    return cells.write([one * more % square for one, more in zip(packed, hidden, strict=True)], width)


def _proven(raw: bytes) -> PublicKey:
    size = int.from_bytes(raw[:2], "big") // 8
    public = PublicKey.from_bytes(raw[: 2 + 3 * size])
    proof.verify(public, raw[2 + 3 * size :])
    return public
