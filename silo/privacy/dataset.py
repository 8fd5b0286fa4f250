"""What the ledger says of one data set, and how data sets descend from each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from silo.errors import ParameterError
from silo.privacy import events
from silo.privacy.accountants import rdp
from silo.privacy.budget import Budget, Spent
from silo.privacy.events import Event

Relation = Literal["", "derived", "part"]
NEIGHBOURING: Final = "add or remove one unit"
MAX_ABOUT: Final = 64
_MAX_TEXT: Final = 2000


@dataclass(frozen=True, slots=True)
class Description:
    """What an auditor must know of a data set besides its budget; it is fixed when the budget is opened.

    `unit` is whose privacy is counted (record, patient, visit), `contribution` how many records one unit has at
    most. `relation` says how the data set descends from `parent`: "derived" shares its units, "part" is one of
    its disjoint parts. `content` is a commitment to the records themselves, or empty.
    """

    unit: str = "record"
    contribution: int = 1
    parent: str = ""
    relation: Relation = ""
    content: bytes = b""
    about: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.unit.isprintable() and 1 <= len(self.unit) <= 100):
            raise ParameterError("the unit of privacy is one word or two: record, patient, customer")
        if self.contribution != 1:
            raise ParameterError(
                f"a unit with {self.contribution} records is not accounted for here, where each event is about one: "
                'join the records of a unit into one row, or protect the record (unit="record")'
            )
        if self.relation not in ("", "derived", "part") or bool(self.relation) != bool(self.parent):
            raise ParameterError('a data set with a parent is "derived" from it, or a disjoint "part" of it')
        check_texts(self.about)


def check_texts(texts: Mapping[str, str]) -> None:
    """Refuse details that are not short texts. Raises `ParameterError`."""
    whole = len(texts) <= MAX_ABOUT and all(
        isinstance(key, str) and isinstance(value, str) and 0 < len(key) <= 100 and len(value) <= _MAX_TEXT
        for key, value in texts.items()
    )
    if not whole:
        raise ParameterError(f"details are at most {MAX_ABOUT} short texts, each under a name")
    if not all(key.isprintable() and value.isprintable() for key, value in texts.items()):
        raise ParameterError(
            "what stands on a ledger is one line of printable text, without control characters"
        )


@dataclass
class DataSet:
    """A data set as the records so far tell it."""

    name: str
    budget: Budget
    description: Description
    sequence: int
    events: Counter[str] = field(default_factory=Counter)
    """How often each event (its canonical text) was charged."""
    unprotected: list[int] = field(default_factory=list)
    """Records of what was released without differential privacy."""
    refusals: list[int] = field(default_factory=list)

    def own(self, order: int) -> Spent:
        """What was charged to this data set itself, at one order."""
        total = Spent()
        for text, count in sorted(self.events.items()):
            total = total.plus(cost(text, count, order))
        return total


_costs: dict[tuple[str, int], Spent] = {}


def cost(text: str, count: int, order: int) -> Spent:
    """What `count` events of this canonical text cost at one order. Raises `Unaccountable`."""
    known = _costs.get((text, order))
    if known is None:
        known = _costs[text, order] = _cost(events.loads(text), order)
    return Spent(count * known.divergence, count * known.epsilon, count * known.delta)


def _cost(event: Event, order: int) -> Spent:
    rest, epsilon, delta = rdp.split(event)
    return Spent(0.0 if rest is None else rdp.divergence(rest, order), epsilon, delta)


def describe_from(fields: Mapping[str, Any]) -> Description:
    """Read the description from an `open` record. Raises `ParameterError`, `KeyError`, `TypeError`."""
    return Description(
        unit=fields["unit"],
        contribution=int(fields["contribution"]),
        parent=fields["parent"],
        relation=fields["relation"],
        content=bytes.fromhex(fields["content"]),
        about=dict(fields["about"]),
    )
