"""A verified ledger over time: what each record made of every data set's spend.

The filter's epsilon is followed through every record. The PLD accountant's takes a second or so at a time, and is
asked at some twenty records per data set: at its opening and where runs end, spread over all of them, and
always at the last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from silo.errors import ParameterError, UsageError
from silo.privacy import events, record
from silo.privacy.accountants.rdp import RDP
from silo.privacy.books import Books
from silo.privacy.budget import Budget
from silo.privacy.errors import Unaccountable
from silo.privacy.events import Event
from silo.privacy.verify import Verified

MOST_PLD_POINTS: Final = 20

Fields = Mapping[str, Any]
Bound = Callable[[Event, float], float]
"""Epsilon of an event at delta; raises `Unaccountable`."""


@dataclass(frozen=True, slots=True)
class Point:
    """An epsilon as it stood after a record."""

    sequence: int
    time: datetime
    epsilon: float


@dataclass(frozen=True, slots=True)
class Line:
    """A record of which only the fields are shown."""

    sequence: int
    time: datetime
    fields: Fields


@dataclass
class Release:
    """All reservations of one event under one plan."""

    number: int
    dataset: str
    plan: str
    event: Event
    first: Line
    last: Line
    purposes: list[str] = field(default_factory=list)
    details: list[object] = field(default_factory=list)
    """As each reservation stated them; what is stated again is kept once."""
    reserved: int = 0
    executed: int = 0
    open: int = 0
    """Uses in reservations that never closed: they count as spent."""
    alone: float | None = None
    """Epsilon of this release by itself; None where there is no bound."""
    filter_after: float = 0.0
    pld_after: float | None = None
    artefacts: list[str] = field(default_factory=list)

    @property
    def charged(self) -> int:
        return self.executed + self.open


@dataclass
class Course:
    """One data set from its opening on; relatives' charges are in it as far as they concern its units."""

    name: str
    unit: str
    budget: Budget
    opened: datetime
    end: datetime
    filter: list[Point] = field(default_factory=list)
    pld: list[Point] = field(default_factory=list)
    unprotected: list[datetime] = field(default_factory=list)
    refused: list[datetime] = field(default_factory=list)
    alone_by: str = "PLD"
    """The accountant of what releases cost alone."""


@dataclass
class History:
    """Everything that happened, in the order of the records."""

    courses: dict[str, Course] = field(default_factory=dict)
    releases: list[Release] = field(default_factory=list)
    lines: dict[str, list[Line]] = field(default_factory=dict)
    """The records of the other kinds, by kind."""
    accounted: bool = True
    """False where the PLD accountant is not installed."""

    def of(self, kind: str) -> list[Line]:
        return self.lines.get(kind, [])


def history(verified: Verified, *, points: int = MOST_PLD_POINTS) -> History:
    """Replay the records; `points` is the most often that PLD is asked per data set."""
    bound = _pld()
    replay = _Replay(verified, points if bound else 0)
    for sequence, fields in verified.bodies:
        replay.take(sequence, fields)
    found = replay.found
    found.accounted = bound is not None
    if bound:
        _account(found, replay.worlds, bound)
    for course in found.courses.values():
        _alone(course, [one for one in found.releases if one.dataset == course.name], bound, points)
    return found


