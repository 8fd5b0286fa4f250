"""The ledger of privacy spent: an append-only SQLite file, hash-chained and signed, that outlives every run.

A reservation is one transaction: catch up with what others wrote, ask the filter, append, flush to the disk
(synchronous=FULL), and only then hand out the tokens without which no noise is drawn. A crash after it counts
as spent. Processes may share the file. What a chain on one disk cannot see is that the whole file was replaced
by an older copy: partners countersign the head for that (`silo.privacy.witness`).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from silo import database
from silo.card import check_name
from silo.crypto import labels
from silo.crypto.rng import Rng, SystemRng
from silo.crypto.signing import SigningKey
from silo.errors import ParameterError
from silo.identity import Identity
from silo.privacy import events, key_file, record
from silo.privacy.account import Account
from silo.privacy.books import Books
from silo.privacy.budget import Budget
from silo.privacy.dataset import NEIGHBOURING, Description, check_texts
from silo.privacy.errors import LedgerCorrupt, LedgerError, LedgerForked, PrivacyBudgetExceeded
from silo.privacy.events import Event
from silo.privacy.head import LEDGER_ID_BYTES, Head, SealedHead
from silo.privacy.record import Record
from silo.privacy.reservation import Reservation

CLOCK_SLACK: Final = timedelta(seconds=60)
"""A clock may be set back so far; more is refused, as a record's time would be a lie."""

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS records (
    sequence INTEGER PRIMARY KEY, previous BLOB NOT NULL, body TEXT NOT NULL, hash BLOB NOT NULL,
    signature BLOB NOT NULL)
