"""Statistics of the pooled table, through the secure sum: nobody shows a row, a count or a local mean.

Four collectives: how large each column gets (a power of two, so that the fixed point is fine enough), the
mean, how far rows are from it (again a power of two), and the mean square distance. What every member learns:
for each column, how many members need which powers of two; the pooled mean and standard deviation. There is
no noise in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.session import Session

Array = npt.NDArray[np.float64]
_LEAST, _MOST = -64, 64


@dataclass(frozen=True, eq=False)
class Moments:
    """Pooled mean and population standard deviation, one per column.

    A column that varies by no more than the fixed point can tell from its mean counts as constant.
    """

    mean: Array
    std: Array

    def apply(self, rows: Any) -> Array:
        """Subtract the mean and divide by the standard deviation; a constant column becomes zero."""
        spread = np.where(self.std > 0, self.std, 1.0)
        return np.asarray((np.asarray(rows, np.float64) - self.mean) / spread)


def moments(session: Session, rows: Any) -> Moments:
    """The pooled mean and standard deviation of each column; `rows` is (rows, columns), all finite.

    Raises `ParameterError` naming the first cell that is no number.
    """
    table = np.asarray(rows, np.float64)
    if table.ndim != 2:
        raise ParameterError(f"a table has rows and columns, not the shape {table.shape}")
    bad = np.argwhere(~np.isfinite(table))
    if len(bad):
        raise ParameterError(
            f"row {bad[0][0]}, column {bad[0][1]} is {table[tuple(bad[0])]}: "
            "fill or drop it before standardizing"
        )
    count = float(len(table))
    unit = _units(session, table)
    mean = np.asarray(session.mean(_average(table / unit), weight=count, clip=_clip(session))) * unit
    blur = 4 * (session.last.error if session.last else 0.0) * unit
    apart = table - mean
    spread = _units(session, apart)
    square = np.asarray(session.mean(_average((apart / spread) ** 2), weight=count, clip=_clip(session)))
    std = np.sqrt(np.maximum(square, 0.0)) * spread
    return Moments(mean, np.where(std > blur, std, 0.0))


def standardize(session: Session, rows: Any) -> Array:
    """This member's rows with the pooled mean taken off, in units of the pooled standard deviation."""
    return moments(session, rows).apply(rows)


def _units(session: Session, table: Array) -> Array:
    largest = np.abs(table).max(axis=0, initial=0.0)
    if (largest > np.ldexp(1.0, _MOST)).any():
        raise ParameterError(f"a column holds values beyond 2^{_MOST}: scale it before standardizing")
    _, exponents = np.frexp(largest)
    exponents = np.clip(exponents, _LEAST, _MOST)
    asked = np.zeros((table.shape[1], _MOST - _LEAST + 1), np.int64)
    asked[np.arange(table.shape[1]), exponents - _LEAST] = 1
    counted = np.asarray(session.sum(asked))
    top = _MOST - np.argmax(counted[:, ::-1] > 0, axis=1)
    return np.asarray(np.ldexp(1.0, top) / _clip(session))


def _clip(session: Session) -> float:
    return min(1.0, session.charter.sum.clip)


def _average(table: Array) -> Array:
    if len(table) == 0:
        return np.zeros(table.shape[1])
    return np.asarray(table.mean(axis=0))
