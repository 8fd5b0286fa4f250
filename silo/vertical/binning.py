"""How one member's columns become bins: what boosting sees of them, and what stays with the member.

Numbers are cut at quantiles (or between all values, where they are few); what is at most an edge is in the bin before.
Categories are numbered by how often they come; those that are rare, and those beyond the last bin, share one. What is
missing, and a category that was not there in training, has a code of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.errors import ParameterError
from silo.protocols.vertical.boosting.columns import Codes, Columns, Shape
from silo.protocols.vertical.boosting.parameters import MOST_BINS
from silo.protocols.vertical.boosting.routing import Split
from silo.vertical.frames import Frame

Floats = npt.NDArray[np.float64]
NUMERIC: Final = "numeric"
CATEGORICAL: Final = "categorical"


@dataclass(frozen=True, slots=True, eq=False)
class Numeric:
    """A column of numbers, and the edges between its bins, ascending."""

    name: str
    edges: Floats

    @property
    def bins(self) -> int:
        return len(self.edges) + 1

    def codes(self, values: npt.NDArray[Any], who: str) -> Codes:
        """A code for each value. Raises `ParameterError`."""
        if values.dtype == object:
            raise ParameterError(f"{who}: column {self.name} holds text, and held numbers in training")
        _require_finite(values, self.name, who)
        found = np.searchsorted(self.edges, values, side="left").astype(np.uint8)
        found[np.isnan(values)] = self.bins
        return found

    def told(self) -> dict[str, Any]:
        return {"name": self.name, "kind": NUMERIC, "edges": self.edges.tolist()}

    def describe(self, left: npt.NDArray[np.bool_]) -> dict[str, Any]:
        """A split as its owner reads it."""
        count = int(left[: self.bins].sum())
        below = float(self.edges[count - 1]) if count < self.bins else None
        return {"column": self.name, "at_most": below, "missing": _side(bool(left[self.bins]))}


@dataclass(frozen=True, slots=True, eq=False)
class Categorical:
    """A column of text: its categories, the most frequent first, and those that share the last bin."""

    name: str
    categories: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def bins(self) -> int:
        return len(self.categories) + bool(self.others)

    def codes(self, values: npt.NDArray[Any], who: str) -> Codes:
        """A code for each value. Raises `ParameterError`."""
        if values.dtype != object:
            if not np.isnan(values).all():
                raise ParameterError(f"{who}: column {self.name} holds numbers, and held text in training")
            return np.full(len(values), self.bins, np.uint8)
        numbers: dict[str | None, int] = dict.fromkeys(self.others, len(self.categories))
        numbers |= {category: code for code, category in enumerate(self.categories)}
        missing = self.bins
        return np.array([numbers.get(value, missing) for value in values], np.uint8)

    def told(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": CATEGORICAL,
            "categories": list(self.categories),
            "others": list(self.others),
        }

    def describe(self, left: npt.NDArray[np.bool_]) -> dict[str, Any]:
        """A split as its owner reads it."""
        among = [category for code, category in enumerate(self.categories) if left[code]]
        others = bool(self.others and left[len(self.categories)])
        return {
            "column": self.name,
            "among": among,
            "others": _side(others),
            "missing": _side(bool(left[self.bins])),
        }


Column = Numeric | Categorical


@dataclass(frozen=True, slots=True, eq=False)
class Binning:
    """The bins of all columns of one member."""

    columns: tuple[Column, ...]

    @classmethod
    def of(cls, frame: Frame, most: int, *, who: str, least: int = 1) -> Binning:
        """Choose at most `most` bins for each column; a category with a bin of its own has at least `least` rows.

        Raises a `ParameterError` that names the first column without use.
        """
        return cls(
            tuple(
                _categorical(name, column, most, least, who)
                if column.dtype == object
                else _numeric(name, column, most, who)
                for name, column in zip(frame.names, frame.columns, strict=True)
            )
        )

    @property
    def shape(self) -> Shape:
        bins = tuple(column.bins for column in self.columns)
        return Shape(bins, tuple(isinstance(column, Categorical) for column in self.columns))

    def codes(self, frame: Frame, *, who: str) -> Columns:
        """The codes of a table with the same columns. Raises `ParameterError`."""
        if len(frame.columns) != len(self.columns):
            raise ParameterError(
                f"{who}: {len(frame.columns)} columns, and {len(self.columns)} in training: give the same"
            )
        rows = [column.codes(values, who) for column, values in zip(self.columns, frame.columns, strict=True)]
        return Columns(np.array(rows, np.uint8), self.shape)

    def told(self) -> list[dict[str, Any]]:
        """As plain data, for the member's own share."""
        return [column.told() for column in self.columns]

    @classmethod
    def read(cls, told: Sequence[Mapping[str, Any]]) -> Binning:
        """From what `told` gave. Raises `ParameterError`."""
        return cls(tuple(_read(one) for one in told))

    def describe(self, split: Split) -> dict[str, Any]:
        """A split as its owner reads it: column, threshold or categories, and where missing values go."""
        return self.columns[split.column].describe(split.table)