class _Replay:
    def __init__(self, verified: Verified, points: int) -> None:
        self.books = Books()
        self.found = History()
        self.worlds: list[tuple[str, Line, list[Event]]] = []
        """What a data set's units had met at a record, for the accountant."""
        self._end = verified.books.time
        self._releases: dict[tuple[str, str, str], Release] = {}
        self._newest: dict[tuple[str, str], Release] = {}
        self._of: dict[str, Release] = {}
        self._counts: dict[str, int] = {}
        self._wanted = _wanted(verified, points)

    def take(self, sequence: int, fields: Fields) -> None:
        self.books.apply(sequence, fields)
        kind, line = fields["kind"], Line(sequence, record.moment(fields["time"]), fields)
        if kind == "reserve":
            self._reserve(line)
        elif kind == "close":
            self._close(line)
        else:
            self.found.lines.setdefault(kind, []).append(line)
        if kind == "open":
            one = self.books.dataset(fields["dataset"])
            self.found.courses[one.name] = Course(
                one.name, one.description.unit, one.budget, line.time, self._end or line.time
            )
        elif kind == "commit":
            self._commit(fields)
        elif kind == "refuse":
            self.found.courses[fields["dataset"]].refused.append(line.time)
        elif kind == "release":
            for name in self._family(fields["dataset"]):
                self.found.courses[name].unprotected.append(line.time)
        if kind in ("open", "reserve", "close", "adjust"):
            self._follow(line, self._target(fields))

    def _follow(self, line: Line, dataset: str) -> None:
        for name in self._family(dataset):
            course = self.found.courses[name]
            epsilon = course.budget.filter_epsilon(self.books.spent(name))
            course.filter.append(Point(line.sequence, line.time, epsilon))
            if line.sequence in self._wanted or (line.fields["kind"] == "open" and name == dataset):
                self.worlds.append((name, line, self.books.worlds(name)))

    def _reserve(self, line: Line) -> None:
        fields = line.fields
        identifier, event = fields["reservation"], events.from_json(fields["event"])
        key = (fields["dataset"], str(fields["plan"]) or identifier, record.canonical(fields["event"]))
        release = self._releases.get(key)
        if release is None:
            number = len(self.found.releases) + 1
            release = Release(number, fields["dataset"], str(fields["plan"]), event, line, line)
            self._releases[key] = release
            self.found.releases.append(release)
        purpose, details = str(fields["purpose"]), fields.get("details")
        if purpose not in release.purposes:
            release.purposes.append(purpose)
        if details not in release.details:
            release.details.append(details)
        self._of[identifier], self._counts[identifier] = release, int(fields["count"])
        release.reserved += self._counts[identifier]
        release.open += self._counts[identifier]
        self._newest[release.dataset, release.plan or purpose] = release
        self._touch(release, line)

    def _close(self, line: Line) -> None:
        release = self._of[line.fields["reservation"]]
        release.open -= self._counts[line.fields["reservation"]]
        release.executed += int(line.fields["executed"])
        self._touch(release, line)

    def _touch(self, release: Release, line: Line) -> None:
        budget = self.books.dataset(release.dataset).budget
        release.last = line
        release.filter_after = budget.filter_epsilon(self.books.spent(release.dataset))

    def _commit(self, fields: Fields) -> None:
        """A digest belongs to the newest release of its plan, or purpose where there is no plan."""
        found = self._newest.get((fields["dataset"], str(fields.get("plan") or fields.get("purpose"))))
        if found is not None:
            found.artefacts.append(fields["artefact"])

    def _target(self, fields: Fields) -> str:
        if fields["kind"] == "close":
            return self._of[fields["reservation"]].dataset
        return str(fields["dataset"])

    def _family(self, name: str) -> list[str]:
        parents = _parents(self.books)
        root = _root(parents, name)
        return [other for other in parents if _root(parents, other) == root]


def _wanted(verified: Verified, points: int) -> frozenset[int]:
    """The records at which PLD is asked: where runs end, thinned to `points` for each family of data sets."""
    parents = _parents(verified.books)
    ends: dict[str, dict[object, int]] = {}
    run: dict[str, tuple[str, str]] = {}
    for sequence, fields in verified.bodies:
        if fields["kind"] == "reserve":
            identifier = fields["reservation"]
            run[identifier] = (fields["dataset"], str(fields["plan"]) or identifier)
            ends.setdefault(_root(parents, fields["dataset"]), {})[run[identifier]] = sequence
        elif fields["kind"] == "close":
            key = run[fields["reservation"]]
            ends[_root(parents, key[0])][key] = sequence
        elif fields["kind"] == "adjust":
            ends.setdefault(_root(parents, fields["dataset"]), {})[sequence] = sequence
    return frozenset(one for family in ends.values() for one in _thin(sorted(family.values()), points))


def _thin(every: Sequence[int], most: int) -> list[int]:
    """At most `most` of them, evenly, with the last."""
    if len(every) <= most:
        return list(every)
    return [every[(place + 1) * len(every) // most - 1] for place in range(most)]


def _parents(books: Books) -> dict[str, str]:
    return {one.name: one.description.parent for one in books.datasets.values()}


def _root(parents: Mapping[str, str], name: str) -> str:
    while parent := parents[name]:
        name = parent
    return name


def _alone(course: Course, releases: Sequence[Release], bound: Bound | None, most: int) -> None:
    """What each release costs by itself: by PLD as long as that is `most` figures, else all by RDP."""
    events_of = {id(one): _charged(one) for one in releases}
    if bound is None or len(set(events_of.values())) > most:
        bound, course.alone_by = RDP().epsilon, "RDP"
    known: dict[Event, float | None] = {}
    for one in releases:
        event = events_of[id(one)]
        if event not in known:
            known[event] = _or_none(bound, event, course.budget.delta)
        one.alone = known[event]


def _charged(release: Release) -> Event:
    return events.Repeated(release.event, release.charged) if release.charged else events.Composed(())


def _account(found: History, worlds: Sequence[tuple[str, Line, list[Event]]], bound: Bound) -> None:
    last: dict[str, tuple[list[Event], float | None]] = {}
    for name, line, met in worlds:
        course = found.courses[name]
        before = last.get(name)
        if before is not None and before[0] == met:
            epsilon = before[1]
        else:
            each = [_or_none(bound, world, course.budget.delta) for world in met]
            epsilon = None if None in each else max(one for one in each if one is not None)
        last[name] = (met, epsilon)
        if epsilon is None:
            continue
        course.pld.append(Point(line.sequence, line.time, epsilon))
        for release in found.releases:
            if release.dataset == name and release.last.sequence == line.sequence:
                release.pld_after = epsilon


def _or_none(bound: Bound, event: Event, delta: float) -> float | None:
    try:
        return bound(event, delta)
    except (Unaccountable, ParameterError):
        return None


def _pld() -> Bound | None:
    try:
        from silo.privacy.accountants.pld import PLD
    except UsageError:
        return None
    return PLD().epsilon
