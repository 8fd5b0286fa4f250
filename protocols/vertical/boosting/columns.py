"""One member's columns as codes: what training and scoring see of a table.

A code of a column with b bins is 0 … b - 1, and b where the value is missing. Bins of an ordered column follow each
other; those of a categorical one have no order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.protocols.vertical.boosting.parameters import MOST_BINS

Codes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Shape:
    """What the label party is told of each column: its bins, and whether they are ordered."""

    bins: tuple[int, ...]
    categorical: tuple[bool, ...]

    def __post_init__(self) -> None:
        if len(self.bins) != len(self.categorical) or not all(1 <= one <= MOST_BINS for one in self.bins):
            raise ParameterError(f"a column has 1 to {MOST_BINS} bins")

    def __len__(self) -> int:
        return len(self.bins)

    @property
    def widths(self) -> tuple[int, ...]:
        """Codes of each column: its bins and one for missing values."""
        return tuple(one + 1 for one in self.bins)

    @property
    def width(self) -> int:
        return sum(self.widths)

    def joined(self, others: Sequence[Shape]) -> Shape:
        """These columns, and behind them those of the others."""
        shapes = (self, *others)
        return Shape(
            tuple(one for shape in shapes for one in shape.bins),
            tuple(one for shape in shapes for one in shape.categorical),
        )


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Columns:
    """The codes, (columns, rows), and their shape. Raises `ParameterError`."""

    codes: Codes
    shape: Shape

    def __post_init__(self) -> None:
        codes = self.codes
        if codes.ndim != 2 or codes.dtype != np.uint8 or len(codes) != len(self.shape):
            raise ParameterError(f"codes are bytes of shape (columns, rows), not {codes.dtype} {codes.shape}")
        for place, (column, bins) in enumerate(zip(codes, self.shape.bins, strict=True)):
            if column.size and int(column.max()) > bins:
                raise ParameterError(f"column {place} has {bins} bins, and a code is above that")

    @property
    def rows(self) -> int:
        return int(self.codes.shape[1])

    def __repr__(self) -> str:
        return f"Columns(<{len(self.codes)} columns, {self.rows} rows>)"
