"""Tables as the models take them: pandas, Polars, Arrow and NumPy alike, column by column with its name."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.errors import ParameterError

Floats = npt.NDArray[np.float64]
_LARGEST: Final = 1e50
"""Beyond this a sum of squares comes near the end of what a double holds."""


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
    frame = _native(table, who)
    if frame is not None:
        names = tuple(str(name) for name in frame.columns)
        columns = [_column(one.to_numpy(), one.name, who) for one in frame.iter_columns()]
        return _checked(Frame(names, tuple(columns), len(frame), named=True), who)
    if hasattr(table, "toarray"):
        raise ParameterError(f"{who}: sparse tables are not taken: pass table.toarray()")
    array = one_array(table, who=who, what="the table")
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
                f"{who}: column {name} holds text, and this model takes numbers: encode it, for example "
                "one column of 0 and 1 for each category"
            )
        if not np.isfinite(column).all():
            row = int(np.flatnonzero(~np.isfinite(column))[0])
            what = "missing (NaN)" if np.isnan(column[row]) else "infinite (inf)"
            raise ParameterError(
                f"{who}: column {name}, row {row}, is {what}: fill it or drop the row at all members"
            )
        if (np.abs(column) > _LARGEST).any():
            raise ParameterError(f"{who}: column {name} holds numbers beyond {_LARGEST:g}: scale it")
        out[:, place] = column
    return out


def one_array(values: Any, *, who: str, what: str) -> npt.NDArray[Any]:
    """Anything as one array, without what a mask hides. Raises `ParameterError` for rows of unlike length."""
    if isinstance(values, np.ma.MaskedArray) and values.mask.any():
        shown = np.asarray(values.data).astype(object)
        shown[values.mask] = None
        return shown
    try:
        return np.asarray(values)
    except ValueError:
        raise ParameterError(f"{who}: the rows of {what} are not of one length") from None


def missing(value: object) -> bool:
    """Whether a value stands for none: None, NaN, NaT, or pandas's NA, which does not even say that it differs."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except TypeError:
        return True
    except ValueError:
        return False


def _native(table: Any, who: str) -> Any:
    """The table as narwhals sees it; None where it is no data frame."""
    import narwhals as nw
    from narwhals.exceptions import DuplicateError

    if isinstance(table, np.ndarray | list | tuple):
        return None
    try:
        found = nw.from_native(table, eager_only=True, pass_through=True)
        if not isinstance(found, nw.DataFrame):
            return None
        _require_names([str(name) for name in found.columns], who)
    except DuplicateError:
        columns = getattr(table, "columns", ())
        names = getattr(table, "column_names", columns)
        _require_names([str(name) for name in names], who)
        raise ParameterError(f"{who}: two columns have one name: give each a name of its own") from None
    return found


def _column(values: npt.NDArray[Any], name: object, who: str) -> npt.NDArray[Any]:
    if values.dtype.kind in "biuf":
        return values.astype(np.float64)
    if values.dtype.kind not in "OUST":
        raise ParameterError(f"{who}: column {name} holds {values.dtype}, which is neither numbers nor text")
    listed = values.tolist()
    present = [one for one in listed if not missing(one)]
    if all(isinstance(one, (int, float, np.integer, np.floating, np.bool_)) for one in present):
        try:
            return np.array([np.nan if missing(one) else float(one) for one in listed])
        except OverflowError:
            raise ParameterError(
                f"{who}: column {name} holds a number beyond {_LARGEST:g}: scale it"
            ) from None
    texts = [place for place, one in enumerate(listed) if isinstance(one, str)]
    if texts and len(texts) < len(present):
        raise ParameterError(
            f"{who}: column {name} mixes numbers and text, as in row {texts[0]}: mend the cells, or make all text"
        )
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
    return frame


def _require_names(names: list[str], who: str) -> None:
    counted = Counter(names)
    doubles = [name for name in counted if counted[name] > 1]
    if doubles:
        raise ParameterError(f"{who}: two columns are called {doubles[0]}: give each a name of its own")
