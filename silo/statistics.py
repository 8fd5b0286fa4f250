"""Statistics of the pooled table, through the secure sum: nobody shows a row, a count or a local mean.

Four collectives: how large each column gets (a power of two, so that the fixed point is fine enough), the
mean, how far rows are from it (again a power of two), and the mean square distance. What every member learns:
for each column, how many members need which powers of two; the pooled mean and standard deviation. There is
no noise in them. A data set with a privacy budget takes public ranges, or ranges and noise, instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.session import Session

if TYPE_CHECKING:
    from silo.privacy.skellam import Skellam as Noise

Array = npt.NDArray[np.float64]
_LEAST, _MOST = -64, 64
_LEAST_VARIANCE = 1e-6
"""Of a column scaled to [-1, 1], where noise could make it negative."""


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


def moments(
    session: Session, rows: Any, *, low: Any = None, high: Any = None, noise: Noise | None = None
) -> Moments:
    """The pooled mean and standard deviation of each column; `rows` is (rows, columns), all finite.

    `low` and `high` are public ranges of the columns. With them alone nothing leaves: the middle and half the
    width of each range stand for mean and deviation. With `noise` too, one noised sum gives both, under
    differential privacy; values beyond a range count as its end. Raises `ParameterError` naming the first cell
    that is no number, `NotCovered` where the privacy policy asks for ranges.
    """
    table = _table(rows)
    if low is None and high is None and noise is None:
        return _exact(session, table)
    middle, half = _ranges(low, high, table.shape[1])
    if noise is None:
        return Moments(middle, half)
    unit = np.clip((table - middle) / half, -1.0, 1.0)
    # One record's contribution is (1, u, u^2), each at most 1 in size.
    total = np.asarray(session.sum(np.hstack([np.ones((len(unit), 1)), unit, unit**2]), noise=noise))
    count, first, second = max(total[0], 1.0), *np.split(total[1:], 2)
    mean = np.clip(first / count, -1.0, 1.0)
    variance = np.clip(second / count - mean**2, _LEAST_VARIANCE, 1.0)
    return Moments(middle + half * mean, half * np.sqrt(variance))


def _exact(session: Session, table: Array) -> Moments:
    count = float(len(table))
    unit = _units(session, table, table, 1)
    mean = _pooled(session, table / unit, count, table, 2) * unit
    blur = 4 * (session.last.error if session.last else 0.0) * unit
    apart = table - mean
    spread = _units(session, apart, table, 3)
    square = _pooled(session, (apart / spread) ** 2, count, table, 4)
    std = np.sqrt(np.maximum(square, 0.0)) * spread
    return Moments(mean, np.where(std > blur, std, 0.0))


def standardize(
    session: Session, rows: Any, *, low: Any = None, high: Any = None, noise: Noise | None = None
) -> Array:
    """This member's rows with the pooled mean taken off, in units of the pooled standard deviation.

    Public ranges and noise as for `moments`.
    """
    return moments(session, rows, low=low, high=high, noise=noise).apply(rows)


def _table(rows: Any) -> Array:
    table = np.asarray(rows, np.float64)
    if table.ndim != 2:
        raise ParameterError(f"a table has rows and columns, not the shape {table.shape}")
    bad = np.argwhere(~np.isfinite(table))
    if len(bad):
        raise ParameterError(
            f"row {bad[0][0]}, column {bad[0][1]} is {table[tuple(bad[0])]}: "
            "fill or drop it before standardizing"
        )
    return table


def _ranges(low: Any, high: Any, columns: int) -> tuple[Array, Array]:
    if low is None or high is None:
        raise ParameterError(
            "public ranges are low= and high= together, one number per column or one for all"
        )
    try:
        bottom = np.broadcast_to(np.asarray(low, np.float64), columns)
        top = np.broadcast_to(np.asarray(high, np.float64), columns)
    except ValueError:
        raise ParameterError(
            f"low= and high= have one number for each of the {columns} columns, or one for all"
        ) from None
    if not (np.isfinite(bottom).all() and np.isfinite(top).all() and (bottom < top).all()):
        raise ParameterError(
            "each public range goes from a number up to a larger one: correct low= and high="
        )
    return (bottom + top) / 2, (top - bottom) / 2


def _source(table: Array, step: int) -> tuple[Array, ...]:
    """What the journal knows a step by: units and means come from all, and one member's lie changes them."""
    return (np.array([float(step)]), table)


def _pooled(session: Session, scaled: Array, count: float, table: Array, step: int) -> Array:
    value, clip, source = _average(scaled), _clip(session), _source(table, step)
    return np.asarray(
        session.collect(value, tag="mean", weight=count, clip=clip, average=True, source=source)
    )


def _units(session: Session, sized: Array, table: Array, step: int) -> Array:
    largest = np.abs(sized).max(axis=0, initial=0.0)
    if (largest > np.ldexp(1.0, _MOST)).any():
        raise ParameterError(f"a column holds values beyond 2^{_MOST}: scale it before standardizing")
    _, exponents = np.frexp(largest)
    exponents = np.clip(exponents, _LEAST, _MOST)
    asked = np.zeros((table.shape[1], _MOST - _LEAST + 1), np.int64)
    asked[np.arange(table.shape[1]), exponents - _LEAST] = 1
    counted = np.asarray(session.collect(asked, tag="sum", source=_source(table, step)))
    top = _MOST - np.argmax(counted[:, ::-1] > 0, axis=1)
    return np.asarray(np.ldexp(1.0, top) / _clip(session))


def _clip(session: Session) -> float:
    return min(1.0, session.charter.sum.clip)


def _average(table: Array) -> Array:
    if len(table) == 0:
        return np.zeros(table.shape[1])
    return np.asarray(table.mean(axis=0))
