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

    def check_rows(self, shape: Shape, counts: npt.NDArray[np.int64], least: int) -> None:
        """Raise `ParameterError` if this says where fewer than `least` rows of a category, or without a value, go.

        `counts` are the rows at each code of its column; `splits` says why, and divides nothing so.
        """
        bins, left = shape.bins[self.column], self.table
        missing, few = int(counts[bins]), False
        if shape.categorical[self.column]:
            right = int(counts.sum()) - int(counts[left[: bins + 1]].sum())
            few = bool((counts[:bins][left[:bins]] < least).any()) or right < least
        elif not counts[:bins][~left[:bins]].sum():
            few = missing < least
        if few or (left[bins] and 0 < missing < least):
            raise ParameterError(
                f"a split says where fewer than {least} rows of a category or without a value go"
            )

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
