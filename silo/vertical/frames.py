"""Tables as the models take them: pandas, Polars, Arrow and NumPy alike, column by column with its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from silo.errors import ParameterError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Columns of one length: float64 with NaN where a value is missing, or an object array of str and None."""

    names: tuple[str, ...]
    columns: tuple[npt.NDArray[Any], ...]
    rows: int
    named: bool
    """Whether the names came with the data, or are x0, x1, …"""


def read(table: Any, *, who: str) -> Frame:
    """Take a data frame, or anything that NumPy makes two-dimensional. Raises `ParameterError`, naming the column."""
    frame = _native(table)
    if frame is not None:
        names = tuple(str(name) for name in frame.columns)
        columns = [_column(one.to_numpy(), one.name, who) for one in frame.iter_columns()]
        return _checked(Frame(names, tuple(columns), len(frame), named=True), who)
    if hasattr(table, "toarray"):
        raise ParameterError(f"{who}: sparse tables are not taken: pass table.toarray()")
    array = np.asarray(table)
    if array.ndim != 2:
        raise ParameterError(
            f"{who}: a table has two dimensions, rows and columns, and this one has {array.ndim}. "
            "Reshape your data: array.reshape(-1, 1) if it is a single column"
        )
    if array.dtype.kind == "c":
        raise ParameterError(f"{who}: Complex data not supported: give real numbers")
    names = tuple(f"x{place}" for place in range(array.shape[1]))
    columns = [_column(array[:, place], name, who) for place, name in enumerate(names)]
    return _checked(Frame(names, tuple(columns), len(array), named=False), who)


def numeric(frame: Frame, *, who: str) -> Floats:
    """(rows, columns) finite numbers. Raises `ParameterError` that names the first column with something else."""
    out = np.empty((frame.rows, len(frame.columns)))
    for place, (name, column) in enumerate(zip(frame.names, frame.columns, strict=True)):
        if column.dtype == object:
            raise ParameterError(
                f"{who}: column {name} holds text, and a linear model takes numbers: encode it, for example "
                "one column of 0 and 1 for each category"
            )
        if not np.isfinite(column).all():
            row = int(np.flatnonzero(~np.isfinite(column))[0])
            what = "missing (NaN)" if np.isnan(column[row]) else "infinite (inf)"
            raise ParameterError(
                f"{who}: column {name}, row {row}, is {what}: fill it or drop the row at all members"
            )
        out[:, place] = column
    return out


def _native(table: Any) -> Any:
    """The table as narwhals sees it; None where it is no data frame."""
    import narwhals as nw

    if isinstance(table, np.ndarray | list | tuple):
        return None
    found = nw.from_native(table, eager_only=True, pass_through=True)
    return found if isinstance(found, nw.DataFrame) else None


def _column(values: npt.NDArray[Any], name: object, who: str) -> npt.NDArray[Any]:
    if values.dtype.kind in "biuf":
        return values.astype(np.float64)
    if values.dtype.kind not in "OUST":
        raise ParameterError(f"{who}: column {name} holds {values.dtype}, which is neither numbers nor text")
    listed = values.tolist()
    present = [one for one in listed if one is not None and one == one]
    if all(isinstance(one, (int, float, np.integer, np.floating)) for one in present):
        return np.array([np.nan if one is None or one != one else float(one) for one in listed])
    if not all(isinstance(one, str) for one in present):
        odd = next(one for one in present if not isinstance(one, str))
        raise ParameterError(
            f"{who}: column {name} holds a {type(odd).__name__} (argument must be a string or a number)"
        )
    return np.array([one if isinstance(one, str) else None for one in listed], dtype=object)


def _checked(frame: Frame, who: str) -> Frame:
    if not frame.columns:
        raise ParameterError(
            f"{who}: 0 feature(s) (shape=({frame.rows}, 0)) while a minimum of 1 is required."
        )
    if not frame.rows:
        raise ParameterError(f"{who}: 0 sample(s) where at least 1 is required: the table has no rows")
    doubles = sorted({name for name in frame.names if frame.names.count(name) > 1})
    if doubles:
        raise ParameterError(f"{who}: two columns are called {doubles[0]}: give each a name of its own")
    return frame
