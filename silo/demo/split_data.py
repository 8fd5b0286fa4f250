"""Which data `silo demo split` runs on, recognised by their files, and how columns are cut among organisations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from silo.crypto.errors import ParameterError
from silo.csv_table import Table
from silo.demo import vertical_data
from silo.demo.vertical_data import BANK, BANK_FILE, CREDIT, CREDIT_FILES, Cut, People

BREAST: Final = "breast"
BANKING: Final = "bank"
CREDITS: Final = "credit"
PARTIES: Final = (2, 3)

_BANK: Final[Mapping[int, Cut]] = {
    2: {"bank": BANK["bank"], "callcentre": (*BANK["callcentre"], *BANK["statistics"])},
    3: BANK,
}
_CREDIT: Final[Mapping[int, Mapping[str, Sequence[str] | None]]] = {
    2: CREDIT,
    3: {"lender": None, "bureau": ("x0", "x5", "x6", "x7", "x8", "x9"), "registry": ("x1", "x2", "x3", "x4")},
}
"""In the second file x0 is the credit limit, and x5 to x9 are how late the client paid: a credit bureau has these.
x1 to x4, sex, education, marriage and age, stand in a civil registry."""
_BREAST: Final[Mapping[int, Cut]] = {
    2: {"lender": ("error",), "bureau": ("mean", "worst")},
    3: {"lender": ("error",), "bureau": ("mean",), "registry": ("worst",)},
}


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """The data of one run: `kind` names the settings of its network."""

    kind: str
    people: People


def load(folder: Path | None, parties: int | None = None) -> Data:
    """Read what is in `folder`, cut among so many; none takes scikit-learn's breast cancer set.

    Without `parties` the bank marketing data have three organisations, the others two. Raises `ParameterError`.
    """
    if parties is not None and parties not in PARTIES:
        raise ParameterError(f"the demo split is among 2 or 3 organisations, not {parties}")
    kind = BREAST if folder is None else recognise(folder)
    count = parties or (3 if kind == BANKING else 2)
    if folder is None:
        return Data(kind, vertical_data.breast(_BREAST[count]))
    if kind == BANKING:
        return Data(kind, vertical_data.bank(folder, _BANK[count]))
    return Data(kind, vertical_data.credit(folder, _CREDIT[count]))


def recognise(folder: Path) -> str:
    """Which data are in a folder. Raises `ParameterError` for none, and for both."""
    found = [BANKING] * (folder / BANK_FILE).is_file()
    found += [CREDITS] * any((folder / one).is_file() for one in CREDIT_FILES)
    if not found:
        raise ParameterError(
            f"{folder} holds neither {BANK_FILE} nor {' and '.join(CREDIT_FILES)}: give the folder of one of these, or "
            "none for the set that scikit-learn brings"
        )
    if len(found) > 1:
        raise ParameterError(
            f"{folder} holds both {BANK_FILE} and {CREDIT_FILES[0]}: give a folder that holds one of these data sets"
        )
    return found[0]


def joined(people: People) -> People:
    """The rows that all have, in one order."""
    common = people.common()
    holdings = []
    for one in people.holdings:
        own = one.table.text(vertical_data.ID)
        place = {identifier: at for at, identifier in enumerate(own)}
        rows = [one.table.rows[place[identifier]] for identifier in common]
        holdings.append(replace(one, table=Table(one.table.where, one.table.names, rows)))
    return People(people.title, tuple(holdings))
