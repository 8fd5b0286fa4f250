"""Whose labels the audit attacks: default_credit from a folder, or scikit-learn's breast cancer set, cut in two."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError

Array = npt.NDArray[Any]

GUEST_FILE: Final = "default_credit_hetero_guest.csv"
HOST_FILE: Final = "default_credit_hetero_host.csv"
_TEST: Final = 5
"""One row of so many is held out."""
_FEWEST: Final = 50


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Rows of the same records: `guest` has the labels beside its features, `host` its own features only."""

    guest: Array
    host: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: Any) -> Part:
        return Part(self.guest[chosen], self.host[chosen], self.labels[chosen])


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """Records to train on and records held out, standardised by the former."""

    title: str
    train: Part
    held_out: Part


def load(folder: Path | None) -> People:
    """Read both tables in `folder`, or take the bundled set. Raises `ParameterError`."""
    return _breast() if folder is None else _credit(folder)


def split(title: str, guest: Array, host: Array, labels: Array) -> People:
    """Hold out every fifth row, and standardise. Raises `ParameterError`."""
    if not (np.isfinite(guest).all() and np.isfinite(host).all()):
        raise ParameterError("a feature is not finite: fill the gaps first")
    if not np.isin(labels, (0, 1)).all() or len(np.unique(labels)) != 2:
        raise ParameterError("the labels have to be 0 and 1, and both have to occur")
    if len(labels) < _FEWEST:
        raise ParameterError(f"{len(labels)} records tell nothing: give at least {_FEWEST}")
    held = np.arange(len(labels)) % _TEST == 0
    scaled = [_standard(table, ~held) for table in (guest, host)]
    whole = Part(scaled[0], scaled[1], labels.astype(np.float32))
    return People(title, whole[~held], whole[held])


def _standard(table: Array, by: Array) -> Array:
    spread = table[by].std(axis=0)
    return np.asarray((table - table[by].mean(axis=0)) / np.where(spread > 0, spread, 1.0), np.float32)


def _credit(folder: Path) -> People:
    from silo import csv_table

    tables = []
    for file in (GUEST_FILE, HOST_FILE):
        if not (folder / file).is_file():
            raise ParameterError(
                f"{folder} holds no {file}: give the folder that has it, or none for the set that scikit-learn brings"
            )
        tables.append(csv_table.read(folder / file))
    guest, host = tables
    at = [{one: place for place, one in enumerate(table.text("id"))} for table in tables]
    common = sorted(at[0].keys() & at[1].keys())
    rows = [[places[one] for one in common] for places in at]
    columns = [[name for name in table.names if name not in ("id", "y")] for table in tables]
    labels = guest.matrix(["y"])[rows[0], 0]
    parts = [table.matrix(names)[chosen] for table, names, chosen in zip(tables, columns, rows, strict=True)]
    for part, table in zip((*parts, labels), (guest, host, guest), strict=True):
        if part.dtype == object:
            raise ParameterError(f"{table.where} holds text where numbers are needed")
    title = f"Default of credit card clients (UCI), {len(common):,} clients"
    return split(title, parts[0], parts[1], labels)


def _breast() -> People:
    from silo.extras import need

    need("the audit on its bundled set", "demo", "sklearn")
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    labels = (bunch.target == 0).astype(np.float32)
    title = f"Breast cancer (Wisconsin, from scikit-learn), {len(labels)} patients"
    return split(title, bunch.data[:, 10:20], np.delete(bunch.data, np.s_[10:20], axis=1), labels)
