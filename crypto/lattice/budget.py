"""The room of a product: plaintext modulus, rows of a ciphertext, and the flood that hides the columns in its noise.

With t = 2^plain_bits a reply's phase is Q y / t + D + flood for the masked product y. The owner knows its secret, its
errors e and roundings r, and so sees D + flood, where

    D = <e, x> + <r, x> + rounding of the mask + (e_key u + s e'')_0

tells of the column x and of the randomness u, e''. The flood is uniform in [-F, F], so a reply's noise is within
|D| / 2F in statistical distance of one that does not depend on x.

- <e, x>: each e is the sum of 48 independent halves with random signs, so sub-Gaussian with variance 12, and by
  Hoeffding |<e, x>| <= 33 2^column_bits sqrt(rows) but for 2^-64; x is fixed before e is drawn. At worst 24 instead of
  33 / sqrt(rows).
- <r, x>: at most 2^column_bits rows / 2, for the worst values. The largest part.
- e_key u + s e'': at most 2 * 4096 * 24 = 2^17.6, with certainty.

F is the largest that fits, and follows from the terms, never from the columns: Q / 2t less the worst case of all other
parts, so that an honest reply always decrypts. For values of 8 bits and columns of 11:

    rows         t      rows of a ciphertext   Q / 2t, about F   D        distance of a column and ciphertext
    4,096        2^32   4,096                  2^70.9            2^23.1   2^-48.9
    32,768       2^35   32,768                 2^67.9            2^25.5   2^-43.5
    131,072      2^37   32,768                 2^65.9            2^25.5   2^-41.5
    1,048,576    2^40   8,192                  2^62.9            2^23.9   2^-40.1

Distances of all ciphertexts of all passes add up: 1,000 passes over 32,768 rows and 10 columns come to 2^-30.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from silo.crypto.errors import ParameterError
from silo.crypto.lattice.parameters import DEGREE, ERROR_BOUND, MODULUS
from silo.crypto.products import Terms

HIDING_BITS: Final = 40
"""The flood is at least so much wider than what it hides."""
CHUNKS: Final = (1 << 15, 1 << 14, 1 << 13, 1 << 12)
"""Rows that share one ciphertext of the reply: the most that fits; fewer have less noise and take more bytes."""
_TAIL: Final = 33
"""sqrt(12 * 2 ln 2^65), rounded up: beyond it a sub-Gaussian sum of variance 12 falls with at most 2^-64."""
_FRESH: Final = 2 * DEGREE * ERROR_BOUND + 2


@dataclass(frozen=True, slots=True)
class Budget:
    """What a product may use. `flood` is F; `noise` bounds |D| but for 2^-64, `worst` with certainty."""

    plain_bits: int
    chunk: int
    flood: int
    noise: int
    worst: int

    @classmethod
    def of(cls, terms: Terms) -> Budget:
        """The budget with the fewest ciphertexts. Raises `ParameterError` for terms that do not fit."""
        for chunk in CHUNKS:
            found = cls._of(terms, chunk)
            if found.noise << HIDING_BITS <= 2 * found.flood:
                return found
        raise ParameterError(
            f"lattice products of {terms.rows} rows, {terms.value_bits} and {terms.column_bits} bits need a plaintext "
            f"of {found.plain_bits} bits, which leaves a flood of "
            f"{(2 * found.flood).bit_length()} bits for noise of {found.noise.bit_length()} bits, and it takes "
            f"{HIDING_BITS} bits more than the noise: "
            "use fewer bits or rows"
        )

    @classmethod
    def _of(cls, terms: Terms, chunk: int) -> Budget:
        rows, plain_bits = min(terms.rows, chunk), (2 * terms.bound).bit_length()
        size = rows << terms.column_bits
        tail = _TAIL * (math.isqrt(rows - 1) + 1) << terms.column_bits
        noise, worst = tail + size // 2 + _FRESH, ERROR_BOUND * size + size // 2 + _FRESH
        flood = max(0, (MODULUS - 1) // (2 << plain_bits) - worst)
        return cls(plain_bits, chunk, flood, min(noise, worst), worst)

    @property
    def modulus(self) -> int:
        """t, the modulus of masked products."""
        return 1 << self.plain_bits

    @property
    def distance_bits(self) -> float:
        """The noise of one ciphertext of a reply tells of its column at most 2^-bits of statistical distance."""
        return math.log2(2 * self.flood) - math.log2(self.noise)
