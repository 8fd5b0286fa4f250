"""The ledger's state, replayed from its records: who has spent what, and what may still be admitted.

The writer and the offline verifier share it, so that both hold the same rules. A charge on one data set is also
one on those it descends from and on those that share its units:

    total(X)     = own(X) + sum of total over derived children + max of total over disjoint parts
    inherited(X) = what the parent spent itself and inherits, and total of those siblings that share X's units
    loss(X)      = total(X) + inherited(X), at most X's budget
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from silo.card import check_name
from silo.errors import ParameterError
from silo.privacy import events, record
from silo.privacy.budget import Budget, Spent
from silo.privacy.dataset import NEIGHBOURING, DataSet, cost, describe_from
from silo.privacy.errors import LedgerCorrupt, NotCovered, PrivacyBudgetExceeded
from silo.privacy.events import Event
from silo.privacy.head import Head, SealedHead, Witnessed

MAX_COUNT: Final = 10**12
_MOST_WORLDS: Final = 64


@dataclass
class Reserved:
    """One reservation as the records tell it."""

    dataset: str
    event: str
    count: int
    purpose: str
    plan: str
    sequence: int
    executed: int | None = None
    """None while it is open; then, and after a crash, all of it counts as spent."""

    @property
    def charged(self) -> int:
        return self.count if self.executed is None else self.executed


@dataclass
class Books:
    """The state after a record; `apply` takes the next one."""

    ledger: bytes = b""
    owner: str = ""
    key: bytes = b""
    time: datetime | None = None
    datasets: dict[str, DataSet] = field(default_factory=dict)
    reservations: dict[str, Reserved] = field(default_factory=dict)
    frozen: str = ""
    """Why nothing may be reserved; empty when all is well."""
    substance: int = 0
    """The newest record that is not itself a witness."""
    witnessed: dict[str, Witnessed] = field(default_factory=dict)
    """The highest head of this ledger that each partner countersigned."""
    heads: dict[str, list[SealedHead]] = field(default_factory=dict)
    """All heads that each partner showed: where a fork has overtaken them, the older ones prove it."""
    covered: set[str] = field(default_factory=set)
    """Reservations that something was released for."""

    @property
    def seen(self) -> dict[str, SealedHead]:
        """The highest head that each partner showed."""
        return {peer: heads[-1] for peer, heads in self.heads.items()}

    def apply(self, sequence: int, fields: Mapping[str, Any]) -> None:
        """Take one record's body. Raises `LedgerCorrupt`; a record that breaks a rule changes nothing."""
        try:
            time = record.moment(fields["time"])
            if self.time is not None and time < self.time:
                raise LedgerCorrupt(sequence, "is older than the one before it")
            if (fields["kind"] == "ledger") != (sequence == 1):
                raise LedgerCorrupt(sequence, "is out of its place: a ledger begins with its owner, once")
            getattr(self, f"_apply_{fields['kind']}")(sequence, fields)
            self.time = time
            if fields["kind"] != "witness":
                self.substance = sequence
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise LedgerCorrupt(sequence, "is not in the ledger's form") from None

    def dataset(self, name: str) -> DataSet:
        """A data set by its name. Raises `ParameterError`."""
        found = self.datasets.get(name)
        if found is None:
            known = ", ".join(self.datasets) or "none"
            raise ParameterError(
                f"the ledger has no data set {name!r} (it has {known}): open its budget first, "
                f"with `silo ledger open LEDGER --dataset {name} --epsilon … --delta …`"
            )
        return found

    def spent(self, name: str, order: int | None = None) -> Spent:
        """Loss of a data set's units, from all charges that can concern them, at the order of its filter."""
        at = self.dataset(name).budget.order if order is None else order
        return self._total(name, at).plus(self._inherited(name, at))

    def check_room(self, name: str, text: str, count: int) -> None:
        """Raise `PrivacyBudgetExceeded` unless so many events fit every budget that they concern."""
        target = self.dataset(name)
        if not 1 <= count <= MAX_COUNT:
            raise ParameterError(f"a reservation is for 1 to {MAX_COUNT} events, not {count}")
        cost(text, count, target.budget.order)
        before = {other: self.spent(other) for other in self._relatives(name)}
        target.events[text] += count
        try:
            for other, spent in before.items():
                budget = self.datasets[other].budget
                asked = self.spent(other)
                # Infinity, or much over the budget, stays as it is whatever is added.
                if (other == name or asked != spent) and not budget.admits(asked):
                    raise PrivacyBudgetExceeded(
                        other, budget.filter_epsilon(spent), budget.filter_epsilon(asked), budget.epsilon
                    )
        finally:
            target.events[text] -= count
            if not target.events[text]:
                del target.events[text]

    def worlds(self, name: str) -> list[Event]:
        """Everything that a unit of this data set can have met; with disjoint parts, one for each.

        The loss is the largest over these.
        """
        counted = _cross(self._total_worlds(name), self._inherited_worlds(name))
        return [_composed(one) for one in counted]

    def unprotected(self, name: str) -> list[int]:
        """Records of releases without differential privacy that concern this data set's units."""
        return sorted(
            number for other in self._relatives(name) for number in self.datasets[other].unprotected
        )

    def children(self, name: str, relation: str) -> list[str]:
        return [
            one.name
            for one in self.datasets.values()
            if one.description.parent == name and one.description.relation == relation
        ]

    def _total(self, name: str, order: int) -> Spent:
        total = self.datasets[name].own(order)
        for child in self.children(name, "derived"):
            total = total.plus(self._total(child, order))
        return total.plus(self._widest(self.children(name, "part"), order))

    def _inherited(self, name: str, order: int) -> Spent:
        here = self.datasets[name].description
        if not here.parent:
            return Spent()
        total = self.datasets[here.parent].own(order).plus(self._inherited(here.parent, order))
        for sibling in self.children(here.parent, "derived"):
            if sibling != name:
                total = total.plus(self._total(sibling, order))
        if here.relation == "derived":
            total = total.plus(self._widest(self.children(here.parent, "part"), order))
        return total

    def _widest(self, parts: list[str], order: int) -> Spent:
        widest = Spent()
        for part in parts:
            widest = widest.most(self._total(part, order))
        return widest

    def _total_worlds(self, name: str) -> list[Counter[str]]:
        found = [Counter(self.datasets[name].events)]
        for child in self.children(name, "derived"):
            found = _cross(found, self._total_worlds(child))
        return _cross(found, self._part_worlds(name))

    def _inherited_worlds(self, name: str) -> list[Counter[str]]:
        here = self.datasets[name].description
        if not here.parent:
            return [Counter()]
        found = [Counter(self.datasets[here.parent].events)]
        found = _cross(found, self._inherited_worlds(here.parent))
        for sibling in self.children(here.parent, "derived"):
            if sibling != name:
                found = _cross(found, self._total_worlds(sibling))
        return _cross(found, self._part_worlds(here.parent)) if here.relation == "derived" else found

    def _part_worlds(self, name: str) -> list[Counter[str]]:
        parts = self.children(name, "part")
        return [world for part in parts for world in self._total_worlds(part)] or [Counter()]

    def _relatives(self, name: str) -> Iterator[str]:
        """The whole family: everything with the same first ancestor."""
        root = self._root(name)
        return (other for other in list(self.datasets) if self._root(other) == root)

    def _root(self, name: str) -> str:
        while parent := self.dataset(name).description.parent:
            name = parent
        return name

    def _apply_ledger(self, sequence: int, fields: Mapping[str, Any]) -> None:
        ledger, key, owner = (
            bytes.fromhex(fields["ledger"]),
            bytes.fromhex(fields["key"]),
            str(fields["owner"]),
        )
        self.ledger, self.key, self.owner = ledger, key, owner

    def _apply_open(self, sequence: int, fields: Mapping[str, Any]) -> None:
        name, terms = fields["dataset"], fields["budget"]
        description = describe_from(fields)
        if fields["neighbouring"] != NEIGHBOURING:
            raise LedgerCorrupt(sequence, "counts another neighbouring relation than this Silo")
        budget = Budget(float(terms["epsilon"]), float(terms["delta"]), int(terms["order"]))
        self.check_new(name, description.parent, description.content)
        self.datasets[name] = DataSet(name, budget, description, sequence)

    def check_new(self, name: str, parent: str, content: bytes) -> None:
        """Raise `ParameterError` for a name that is none, or for a name or records that already have a budget."""
        check_name(name)
        if name in self.datasets:
            have = self.datasets[name].budget
            raise ParameterError(
                f"the data set {name} already has a budget, epsilon {have.epsilon:g} at delta {have.delta:g}, and a "
                f'budget never refills: go on with it (ledger.account("{name}"))'
            )
        if parent:
            self.dataset(parent)
        for other in self.datasets.values():
            if content and other.description.content == content:
                raise ParameterError(
                    f"these records already have a budget, under the name {other.name}: "
                    "go on with it, or open them as derived from it"
                )

    def check_charges(self, name: str, charges: Sequence[str], what: str) -> None:
        """Raise `NotCovered` unless each of these reservations was charged to `name` and paid for nothing yet."""
        for identifier in charges:
            one = self.reservations.get(identifier)
            if one is None or one.dataset != name or not one.charged or identifier in self.covered:
                raise NotCovered(
                    f"this {what} of {name} names a charge that the ledger does not hold, or that paid for another "
                    "release: reserve its noise first"
                )
        if not charges or len(set(charges)) != len(charges):
            raise NotCovered(f"this {what} of {name} names no charge, or one twice: reserve its noise first")

    def _apply_reserve(self, sequence: int, fields: Mapping[str, Any]) -> None:
        self._check_frozen(sequence)
        identifier, count = fields["reservation"], int(fields["count"])
        text = record.canonical(fields["event"])
        if identifier in self.reservations:
            raise LedgerCorrupt(sequence, "reserves under a number that was used before")
        events.loads(text)
        try:
            self.check_room(fields["dataset"], text, count)
        except PrivacyBudgetExceeded as problem:
            raise LedgerCorrupt(
                sequence,
                f"was admitted beyond the budget of {problem.dataset} ({problem.asked:.3f} > {problem.limit:g})",
            ) from None
        self.reservations[identifier] = Reserved(
            fields["dataset"], text, count, str(fields["purpose"]), str(fields["plan"]), sequence
        )
        self.datasets[fields["dataset"]].events[text] += count

    def _check_frozen(self, sequence: int) -> None:
        if self.frozen:
            raise LedgerCorrupt(sequence, f"reserves although the ledger is frozen ({self.frozen})")

    def _apply_close(self, sequence: int, fields: Mapping[str, Any]) -> None:
        found, executed = self.reservations[fields["reservation"]], int(fields["executed"])
        if found.executed is not None or not 0 <= executed <= found.count:
            raise LedgerCorrupt(sequence, "closes a reservation that is closed, or with more than it had")
        found.executed = executed
        own = self.datasets[found.dataset].events
        own[found.event] -= found.count - executed
        if own[found.event] == 0:
            del own[found.event]

    def _apply_commit(self, sequence: int, fields: Mapping[str, Any]) -> None:
        self.dataset(fields["dataset"])
        bytes.fromhex(fields["artefact"])

    def _apply_refuse(self, sequence: int, fields: Mapping[str, Any]) -> None:
        self.dataset(fields["dataset"]).refusals.append(sequence)

    def _apply_release(self, sequence: int, fields: Mapping[str, Any]) -> None:
        self.dataset(fields["dataset"]).unprotected.append(sequence)

    def _apply_adjust(self, sequence: int, fields: Mapping[str, Any]) -> None:
        text, count = record.canonical(fields["event"]), int(fields["count"])
        target = self.dataset(fields["dataset"])
        if not 0 <= count <= MAX_COUNT:
            raise LedgerCorrupt(sequence, "adjusts by a count that is none")
        cost(text, count, target.budget.order)
        if not str(fields["reason"]).strip() or fields["lift"] not in ("yes", "no"):
            raise LedgerCorrupt(sequence, "adjusts without a reason")
        if count:
            target.events[text] += count
        if fields["lift"] == "yes":
            self.frozen = ""

    def _apply_cover(self, sequence: int, fields: Mapping[str, Any]) -> None:
        charges = list(fields["reservations"])
        try:
            self.check_charges(fields["dataset"], charges, str(fields["purpose"]))
        except NotCovered:
            raise LedgerCorrupt(sequence, "releases something for charges that do not cover it") from None
        self.covered.update(charges)

    def _apply_freeze(self, sequence: int, fields: Mapping[str, Any]) -> None:
        reason = str(fields["reason"])
        if not reason:
            raise LedgerCorrupt(sequence, "freezes without a reason, which would end a freeze")
        self.frozen = reason

    def _apply_witness(self, sequence: int, fields: Mapping[str, Any]) -> None:
        witnessed = dict(self.witnessed)
        for line in fields["countersigned"]:
            one = Witnessed.parse(line)
            known = witnessed.get(one.witness)
            if one.owner != self.owner or one.head.ledger != self.ledger or one.head.sequence >= sequence:
                raise LedgerCorrupt(sequence, "holds a witness of another ledger")
            if known is None or one.head.sequence > known.head.sequence:
                witnessed[one.witness] = one
        seen = [(str(peer), SealedHead.parse(line)) for peer, line in fields["seen"].items()]
        self.witnessed = witnessed
        for peer, head in seen:
            self.heads.setdefault(peer, []).append(head)

    def head(self, sequence: int, digest: bytes) -> Head:
        return Head(self.ledger, sequence, digest)


def _cross(ours: list[Counter[str]], others: list[Counter[str]]) -> list[Counter[str]]:
    if len(ours) * len(others) <= _MOST_WORLDS:
        return [one + other for one in ours for other in others]
    # Too many combinations: the sum of all covers each of them.
    everything: Counter[str] = Counter()
    for world in (*ours, *others):
        everything += world
    return [everything]


def _composed(counted: Mapping[str, int]) -> Event:
    parts: list[Event] = []
    for text, count in sorted(counted.items()):
        if count > 0:
            one = events.loads(text)
            parts.append(one if count == 1 else events.Repeated(one, count))
    return events.Composed(tuple(parts))
