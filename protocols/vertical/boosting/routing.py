"""Splits as tables of codes, and who goes left as bits: first row first, padding bits zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.protocols.vertical.boosting.columns import Columns, Shape
from silo.protocols.vertical.boosting.sampling import Rows

Bits = npt.NDArray[np.bool_]
CODES: Final = 256


@dataclass(frozen=True, slots=True, repr=False)
class Split:
    """A column of the owner's, and whether a row goes left, for each code; the one above the bins means missing."""

    column: int
    left: bytes
    """256 bits."""

    @classmethod
    def of(cls, column: int, left: Bits) -> Split:
        table = np.zeros(CODES, bool)
        table[: len(left)] = left
        return cls(column, pack(table))

    @property
    def table(self) -> Bits:
        return unpack(self.left, CODES)

    def check(self, shape: Shape) -> None:
        """Raise `ParameterError` unless these columns can be split so: both sides have bins, in order if any."""
        if not 0 <= self.column < len(shape):
            raise ParameterError(f"a split of column {self.column}, and there are {len(shape)}")
        bins, table = shape.bins[self.column], self.table
        inside = table[: bins + 1]
        if table[bins + 1 :].any() or inside.all() or not inside.any():
            raise ParameterError(f"a split does not divide the {bins} bins of its column")
        if not shape.categorical[self.column] and (np.diff(table[:bins].astype(np.int8)) > 0).any():
            raise ParameterError("a split of an ordered column takes bins that do not follow each other")

    def goes_left(self, columns: Columns, rows: Rows) -> Bits:
        found: Bits = self.table[columns.codes[self.column][rows]]
        return found

    def __repr__(self) -> str:
        return "Split(<withheld>)"


def pack(bits: Bits) -> bytes:
    return np.packbits(bits).tobytes()


def unpack(raw: bytes | memoryview, count: int) -> Bits:
    """The first `count` bits. Raises `ParameterError` for another length and for padding that is not zero."""
    if len(raw) != -(-count // 8):
        raise ParameterError(f"{len(raw)} bytes do not hold {count} bits")
    bits = np.unpackbits(np.frombuffer(raw, np.uint8)).view(np.bool_)
    if bits[count:].any():
        raise ParameterError("padding bits are not zero")
    return bits[:count]
