"""What the hospitals of the demo hold: the UCI heart data of four hospitals, or a set that scikit-learn brings.

The heart data follow the recipe of FLamby's Fed-Heart-Disease (Ogier du Terrail et al., NeurIPS 2022,
appendix on Fed-Heart-Disease): columns 10 to 12 and rows with a gap are dropped, columns 2 and 6 are one-hot
without their first value, and 34 % of each hospital's rows are the test, stratified, with seed 43. The one-hot
values are those that the data's own documentation lists, so that no hospital looks at another's rows.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError

Array = npt.NDArray[np.float64]

_TEST_SHARE: Final = 0.34
_SEED: Final = 43
_PARTS: Final = ("train_x", "train_y", "test_x", "test_y")

_CENTRES: Final = (
    ("cleveland", "processed.cleveland.data"),
    ("hungarian", "processed.hungarian.data"),
    ("switzerland", "processed.switzerland.data"),
    ("long-beach", "processed.va.data"),
)
_HEART_COLUMNS: Final = (
    "age", "sex", "trestbps", "chol", "fbs", "thalach", "exang", "oldpeak",
    "cp_2", "cp_3", "cp_4", "restecg_1", "restecg_2",
)  # fmt: skip
_KEPT: Final = (0, 1, 3, 4, 5, 7, 8, 9)
_ONE_HOT: Final = ((2, (2, 3, 4)), (6, (1, 2)))
_FIELDS: Final = 14
_LABEL: Final = 13

_SHARES: Final = (("northside", 180, 60), ("mercy", 75, 95), ("lakeview", 85, 15), ("riverside", 17, 42))
"""Benign and malignant rows of each hospital in the set of scikit-learn: 357 and 212 in all."""
_SHIFTED: Final = "mean smoothness"


@dataclass(frozen=True, eq=False)
class Hospital:
    """One hospital's own rows: x is (rows, columns), y is 0 or 1 per row; all float64."""

    name: str
    train_x: Array
    train_y: Array
    test_x: Array
    test_y: Array

    def __repr__(self) -> str:
        return f"Hospital({self.name!r}, {len(self.train_x)} rows to train and {len(self.test_x)} to test)"


@dataclass(frozen=True, eq=False)
class Dataset:
    """The same columns at every hospital."""

    title: str
    columns: tuple[str, ...]
    hospitals: tuple[Hospital, ...]


def load(folder: Path | None) -> Dataset:
    """Read the heart data in `folder`, or split scikit-learn's breast cancer set. Raises `ParameterError`."""
    return _breast_cancer() if folder is None else _heart(folder)


def save(path: Path, hospital: Hospital) -> None:
    """Write one hospital's rows for its own process, readable by the owner alone; no pickle."""
    arrays: dict[str, Any] = {part: getattr(hospital, part) for part in _PARTS}
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        np.savez(file, allow_pickle=False, name=np.array(hospital.name), **arrays)


def read(path: Path) -> Hospital:
    """Read what `save` wrote. Raises `ParameterError`."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as loaded:
            name = str(loaded["name"][()])
            parts = [np.asarray(loaded[part], np.float64) for part in _PARTS]
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as problem:
        raise ParameterError(
            f"{path} cannot be read as a hospital's rows ({type(problem).__name__}): let the demo write it anew"
        ) from None
    train_x, train_y, test_x, test_y = parts
    for x, y in ((train_x, train_y), (test_x, test_y)):
        if x.ndim != 2 or x.shape[1] != train_x.shape[1] or y.shape != x.shape[:1]:
            raise ParameterError(
                f"{path} holds rows and labels of unlike shapes ({x.shape} and {y.shape}): "
                "let the demo write it anew"
            )
    return Hospital(name, train_x, train_y, test_x, test_y)


def _heart(folder: Path) -> Dataset:
    missing = [file for _, file in _CENTRES if not (folder / file).is_file()]
    if missing:
        raise ParameterError(
            f"{folder} holds no {missing[0]}: give the folder with the four processed.*.data files of the UCI "
            "heart disease set, or none for the set that scikit-learn brings"
        )
    hospitals = tuple(_split(name, *_centre(folder / file)) for name, file in _CENTRES)
    rows = sum(len(one.train_x) + len(one.test_x) for one in hospitals)
    return Dataset(f"UCI heart disease, {rows} patients of four hospitals", _HEART_COLUMNS, hospitals)


def _centre(path: Path) -> tuple[Array, Array]:
    """The features and labels in one file; rows with a gap in what is kept are left out."""
    needed = [*range(10), _LABEL]
    table: list[list[float]] = []
    lines = path.read_bytes().decode("ascii", "replace").splitlines()
    for number, line in enumerate(lines, 1):
        cells = line.split(",")
        if not line.strip():
            continue
        if len(cells) != _FIELDS:
            raise ParameterError(
                f"line {number} of {path} has {len(cells)} fields where the UCI heart data have {_FIELDS}: "
                "fetch the file again"
            )
        if any(cells[column].strip() == "?" for column in needed):
            continue
        try:
            table.append([float(cell) if cell.strip() != "?" else 0.0 for cell in cells])
        except ValueError:
            raise ParameterError(
                f"line {number} of {path} has a field that is no number: fetch the file again"
            ) from None
    rows = np.array(table, np.float64).reshape(-1, _FIELDS)
    hot = [rows[:, column] == value for column, values in _ONE_HOT for value in values]
    return np.column_stack([rows[:, _KEPT], *hot]).astype(np.float64), (rows[:, _LABEL] > 0).astype(
        np.float64
    )


def _breast_cancer() -> Dataset:
    """Cut each class, in the order of one measurement, into unequal pieces: other sizes, rates and devices."""
    try:
        from sklearn.datasets import load_breast_cancer
    except ImportError:
        raise _needs_sklearn() from None

    bunch = load_breast_cancer()
    x, malignant = np.asarray(bunch.data, np.float64), np.asarray(bunch.target) == 0
    columns = tuple(str(name) for name in bunch.feature_names)
    order = np.argsort(x[:, columns.index(_SHIFTED)], kind="stable")
    kinds = (order[~malignant[order]], order[malignant[order]])
    taken = [0, 0]
    hospitals = []
    for name, *counts in _SHARES:
        own = np.concatenate([kinds[k][taken[k] : taken[k] + count] for k, count in enumerate(counts)])
        taken = [taken[k] + count for k, count in enumerate(counts)]
        hospitals.append(_split(name, x[own], malignant[own].astype(np.float64)))
    title = f"Breast cancer (Wisconsin, from scikit-learn), {len(x)} patients cut into four hospitals"
    return Dataset(title, columns, tuple(hospitals))


def _split(name: str, x: Array, y: Array) -> Hospital:
    try:
        from sklearn.model_selection import train_test_split
    except ImportError:
        raise _needs_sklearn() from None

    labels, counts = np.unique(y, return_counts=True)
    if len(x) < 3:
        raise ParameterError(
            f"{name} has {len(x)} whole rows, too few to train and test: fetch its file again"
        )
    # As in the recipe: nothing is stratified where a label has two rows or fewer (Switzerland has one healthy).
    strata = y if len(labels) > 1 and counts.min() > 2 else None
    parts: Sequence[Array] = train_test_split(
        x, y, test_size=_TEST_SHARE, random_state=_SEED, stratify=strata
    )
    train_x, test_x, train_y, test_y = parts
    return Hospital(name, train_x, train_y, test_x, test_y)


def _needs_sklearn() -> ParameterError:
    return ParameterError("the demo needs scikit-learn: run `pip install '.[demo]'` in Silo's source folder")
