"""What the organisations of `silo demo bank`, `credit` and `split` hold: other columns of the same people.

The rows are cut by columns from one table. Every organisation has them in an order of its own, and lacks some that
others have, so that the demo has to find the common ones first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from silo import csv_table
from silo.crypto.errors import ParameterError
from silo.csv_table import Table

ID: Final = "id"
LABEL: Final = "label"
_LACKS: Final = 40
"""Each organisation lacks one row of so many."""
_TEST: Final = 5
"""One row of so many is a test row."""

Cut = Mapping[str, Sequence[str]]
"""The columns of each organisation; the first has the labels."""

BANK_FILE: Final = "bank-additional-full.csv"
BANK: Final[Cut] = {
    "bank": ("age", "job", "marital", "education", "default", "housing", "loan"),
    "callcentre": ("contact", "month", "day_of_week", "campaign", "pdays", "previous", "poutcome"),
    "statistics": ("emp.var.rate", "cons.price.idx", "cons.conf.idx", "euribor3m", "nr.employed"),
}
"""`duration`, the length of the call, is left out: it is known only once the answer is, and tells it."""
CREDIT_FILES: Final = ("default_credit_hetero_guest.csv", "default_credit_hetero_host.csv")
CREDIT: Final[Mapping[str, Sequence[str] | None]] = {"lender": None, "bureau": None}
"""The columns of the first file's organisation, then those of the others in the second file; None is all."""

DEMOS: Final[Mapping[str, tuple[str, ...]]] = {"bank": tuple(BANK), "credit": tuple(CREDIT)}
"""The organisations of each demo; the first has the labels."""
_BREAST: Final[Mapping[str, Cut]] = {
    "bank": {"bank": ("error",), "callcentre": ("mean",), "statistics": ("worst",)},
    "credit": {"lender": ("error",), "bureau": ("mean", "worst")},
}
"""Which of the measurements in scikit-learn's set each organisation has."""
_COUNTED: Final = {2: "two", 3: "three"}


@dataclass(frozen=True, slots=True, eq=False)
class Holding:
    """One organisation's table: an identifier, its columns, and with labels one more."""

    name: str
    table: Table
    labelled: bool


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """The same people at all organisations."""

    title: str
    holdings: tuple[Holding, ...]

    def common(self) -> tuple[str, ...]:
        """Identifiers that all have, sorted."""
        every = [set(one.table.text(ID)) for one in self.holdings]
        return tuple(sorted(set.intersection(*every)))


def load(demo: str, folder: Path | None) -> People:
    """Read the data of a demo in `folder`, or cut scikit-learn's breast cancer set. Raises `ParameterError`."""
    if folder is None:
        return breast(_BREAST[demo])
    return bank(folder) if demo == "bank" else credit(folder)


def is_test(identifier: str) -> bool:
    """Whether a row is held out: decided by its identifier, so alike everywhere."""
    return _draw("test", identifier) % _TEST == 0


def bank(folder: Path, cut: Cut = BANK) -> People:
    """The bank marketing data. Raises `ParameterError` where `folder` has none."""
    _require(folder, BANK_FILE)
    whole = csv_table.read(folder / BANK_FILE, separator=";")
    ids = [f"client-{number:05d}" for number in range(len(whole.rows))]
    labels = ["1" if answer == "yes" else "0" for answer in whole.text("y")]
    holdings: list[Holding] = []
    for name, columns in cut.items():
        own = {one: whole.text(one) for one in columns}
        holdings.append(_holding(name, ids, own, None if holdings else labels))
    title = (
        f"Bank marketing (UCI), {len(ids):,} calls of a bank, columns of {_COUNTED[len(cut)]} organisations"
    )
    return People(title, tuple(holdings))


def credit(folder: Path, cut: Mapping[str, Sequence[str] | None] = CREDIT) -> People:
    """The default of credit card clients data. Raises `ParameterError` where `folder` lacks one of the files."""
    for file in CREDIT_FILES:
        _require(folder, file)
    guest, host = (csv_table.read(folder / file) for file in CREDIT_FILES)
    holdings: list[Holding] = []
    for name, names in cut.items():
        part = host if holdings else guest
        columns = {one: part.text(one) for one in names or part.names if one not in (ID, "y")}
        holdings.append(_holding(name, part.text(ID), columns, None if holdings else part.text("y")))
    title = (
        f"Default of credit card clients (UCI), {len(guest.rows):,} clients, columns of {_COUNTED[len(cut)]} "
        "organisations"
    )
    return People(title, tuple(holdings))


def breast(cut: Cut) -> People:
    """scikit-learn's breast cancer set: who has which kinds of measurement. Raises `ParameterError` without it."""
    try:
        from sklearn.datasets import load_breast_cancer
    except ImportError:
        raise ParameterError(
            "the demo needs scikit-learn: run `pip install '.[demo]'` in Silo's source folder"
        ) from None

    bunch = load_breast_cancer()
    ids = [f"patient-{number:03d}" for number in range(len(bunch.data))]
    labels = [str(int(one)) for one in bunch.target == 0]
    by_name = {
        str(name): [repr(float(value)) for value in bunch.data[:, place]]
        for place, name in enumerate(bunch.feature_names)
    }
    holdings: list[Holding] = []
    for name, words in cut.items():
        own = {one: column for one, column in by_name.items() if set(words) & set(one.split())}
        holdings.append(_holding(name, ids, own, None if holdings else labels))
    title = (
        f"Breast cancer (Wisconsin, from scikit-learn), {len(ids)} patients, columns cut among "
        f"{len(holdings)} organisations"
    )
    return People(title, tuple(holdings))


def _holding(
    name: str, ids: Sequence[str], columns: Mapping[str, Sequence[str]], labels: Sequence[str] | None
) -> Holding:
    """One organisation's rows: some are left out, and the order is its own."""
    kept = [place for place, one in enumerate(ids) if _draw(f"lacks {name}", one) % _LACKS]
    kept.sort(key=lambda place: _draw(f"order {name}", ids[place]))
    header = (ID, *((LABEL,) if labels else ()), *columns)
    parts = [ids, *([labels] if labels else []), *columns.values()]
    return Holding(
        name, Table(f"{name}.csv", header, [[part[at] for part in parts] for at in kept]), bool(labels)
    )


def _draw(what: str, identifier: str) -> int:
    """A number that depends on a public word and an identifier only."""
    return int.from_bytes(hashlib.sha256(f"{what} {identifier}".encode()).digest()[:8], "big")


def _require(folder: Path, file: str) -> None:
    if not (folder / file).is_file():
        raise ParameterError(
            f"{folder} holds no {file}: give the folder that has it, or none for the set that scikit-learn brings"
        )
