"""A column of identifiers as the byte strings that members compare.

Text is compared after Unicode normalisation (NFC) and whole numbers by their decimal digits, so that 17 and "17" are
alike. Nothing else is changed: case, spaces and leading zeros are for the members to agree on.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from silo.errors import ParameterError

LONGEST: Final = 1024
_FEW: Final = 5


def encode(ids: Any, column: str = "the identifiers") -> list[bytes]:
    """One byte string per row, all different. `ids` is a list, array, or a column of pandas, Polars or Arrow.

    Raises a `ParameterError` that names `column` and rows (from 0), never an identifier: it may be a person's.
    """
    items = [_one(value, place, column) for place, value in enumerate(_values(ids, column))]
    if len(set(items)) < len(items):
        raise ParameterError(
            f"{column}: {len(items) - len(set(items))} rows have an identifier that came before, such as row "
            f"{_doubles(items)}: keep one row of each"
        )
    return items


def _values(ids: Any, column: str) -> Iterable[Any]:
    if isinstance(ids, (str, bytes)) or np.ndim(ids) > 1:
        raise ParameterError(f"{column} are not one column: give a list or an array with one entry a row")
    for name in ("to_pylist", "to_list", "tolist"):
        if hasattr(ids, name):
            found: Iterable[Any] = getattr(ids, name)()
            return found
    return list(ids)


def _one(value: Any, place: int, column: str) -> bytes:
    if isinstance(value, str):
        raw = unicodedata.normalize("NFC", value).encode("utf-8", "surrogatepass")
    elif isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.bool_)):
        raw = str(int(value)).encode()
    elif isinstance(value, bytes):
        raw = value
    else:
        what = "empty" if value is None or value != value else f"of type {type(value).__name__}"
        raise ParameterError(f"{column}, row {place}, is {what}: an identifier is text or a whole number")
    if not 0 < len(raw) <= LONGEST:
        raise ParameterError(f"{column}, row {place}, has {len(raw)} bytes: an identifier has 1 to {LONGEST}")
    return raw


def _doubles(items: list[bytes]) -> str:
    seen: set[bytes] = set()
    found = []
    for place, item in enumerate(items):
        if item in seen:
            found.append(str(place))
            if len(found) == _FEW:
                break
        seen.add(item)
    return ", ".join(found)
