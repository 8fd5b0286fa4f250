"""The charter: the agreement of the members, one frozen value with one digest.

A charter that exists is sound: its figures were checked when it was made, and no signature in it is
false. Whether everybody signed, and whether it still holds today, is asked with `require_signed`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path

from silo import expiry
from silo.card import Card
from silo.charter import checks, signatures
from silo.charter.terms import (
    Intersection,
    Limits,
    Privacy,
    Relay,
    Signature,
    SumTerms,
    Task,
    Times,
    Vertical,
)
from silo.errors import CharterError, NotAllowed, NotSigned
from silo.identity import Identity

VERSION = 1


@dataclass(frozen=True)
class Charter:
    """Members, relay, sum, times, receivers, tasks, privacy, signatures; each list is in the order of its names."""

    name: str
    created: datetime
    expires: datetime
    relay: Relay
    members: tuple[Card, ...]
    sum: SumTerms
    time: Times
    receivers: tuple[str, ...]
    tasks: tuple[Task, ...]
    signatures: tuple[Signature, ...] = ()
    privacy: tuple[Privacy, ...] = ()
    intersection: Intersection | None = None
    """None: members compare no identifiers."""
    vertical: Vertical | None = None
    """None: members fit no models over columns of the same rows."""
    path: str = field(default="charter.toml", compare=False)
    """Where it was read from or written to; part of messages only, not of the agreement."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", tuple(sorted(self.members, key=lambda card: card.name)))
        object.__setattr__(self, "tasks", tuple(sorted(self.tasks, key=lambda task: task.name)))
        object.__setattr__(self, "privacy", tuple(sorted(self.privacy, key=lambda one: one.member)))
        object.__setattr__(self, "signatures", tuple(sorted(self.signatures, key=lambda one: one.member)))
        checks.check_form(self)
        checks.check_sum(self)
        signatures.check(self)

    @classmethod
    def new(
        cls,
        name: str,
        *,
        relay: Relay,
        members: Iterable[Card],
        tasks: Iterable[Task],
        now: datetime,
        expires: datetime,
        sum: SumTerms | None = None,
        time: Times | None = None,
        receivers: Iterable[str] = ("*",),
        privacy: Iterable[Privacy] = (),
        intersection: Intersection | None = None,
        vertical: Vertical | None = None,
    ) -> Charter:
        """Write an agreement that nobody has signed yet. Raises `CharterError`."""
        cards = tuple(members)
        terms = sum or SumTerms.for_members(len(cards))
        start, end = (moment.replace(microsecond=0) for moment in (now, expires))
        whole = tuple(replace(task, expires=task.expires.replace(microsecond=0)) for task in tasks)
        charter = cls(
            name,
            start,
            end,
            relay,
            cards,
            terms,
            time or Times(),
            tuple(receivers),
            whole,
            privacy=tuple(privacy),
            intersection=intersection,
            vertical=vertical,
        )
        charter.check_dates(now)
        return charter

    @classmethod
    def load(cls, path: str | Path, *, now: datetime | None = None) -> Charter:
        """Read a charter that holds today (or at `now`). Raises a `CharterError`."""
        charter = cls.read(path)
        charter.check_dates(now or expiry.utc_now())
        return charter

    @classmethod
    def read(cls, path: str | Path) -> Charter:
        """Read a charter that may have expired, to show or audit it. Raises a `CharterError`."""
        from silo.charter import file

        return file.read(path)

    def save(self, path: str | Path) -> None:
        """Write the TOML file, all of it or nothing."""
        from silo.charter import file

        file.write(self, path)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the agreement without signatures, however the file is laid out; 32 bytes."""
        return signatures.digest(self)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(card.name for card in self.members)

    @property
    def keys(self) -> Mapping[str, bytes]:
        """The pinned signing key of each member."""
        return {card.name: card.key for card in self.members}

    @property
    def signed_by(self) -> tuple[str, ...]:
        return tuple(one.member for one in self.signatures)

    @property
    def unsigned(self) -> tuple[str, ...]:
        return tuple(name for name in self.names if name not in self.signed_by)

    def member(self, name: str) -> Card:
        """The card of a member. Raises `NotAllowed` for somebody else."""
        for card in self.members:
            if card.name == name:
                return card
        raise NotAllowed(f"{name!r} is not a member", ", ".join(self.names), name)

    def task(self, name: str | None = None) -> Task:
        """A task by its name; without a name the only one. Raises `NotAllowed`."""
        listed = ", ".join(task.name for task in self.tasks)
        if name is None:
            if len(self.tasks) != 1:
                raise NotAllowed("several tasks are listed and none was named", listed, "none")
            return self.tasks[0]
        for task in self.tasks:
            if task.name == name:
                return task
        raise NotAllowed(f"task {name!r} is not listed", listed, name)

    def policy(self, name: str) -> Privacy | None:
        """The privacy policy of a member's data set; None where the charter has none."""
        return next((one for one in self.privacy if one.member == name), None)

    def limits(self, task: Task | str | None = None) -> Limits:
        """The caps of a task; it ends with the charter at the latest."""
        one = task if isinstance(task, Task) else self.task(task)
        return Limits(one.name, one.rounds, one.rows, one.bytes, min(one.expires, self.expires))

    def receives(self, name: str) -> bool:
        """Whether a member gets results."""
        return "*" in self.receivers or name in self.receivers

    def recognise(self, identity: Identity) -> Card:
        """The entry of this identity, member or relay. Raises `CharterError` when its keys differ."""
        cards = {card.name: card for card in (*self.members, self.relay.card)}
        card = cards.get(identity.name)
        if card is None:
            raise NotAllowed(
                f"{identity.name!r} is neither a member nor the relay", ", ".join(cards), identity.name
            )
        if card != identity.card:
            raise CharterError(
                f"the charter names another {identity.name} ({card.fingerprint}) than this identity "
                f"({identity.card.fingerprint}): send your card again and have a new charter made"
            )
        return card

    def sign(self, identity: Identity) -> Charter:
        """Add this member's signature; signing twice changes nothing. Raises `CharterError`."""
        self.recognise(identity)
        self.member(identity.name)
        return self.with_signature(identity.name, signatures.sign(self, identity))

    def signature(self, member: str) -> bytes:
        """A member's signature. Raises `NotSigned`."""
        for one in self.signatures:
            if one.member == member:
                return one.value
        raise NotSigned([member], self.path)

    def with_signature(self, member: str, value: bytes) -> Charter:
        """Add a signature that somebody brought, if it is true. Raises `ChangedAfterSigning`."""
        others = tuple(one for one in self.signatures if one.member != member)
        return replace(self, signatures=(*others, Signature(member, value)))

    def add_signatures(self, other: Charter) -> Charter:
        """Take over the signatures of another copy. Raises `CharterError` for another charter."""
        if other.digest != self.digest:
            raise CharterError(
                f"{other.path} is another charter ({other.digest.hex()[:16]}) than {self.path} "
                f"({self.digest.hex()[:16]}): its signatures do not count here"
            )
        merged = {one.member: one for one in (*other.signatures, *self.signatures)}
        return replace(self, signatures=tuple(merged.values()))

    def check_dates(self, now: datetime) -> None:
        """Raise `Expired` when the charter or one of its certificates does not hold at `now`."""
        checks.check_dates(self, now)

    def require_signed(self, member: str | None = None, *, now: datetime) -> None:
        """Refuse a charter that has expired, or that `member` (or any) did not sign. Raises `NotSigned`."""
        self.check_dates(now)
        wanted = self.names if member is None else (self.member(member).name,)
        missing = [name for name in wanted if name not in self.signed_by]
        if missing:
            raise NotSigned(missing, self.path)
