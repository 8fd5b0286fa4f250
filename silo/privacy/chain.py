"""The file under the ledger: records appended one by one, hash-chained and signed, shared by processes.

Every look first takes in what other processes wrote; every write is one transaction that excludes them
(synchronous=FULL), so that what was decided was decided on the whole chain.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from silo import database
from silo.crypto import labels
from silo.crypto.signing import SigningKey
from silo.privacy import record
from silo.privacy.books import Books
from silo.privacy.errors import LedgerCorrupt, LedgerError, LedgerForked
from silo.privacy.head import Head, SealedHead
from silo.privacy.record import Record

CLOCK_SLACK: Final = timedelta(seconds=60)
"""A clock may be set back so far; more is refused, as a record's time would be a lie."""

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS records (
    sequence INTEGER PRIMARY KEY, previous BLOB NOT NULL, body TEXT NOT NULL, hash BLOB NOT NULL,
    signature BLOB NOT NULL)
"""

Append = Callable[..., None]


class Chain:
    """The chain of one owner, and what its records say (`Books`)."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path, key: SigningKey, now: Callable[[], datetime]
    ) -> None:
        self._connection = connection
        self._key = key
        self._now = now
        self._lock = threading.RLock()
        self._books = Books()
        self._sequence, self._hash = 0, b""
        self.path = path

    @classmethod
    def open(cls, path: Path, key: SigningKey, now: Callable[[], datetime]) -> Chain:
        """Open or make the file. Raises `LedgerError`."""
        try:
            connection = database.connect(path, SCHEMA, "FULL")
        except (sqlite3.Error, OSError) as problem:
            raise LedgerError(
                f"the ledger {path} cannot be opened: {_reason(problem)}; nothing was spent"
            ) from None
        return cls(connection, path, key, now)

    @property
    def length(self) -> int:
        """The number of records that are known; look inside `reading` or `writing`."""
        return self._sequence

    @contextmanager
    def reading(self) -> Iterator[Books]:
        """What the records say now; other threads wait meanwhile. Raises `LedgerError`."""
        try:
            with self._lock:
                self._catch_up()
                yield self._books
        except sqlite3.Error as problem:
            raise LedgerError(f"the ledger {self.path} cannot be read: {_reason(problem)}") from None

    @contextmanager
    def writing(self) -> Iterator[tuple[Books, Append]]:
        """One transaction, caught up; what is appended is on the disk when it ends. Raises `LedgerError`."""
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
                        yield self._books, append
                except BaseException:
                    if appending:
                        # The transaction was rolled back after its record was taken: read everything anew.
                        self._books, self._sequence, self._hash = Books(), 0, b""
                    raise
        except sqlite3.Error as problem:
            raise LedgerError(
                f"the ledger {self.path} cannot be written: {_reason(problem)}; nothing was spent"
            ) from None

    def sealed(self, sequence: int | None = None) -> SealedHead:
        """A record's hash under the owner's signature; the newest one by default."""
        with self.reading() as books:
            number = self._sequence if sequence is None else sequence
            row = self._row("hash, signature", number)
            return SealedHead(Head(books.ledger, number, row[0]), row[1])

    def holds(self, head: Head) -> bool:
        """Whether this chain has that record."""
        with self.reading() as books:
            row = self._row("hash", head.sequence)
            return head.ledger == books.ledger and row is not None and row[0] == head.hash

    def records(self) -> Iterator[Record]:
        """All records, in their order."""
        yield from self._after(0)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _catch_up(self) -> None:
        """Take in what other processes wrote. Raises `LedgerCorrupt` or `LedgerForked`."""
        if self._sequence:
            row = self._row("hash", self._sequence)
            if row is None or row[0] != self._hash:
                raise LedgerForked(self._sequence, "this process", str(self.path))
        newest = self._newest()
        if newest is None or newest.sequence == self._sequence:
            return
        ahead = self._after(self._sequence)
        if not self._sequence:
            self._take(next(ahead))
        # Before its records are taken: what was refused once would else count at the next look.
        newest.check_signature(self._books.key, self._books.ledger)
        for one in ahead:
            self._take(one)
            if one.sequence == newest.sequence:
                break

    def _take(self, one: Record) -> None:
        fields = one.fields()
        ledger = self._books.ledger or bytes.fromhex(str(fields.get("ledger", "")))
        if one.sequence != self._sequence + 1:
            raise LedgerCorrupt(self._sequence + 1, "is missing", str(self.path))
        one.check(ledger, self._hash or record.genesis(ledger))
        self._books.apply(one.sequence, fields)
        self._sequence, self._hash = one.sequence, one.hash

    def _append(self, kind: str, fields: dict[str, Any]) -> None:
        body = record.canonical(
            {"schema": str(record.SCHEMA), "kind": kind, "time": record.timestamp(self._time()), **fields}
        )
        ledger = self._books.ledger or bytes.fromhex(fields["ledger"])
        previous = self._hash or record.genesis(ledger)
        digest = record.digest(ledger, self._sequence + 1, previous, body)
        message = record.signed(ledger, self._sequence + 1, digest)
        signature = self._key.sign(labels.LEDGER_SIGNATURE, message)
        made = Record(self._sequence + 1, previous, body, digest, signature)
        self._connection.execute(
            "INSERT INTO records VALUES (?, ?, ?, ?, ?)",
            (made.sequence, made.previous, made.body, made.hash, made.signature),
        )
        self._take(made)

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

    def _after(self, sequence: int) -> Iterator[Record]:
        for row in self._connection.execute(
            "SELECT sequence, previous, body, hash, signature FROM records WHERE sequence > ? ORDER BY sequence",
            (sequence,),
        ):
            yield Record(*row)

    def _newest(self) -> Record | None:
        row = self._connection.execute(
            "SELECT sequence, previous, body, hash, signature FROM records ORDER BY sequence DESC LIMIT 1"
        ).fetchone()
        return None if row is None else Record(*row)

    def _row(self, columns: str, sequence: int) -> Any:
        query = f"SELECT {columns} FROM records WHERE sequence = ?"  # noqa: S608
        return self._connection.execute(query, (sequence,)).fetchone()


def _reason(problem: BaseException) -> str:
    return problem.strerror or "" if isinstance(problem, OSError) else str(problem)
