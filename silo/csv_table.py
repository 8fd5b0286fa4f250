"""Tables as CSV files: read strictly, each column numbers or text, and written beside what is there, never over it."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from silo.errors import ParameterError

_SHOWN = 200


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A header and rows of text; `where` names the file in messages."""

    where: str
    names: tuple[str, ...]
    rows: Sequence[Sequence[str]]

    def text(self, name: str) -> list[str]:
        """One column as it stands. Raises `ParameterError`."""
        place = self._place(name)
        return [row[place] for row in self.rows]

    def matrix(self, names: Iterable[str]) -> npt.NDArray[Any]:
        """(rows, columns): float64 with NaN for empty cells; with a column of text, objects (float, str or None)."""
        columns = [values(self.text(name)) for name in names]
        mixed = any(column.dtype == object for column in columns)
        found = np.empty((len(self.rows), len(columns)), object if mixed else np.float64)
        for place, column in enumerate(columns):
            found[:, place] = column
        return found

    def _place(self, name: str) -> int:
        if self.names.count(name) != 1:
            found = "twice" if name in self.names else f"not among {shown(self.names)}"
            raise ParameterError(f"{self.where}: column {name!r} is {found}")
        return self.names.index(name)


def shown(names: Sequence[str]) -> str:
    """Names of columns for a message. A first line that holds numbers may be a record, and is not shown."""
    if any(_number(name) is not None for name in names):
        return "those of the first line, which holds numbers: has the file no header?"
    return ", ".join(names)[:_SHOWN]


def read(path: str | Path, *, separator: str = ",") -> Table:
    """Read a file with a header; an empty line is no row. Raises `ParameterError`."""
    where = Path(path).name
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as stream:
            lines = list(csv.reader(stream, strict=True, delimiter=separator))
    except OSError as problem:
        raise ParameterError(f"{path} cannot be read: {problem.strerror}") from None
    except (UnicodeDecodeError, csv.Error):
        raise ParameterError(f"{path} is no table of values in UTF-8, separated by {separator!r}") from None
    header, rows = (lines[0], [row for row in lines[1:] if row]) if lines else ([], [])
    if not rows:
        raise ParameterError(f"{where} has no rows under its header")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise ParameterError(f"{where}, row {number}: {len(row)} values under {len(header)} columns")
    return Table(where, tuple(header), rows)


def values(cells: Sequence[str]) -> npt.NDArray[Any]:
    """A column as float64, with NaN for an empty cell; as objects, str or None, when one cell is no number."""
    numbers = [_number(cell) for cell in cells]
    if None in numbers:
        return np.array([cell or None for cell in cells], dtype=object)
    return np.array(numbers, dtype=np.float64)


def require_new(target: Path, option: str) -> None:
    """Refuse a file that is there, or a folder that is not. Raises `ParameterError`."""
    if target.exists():
        raise ParameterError(f"{target} is already there: move it away, or name another file with {option}")
    if not target.parent.is_dir():
        raise ParameterError(f"the folder {target.parent} is not there: make it first")


def write(target: Path, names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a new file, readable by its owner only. Raises `ParameterError`."""
    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(names)
            writer.writerows(rows)
    except OSError as problem:
        raise ParameterError(f"{target} cannot be written: {problem.strerror}") from None


def _number(cell: str) -> float | None:
    if not cell:
        return math.nan
    try:
        # Python reads 1_000 as a number, and nobody writes one like that into a table.
        return None if "_" in cell else float(cell)
    except ValueError:
        return None
