"""Coefficients on the wire: four residues of 26 bits, 13 bytes together, little-endian."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.crypto.lattice.ntt import P, Words
from silo.crypto.lattice.parameters import DEGREE, RESIDUE_BITS

COEFFICIENT_BYTES: Final = 13
POLYNOMIAL_BYTES: Final = DEGREE * COEFFICIENT_BYTES
_LAYOUT: Final[Any] = {
    "names": ["low", "middle", "high"],
    "formats": ["<u8", "<u4", "u1"],
    "offsets": [0, 8, 12],
    "itemsize": COEFFICIENT_BYTES,
}
_RECORD: Final[np.dtype[Any]] = np.dtype(_LAYOUT)
_MASK: Final = np.uint64((1 << RESIDUE_BITS) - 1)
_ONE, _TWO, _SPLIT = np.uint64(RESIDUE_BITS), np.uint64(2 * RESIDUE_BITS), np.uint64(64 - 2 * RESIDUE_BITS)
_WORD: Final = np.uint64(32)


def pack(x: Words, out: npt.NDArray[np.uint8]) -> None:
    """Write (rows, 4, N) residues into rows x N x 13 bytes."""
    record = out.reshape(-1).view(_RECORD).reshape(len(x), DEGREE)
    first = x[:, 0] | x[:, 1] << _ONE
    second = x[:, 2] | x[:, 3] << _ONE
    record["low"] = first | second << _TWO
    rest = second >> _SPLIT
    record["middle"] = rest
    record["high"] = rest >> _WORD


def unpack(raw: Any, rows: int) -> Words:
    """Read rows of polynomials. Raises `ParameterError` for another length or a residue beyond its prime."""
    if len(raw) != rows * POLYNOMIAL_BYTES:
        raise ParameterError(f"{rows} polynomials take {rows * POLYNOMIAL_BYTES} bytes, not {len(raw)}")
    record = np.frombuffer(raw, _RECORD).reshape(rows, DEGREE)
    low = record["low"]
    second = (
        low >> _TWO
        | (record["middle"].astype(np.uint64) | record["high"].astype(np.uint64) << _WORD) << _SPLIT
    )
    found = np.empty((rows, 4, DEGREE), np.uint64)
    found[:, 0] = low & _MASK
    found[:, 1] = low >> _ONE & _MASK
    found[:, 2] = second & _MASK
    found[:, 3] = second >> _ONE
    if rows and not (found.max(axis=(0, 2)) < P).all():
        raise ParameterError("a coefficient is beyond its modulus")
    return found