"""


Append = Callable[..., None]


class Ledger:
    """The ledger of one organisation. Threads and processes may share the file."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        key: SigningKey,
        owner: str,
        *,
        rng: Rng,
        now: Callable[[], datetime],
    ) -> None:
        self._connection = connection
        self._key = key
        self._rng = rng
        self._now = now
        self._lock = threading.RLock()
        self._books = Books()
        self._sequence, self._hash = 0, b""
        self.path = path
        self.owner = owner

    @classmethod
    def open(
        cls,
        path: str | Path,
        identity: Identity | None = None,
        *,
        rng: Rng | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> Ledger:
        """Open a ledger, or begin one. Raises `LedgerError`.

        It is signed with the identity's key; without an identity, with a key of its own in PATH.key (0600).
        """
        target, source = Path(path), rng or SystemRng()
        key = identity.signing if identity else key_file.load_or_make(target, rng=source)
        owner = identity.name if identity else "local"
        try:
            connection = database.connect(target, SCHEMA, "FULL")
        except (sqlite3.Error, OSError) as problem:
            raise LedgerError(
                f"the ledger {path} cannot be opened: {_reason(problem)}; nothing was spent"
            ) from None
        ledger = cls(connection, target, key, owner, rng=source, now=now)
        try:
            ledger._begin()
        except BaseException:
            connection.close()
            raise
        return ledger

    def add(self, name: str, budget: Budget, description: Description | None = None) -> Account:
        """Open the budget of a data set; it is never raised, lowered or refilled. Raises `ParameterError`."""
        check_name(name)
        what = description or Description()
        with self._writing() as append:
            self._books.check_new(name, what.parent, what.content)
            append(
                "open",
                dataset=name,
                budget={
                    "epsilon": repr(float(budget.epsilon)),
                    "delta": repr(float(budget.delta)),
                    "order": str(budget.order),
                },
                unit=what.unit,
                contribution=str(what.contribution),
                neighbouring=NEIGHBOURING,
                parent=what.parent,
                relation=what.relation,
                content=what.content.hex(),
                about=dict(what.about),
            )
        return Account(self, name)

    def account(self, name: str | None = None) -> Account:
        """The account of a data set; without a name the only one. Raises `ParameterError`."""
        books = self.books
        if name is None and len(books.datasets) == 1:
            name = next(iter(books.datasets))
        books.dataset(name or "")
        return Account(self, name or "")

    @property
    def books(self) -> Books:
        """What the records so far say, those of other processes too. To be read only."""
        with self._lock, self._reading():
            self._catch_up()
            return self._books

    @property
    def head(self) -> SealedHead:
        """The newest record under the owner's signature: the line that partners and auditors keep."""
        with self._lock, self._reading():
            self._catch_up()
            row = self._connection.execute(
                "SELECT signature FROM records WHERE sequence = ?", (self._sequence,)
            ).fetchone()
            return SealedHead(Head(self._books.ledger, self._sequence, self._hash), row[0])

    @property
    def substance(self) -> SealedHead:
        """The head at the newest record that is not itself a witness: what is shown to partners."""
        with self._lock, self._reading():
            self._catch_up()
            number = self._books.substance
            row = self._connection.execute(
                "SELECT hash, signature FROM records WHERE sequence = ?", (number,)
            ).fetchone()
            return SealedHead(Head(self._books.ledger, number, row[0]), row[1])

    def records(self) -> Iterator[Record]:
        """All records, in their order."""
        for row in self._connection.execute(
            "SELECT sequence, previous, body, hash, signature FROM records ORDER BY sequence"
        ):
            yield Record(*row)

    def reserve(
        self, name: str, event: Event, count: int, *, purpose: str, details: Mapping[str, str], plan: str
    ) -> Reservation:
        """See `Account.reserve`."""
        identifier = self._rng.bytes(16).hex()
        fields = _fields(name, event, count, purpose, details, plan)

        def write(append: Append) -> None:
            budget, before = self._books.dataset(name).budget, self._books.spent(name)
            append(
                "reserve",
                **fields,
                reservation=identifier,
                divergence_before=repr(before.divergence),
                filter_before=repr(budget.filter_epsilon(before)),
            )

        self._admit(event, count, fields, write)
        return Reservation(self, identifier, event, count)

    def require(
        self, name: str, event: Event, count: int, *, purpose: str, details: Mapping[str, str], plan: str
    ) -> None:
        """See `Account.require`."""
        self._admit(event, count, _fields(name, event, count, purpose, details, plan), lambda append: None)

    def _admit(
        self, event: Event, count: int, fields: Mapping[str, Any], write: Callable[[Append], None]
    ) -> None:
        """Write if so many events fit the budget; else write the refusal, and raise it."""
        refused: PrivacyBudgetExceeded | None = None
        with self._writing() as append:
            if self._books.frozen:
                raise LedgerForked(self._sequence, self._books.frozen, str(self.path))
            try:
                self._books.check_room(fields["dataset"], events.dumps(event), count)
            except PrivacyBudgetExceeded as problem:
                refused = problem
                append(
                    "refuse",
                    **fields,
                    over=problem.dataset,
                    spent=repr(problem.spent),
                    asked=repr(problem.asked),
                    limit=repr(problem.limit),
                )
            else:
                write(append)
        if refused is not None:
            raise refused

    def close_reservation(self, identifier: str, executed: int) -> None:
        """Give back what was not executed, by a signed count."""
        with self._writing() as append:
            append("close", reservation=identifier, executed=str(executed))

    def commit(self, name: str, artefact: bytes, purpose: str, plan: str) -> None:
        """Write down the digest of what was released."""
        with self._writing() as append:
            self._books.dataset(name)
            append("commit", dataset=name, artefact=artefact.hex(), purpose=purpose[:200], plan=plan[:64])

    def release_unprotected(self, name: str, purpose: str, details: Mapping[str, str]) -> None:
        """Write down that something was released without differential privacy: epsilon is then infinite."""
        check_texts(details)
        with self._writing() as append:
            self._books.dataset(name)
            append("release", dataset=name, purpose=purpose[:200], details=dict(details))

    def adjust(self, name: str, event: Event, count: int, *, reason: str, lift: bool = False) -> None:
        """Charge what was spent outside this ledger, or lost from it; `lift` ends a freeze.

        It only ever adds. Raises `ParameterError`.
        """
        if not reason.strip():
            raise ParameterError("an adjustment states its reason")
        with self._writing() as append:
            self._books.dataset(name)
            append(
                "adjust",
                dataset=name,
                event=events.to_json(event),
                count=str(count),
                reason=reason[:2000],
                lift="yes" if lift else "no",
            )

    def check_continues(self, seen: Head, seen_by: str) -> None:
        """Freeze unless this ledger holds a head that was seen before. Raises `LedgerForked`."""
        with self._lock, self._reading():
            self._catch_up()
            same = seen.ledger == self._books.ledger
            row = self._connection.execute(
                "SELECT hash FROM records WHERE sequence = ?", (seen.sequence,)
            ).fetchone()
        if same and row is not None and row[0] == seen.hash:
            return
        if not self.books.frozen:
            with self._writing() as append:
                append(
                    "freeze",
                    reason=f"record {seen.sequence} is not as {seen_by} saw it"[:500],
                    sequence=str(seen.sequence),
                    hash=seen.hash.hex(),
                )
        raise LedgerForked(seen.sequence, seen_by, str(self.path))

    def witness(self, countersigned: list[str], seen: Mapping[str, str]) -> None:
        """Keep partners' countersignatures of this ledger, and the heads that they showed."""
        with self._writing() as append:
            append("witness", countersigned=countersigned, seen=dict(seen))

    def countersign(self, owner: str, head: Head) -> bytes:
        """This owner's word that `owner` showed it this head; 64 bytes."""
        return self._key.sign(labels.LEDGER_WITNESS, head.witness_bytes(owner))

    def _begin(self) -> None:
        with self._lock, self._reading():
            self._catch_up()
        if self._sequence == 0:
            with self._writing() as append:
                if self._sequence == 0:
                    append(
                        "ledger",
                        ledger=self._rng.bytes(LEDGER_ID_BYTES).hex(),
                        owner=self.owner,
                        key=self._key.public.hex(),
                    )
        if self._books.key != self._key.public:
            raise LedgerError(
                f"the ledger {self.path} belongs to {self._books.owner}, whose key is another one: "
                "give the identity that began it"
            )
        self.owner = self._books.owner

    def _catch_up(self) -> None:
        """Take in what other processes wrote. Raises `LedgerCorrupt` or `LedgerForked`."""
        if self._sequence:
            row = self._connection.execute(
                "SELECT hash FROM records WHERE sequence = ?", (self._sequence,)
            ).fetchone()
            if row is None or row[0] != self._hash:
                raise LedgerForked(self._sequence, "this process", str(self.path))
        newest = None
        for row in self._connection.execute(
            "SELECT sequence, previous, body, hash, signature FROM records WHERE sequence > ? ORDER BY sequence",
            (self._sequence,),
        ):
            newest = Record(*row)
            self._take(newest)
        if newest is not None:
            newest.check_signature(self._books.key)

    def _take(self, one: Record) -> None:
        fields = one.fields()
        ledger = self._books.ledger or bytes.fromhex(str(fields.get("ledger", "")))
        if one.sequence != self._sequence + 1:
            raise LedgerCorrupt(self._sequence + 1, "is missing", str(self.path))
        one.check(ledger, self._hash or record.genesis(ledger))
        self._books.apply(one.sequence, fields)
        self._sequence, self._hash = one.sequence, one.hash

    @contextmanager
    def _writing(self) -> Iterator[Callable[..., None]]:
        """One transaction, caught up; what it is given to append is on the disk when it ends."""
        try:
            with self._lock:
                appending = False

                def append(kind: str, **fields: Any) -> None:
                    nonlocal appending
                    appending = True
                    self._append(kind, fields)

                try:
                    with database.writing(self._connection):
                        self._catch_up()
                        yield append
                except BaseException:
                    if appending:
                        self._forget()
                    raise
        except sqlite3.Error as problem:
            raise LedgerError(
                f"the ledger {self.path} cannot be written: {_reason(problem)}; nothing was spent"
            ) from None

    def _append(self, kind: str, fields: dict[str, Any]) -> Record:
        body = record.canonical(
            {"schema": str(record.SCHEMA), "kind": kind, "time": record.timestamp(self._time()), **fields}
        )
        ledger = self._books.ledger or bytes.fromhex(fields["ledger"])
        previous = self._hash or record.genesis(ledger)
        digest = record.digest(ledger, self._sequence + 1, previous, body)
        signature = self._key.sign(labels.LEDGER_SIGNATURE, digest)
        made = Record(self._sequence + 1, previous, body, digest, signature)
        self._connection.execute(
            "INSERT INTO records VALUES (?, ?, ?, ?, ?)",
            (made.sequence, made.previous, made.body, made.hash, made.signature),
        )
        self._take(made)
        return made

    def _forget(self) -> None:
        """A transaction was rolled back after its record was taken: read everything anew."""
        self._books, self._sequence, self._hash = Books(), 0, b""

    def _time(self) -> datetime:
        now, last = self._now(), self._books.time
        if last is None or now >= last:
            return now
        if last - now > CLOCK_SLACK:
            raise LedgerError(
                f"the clock says {now:%Y-%m-%d %H:%M} UTC, and the ledger was last written at "
                f"{last:%Y-%m-%d %H:%M} UTC: set the clock; nothing was spent"
            )
        return last

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as problem:
            raise LedgerError(f"the ledger {self.path} cannot be read: {_reason(problem)}") from None

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _fields(
    name: str, event: Event, count: int, purpose: str, details: Mapping[str, str], plan: str
) -> dict[str, Any]:
    check_texts(details)
    return {
        "dataset": name,
        "event": events.to_json(event),
        "count": str(count),
        "purpose": purpose[:200],
        "plan": plan[:64],
        "details": dict(details),
    }


def _reason(problem: BaseException) -> str:
    return problem.strerror or "" if isinstance(problem, OSError) else str(problem)
