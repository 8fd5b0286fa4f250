"""Products of encrypted numbers with small public or own integers: matrices, and histograms for trees.

A ciphertext to the power x encrypts x times its message. Powers are not taken one by one: digits of all exponents of a
column are sorted into buckets (Pippenger's method), so that a cell costs some two multiplications. What comes out has
the randomness of what went in: re-randomise it (`vector.rerandomise`) before it goes to who knows the ciphertexts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto import powers
from silo.crypto.errors import ParameterError
from silo.crypto.paillier.keys import PublicKey

MAX_BITS: Final = 32
_FEW: Final = 256


def matrix(ciphertexts: Sequence[Any], table: npt.NDArray[Any], public: PublicKey) -> list[Any]:
    """Encrypt table^T m from encryptions of m: one ciphertext a column of `table` (rows, columns), signed integers.

    Messages are read modulo n, so negative sums lie just below it. Raises `ParameterError`.
    """
    if table.ndim != 2 or table.dtype.kind not in "iu" or len(table) != len(ciphertexts):
        raise ParameterError(f"{len(ciphertexts)} ciphertexts take a table of as many rows of whole numbers")
    if table.size and max(int(table.max()), -int(table.min())) >= 1 << MAX_BITS:
        raise ParameterError(f"the numbers of a product have at most {MAX_BITS} bits")
    values = table.astype(np.int64)
    window = 8 if len(ciphertexts) >= _FEW else 4
    digits = _digits(values, window)
    return [
        _column(ciphertexts, digits[:, :, place], window, public.square) for place in range(values.shape[1])
    ]


def _digits(values: npt.NDArray[np.int64], window: int) -> npt.NDArray[np.int64]:
    """Signed digits (windows, rows, columns), each from -2^(w-1) to 2^(w-1) - 1."""
    base, half = 1 << window, 1 << window - 1
    found: list[npt.NDArray[np.int64]] = []
    rest = values.copy()
    while rest.any() or not found:
        digit = (rest + half) % base - half
        found.append(digit)
        rest = (rest - digit) // base
    return np.stack(found)


def _column(ciphertexts: Sequence[Any], digits: npt.NDArray[np.int64], window: int, square: Any) -> Any:
    """The product of c_i^(x_i); positive and negative digits are kept apart, and inverted once."""
    above, under = powers.number(1), powers.number(1)
    for row in digits[::-1]:
        for _ in range(window):
            above, under = above * above % square, under * under % square
        plus: list[Any] = [None] * ((1 << window - 1) + 1)
        minus: list[Any] = [None] * ((1 << window - 1) + 1)
        for digit, ciphertext in zip(row.tolist(), ciphertexts, strict=True):
            if digit > 0:
                old = plus[digit]
                plus[digit] = ciphertext if old is None else old * ciphertext % square
            elif digit:
                old = minus[-digit]
                minus[-digit] = ciphertext if old is None else old * ciphertext % square
        above, under = above * _weighed(plus, square) % square, under * _weighed(minus, square) % square
    try:
        return above * powers.inverse(under, square) % square
    except (ValueError, ZeroDivisionError):
        raise ParameterError("a ciphertext of the product shares a factor with n: it is none") from None


def _weighed(buckets: list[Any], square: Any) -> Any:
    """The product of bucket_d^d, from the highest down: each bucket is multiplied into as many partial products."""
    running = total = powers.number(1)
    begun = False
    for bucket in reversed(buckets[1:]):
        if bucket is not None:
            running, begun = running * bucket % square, True
        if begun:
            total = total * running % square
    return total


def histogram(
    ciphertexts: Sequence[Any], bins: npt.NDArray[Any], counts: Sequence[int], public: PublicKey
) -> list[list[Any]]:
    """For each feature the encrypted sum in each of its bins; `bins` (rows, features) says where a row falls.

    With gradient and hessian packed into one message (`pairs`) one addition serves both. Empty bins encrypt 0 as 1.
    Raises `ParameterError`.
    """
    if bins.ndim != 2 or bins.dtype.kind not in "iu" or bins.shape != (len(ciphertexts), len(counts)):
        raise ParameterError(f"{len(ciphertexts)} ciphertexts and {len(counts)} features take as many bins")
    square, found = public.square, []
    for feature, count in enumerate(counts):
        places = bins[:, feature]
        if len(places) and not 0 <= int(places.min()) <= int(places.max()) < count:
            raise ParameterError(f"feature {feature} has bins from 0 to {count - 1}, and a row in another")
        sums: list[Any] = [powers.number(1)] * count
        for place, ciphertext in zip(places.tolist(), ciphertexts, strict=True):
            sums[place] = sums[place] * ciphertext % square
        found.append(sums)
    return found


def pairs(first: npt.NDArray[Any], second: npt.NDArray[Any], slot: int = 48) -> list[int]:
    """Two numbers in one message, each in a slot of so many bits, of which the upper half is room for sums.

    Raises `ParameterError` for a number that is negative or beyond half a slot.
    """
    for part in (first, second):
        if part.dtype.kind not in "iu" or (
            part.size and not 0 <= int(part.min()) <= int(part.max()) < 1 << slot // 2
        ):
            raise ParameterError(f"a packed number has from 0 to {slot // 2} bits")
    return [int(one) | int(other) << slot for one, other in zip(first.tolist(), second.tolist(), strict=True)]


def apart(message: int, slot: int = 48) -> tuple[int, int]:
    """The two sums of a message of `pairs`."""
    return message & (1 << slot) - 1, message >> slot
