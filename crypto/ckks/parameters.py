"""Named CKKS parameter sets, and how words of 16 to 40 bits lie in the slots of one.

Slots. A ciphertext of degree N has N/2 complex slots: N words, real and imaginary parts, of which the last
counts summands. In every second slot the imaginary part is negated: SEAL orders slots by powers of 3, so that
X^(N/2) reads i, -i, i, ... and with the signs turned the same number in all N places is the polynomial
number (1 + X^(N/2)), with whole coefficients.

Scale. A limb whose sums stay below 2^c is encoded as (limb - 2^(c-1)) 2^(58-c). By Cauchy's inequality no
coefficient then exceeds 2^57.5, whatever the values: SEAL encodes up to 2^58, the modulus wraps at 2^59. That
the sum of P summands has P times the offset does not matter, because P - 1 of them are added back mod q before
decoding. Words of 40 bits travel as two limbs of 20, since 2^18 would leave too little room above the noise.

Noise. Nearly all of it is made when SEAL divides by the second modulus: rounding errors, uniform in
[-1/2, 1/2], in both parts of the ciphertext, the second times the secret s. In a slot each part of it has
the variance N (1 + |s(z)|^2) / 24, where |s(z)|^2 is 2 N / 3 on average and about exponential over slots: the
tail is e^(-sqrt(2) x) at x standard deviations, not Gaussian, and a tolerance of 32 deviations fails honest
sums with 2^-65 per value. float64 adds at most 512 units per summand (2^-53 of coefficients whose squares sum
to 2^115 at most).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from silo.crypto.errors import ParameterError
from silo.crypto.parameters import Parameters
from silo.crypto.ring import Ring

MAX_SUMMANDS: Final = 1024
_ENCODED_BITS: Final = 58
_SPLIT_BITS: Final = 40
_LIMB_BITS: Final = 20
_DEVIATIONS: Final = 32
_FLOAT_UNITS: Final = 512


@dataclass(frozen=True, slots=True)
class CkksSet:
    """A degree, the modulus of ciphertexts, the modulus that only keys have, and a square root of -1.

    `root` is X^(N/2) at the first half of the points where SEAL evaluates; it is -root at the second half.
    """

    degree: int
    modulus: int
    key_modulus: int
    root: int
    parameters: Parameters

    @property
    def values(self) -> int:
        """Limbs per ciphertext: all places but the one that counts summands."""
        return self.degree - 1

    @property
    def ciphertext_bytes(self) -> int:
        """Bytes of one ciphertext: two polynomials of `degree` 8-byte words."""
        return 16 * self.degree

    @property
    def public_key_bytes(self) -> int:
        """Bytes of a public key: two polynomials under both moduli."""
        return 32 * self.degree

    @property
    def secret_key_bytes(self) -> int:
        """Bytes of a secret key: one polynomial under both moduli."""
        return 16 * self.degree

    @property
    def slot_deviation(self) -> float:
        """Standard deviation of the noise of one ciphertext in one place, in units of 1/scale."""
        return math.sqrt(self.degree / 24 * (1 + 2 * self.degree / 3))


CKKS_4096: Final = CkksSet(
    degree=4096,
    modulus=1152921504606830593,
    key_modulus=562949953216513,
    root=499763791018071538,
    parameters=Parameters(
        "CKKS, N = 4096, moduli of 60 and 49 bits, ternary secret, sigma 3.2",
        128,
        "Homomorphic Encryption Standard (2018), table 1: log q <= 109 at N = 4096 for 128 bits",
    ),
)


@dataclass(frozen=True, slots=True)
class Layout:
    """How `count` words of `bits` lie in ciphertexts. Raises `ParameterError` for a count or bits of no use."""

    count: int
    bits: int
    chosen: CkksSet = CKKS_4096

    def __post_init__(self) -> None:
        Ring.of(self.bits)
        if self.count < 0:
            raise ParameterError(f"a vector cannot have {self.count} words: give its length")

    @property
    def limbs(self) -> int:
        """Limbs per word."""
        return 2 if self.bits == _SPLIT_BITS else 1

    @property
    def limb_bits(self) -> int:
        """Bits of one limb of one word."""
        return self.bits // self.limbs

    @property
    def sum_bits(self) -> int:
        """Bits that the sum of a limb stays within: split words have no headroom of their own."""
        return self.bits if self.limbs == 1 else _LIMB_BITS + (MAX_SUMMANDS - 1).bit_length()

    @property
    def scale(self) -> int:
        """Units of the plaintext per step."""
        return 1 << (_ENCODED_BITS - self.sum_bits)

    @property
    def offset(self) -> int:
        """What is taken off every limb, so that sums lie around zero."""
        return 1 << (self.sum_bits - 1)

    @property
    def ciphertexts(self) -> int:
        """Ciphertexts of the whole vector."""
        return -(-self.count * self.limbs // self.chosen.values)

    @property
    def payload_bytes(self) -> int:
        """Bytes of the whole vector."""
        return self.ciphertexts * self.chosen.ciphertext_bytes

    def tolerance(self, summands: int) -> float:
        """How far from a whole number, in steps, an honest sum may decrypt: 32 standard deviations.

        Raises `ParameterError` for summands outside 1 to 1024.
        """
        require_summands(summands)
        noise = _DEVIATIONS * self.chosen.slot_deviation * math.sqrt(summands)
        return (noise + _FLOAT_UNITS * summands) / self.scale


def require_summands(summands: int) -> None:
    """Refuse a number of summands outside 1 to 1024. Raises `ParameterError`."""
    if not 1 <= summands <= MAX_SUMMANDS:
        raise ParameterError(f"a sum under CKKS has 1 to {MAX_SUMMANDS} summands, not {summands}")