def _numeric(name: str, values: Floats, most: int, who: str) -> Numeric:
    _require_finite(values, name, who)
    present = values[~np.isnan(values)]
    distinct, counts = np.unique(present, return_counts=True)
    _require_use(len(distinct), len(present) < len(values), name, len(values), who)
    last = _cuts(np.cumsum(counts), most) if len(distinct) > most else np.arange(len(distinct) - 1)
    return Numeric(name, _between(distinct[last], distinct[last + 1]))


def _cuts(upto: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    """The last value of each bin but the last one, where `upto` counts rows up to each value.

    Each bin takes its share of the rows that are left, so that a frequent value costs one bin and no more.
    """
    found: list[int] = []
    done, begin = 0, 0
    for left in range(most, 1, -1):
        goal = done + (int(upto[-1]) - done) / left
        at = int(np.searchsorted(upto, goal))
        if at > begin and goal - upto[at - 1] < upto[at] - goal:
            at -= 1
        if at >= len(upto) - 1:
            break
        found.append(at)
        done, begin = int(upto[at]), at + 1
    return np.array(found, np.int64)


def _between(lower: Floats, upper: Floats) -> Floats:
    middle = lower / 2 + upper / 2
    return np.where((lower <= middle) & (middle < upper), middle, lower)


def _categorical(name: str, values: npt.NDArray[Any], most: int, least: int, who: str) -> Categorical:
    counted = Counter(value for value in values if value is not None)
    _require_use(len(counted), sum(counted.values()) < len(values), name, len(values), who)
    ordered = sorted(counted, key=lambda category: (-counted[category], category))
    cut = sum(counted[category] >= least for category in ordered)
    if cut > most or (cut == most and cut < len(ordered)):
        cut = most - 1
    return Categorical(name, tuple(ordered[:cut]), tuple(ordered[cut:]))


def _require_use(distinct: int, missing: bool, name: str, rows: int, who: str) -> None:
    if distinct + missing < 2:
        what = "the same value in all rows" if distinct else "no value in any row"
        raise ParameterError(f"{who}: column {name} has {what} (n_samples={rows}): drop it")


def _require_finite(values: Floats, name: str, who: str) -> None:
    infinite = np.isinf(values)
    if infinite.any():
        row = int(np.flatnonzero(infinite)[0])
        raise ParameterError(
            f"{who}: column {name}, row {row}, is infinite (inf): give a finite number, or NaN where it is missing"
        )


def _side(left: bool) -> str:
    return "left" if left else "right"


def _read(told: Mapping[str, Any]) -> Column:
    try:
        name = str(told["name"])
        column: Column
        if told["kind"] == NUMERIC:
            column = Numeric(name, np.array(told["edges"], np.float64))
            good = bool(np.isfinite(column.edges).all() and (np.diff(column.edges) > 0).all())
        else:
            categories, others = tuple(told["categories"]), tuple(told["others"])
            column = Categorical(name, categories, others)
            good = told["kind"] == CATEGORICAL and all(isinstance(one, str) for one in categories + others)
    except (KeyError, TypeError, ValueError) as problem:
        raise ParameterError("a column's bins in this share cannot be read") from problem
    if not good or not 1 <= column.bins <= MOST_BINS:
        raise ParameterError(f"the bins of column {name[:64]} in this share cannot be read")
    return column
