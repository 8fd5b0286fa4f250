"""What must survive a crash: steps answered, rounds begun, updates spent, and who was in each sum.

Each mark is on the disk (synchronous=FULL) before what it speaks of leaves the site. Every question and its
mark are one transaction, so two processes cannot both get a yes.

Retry differencing: SUM over S minus SUM over S without d is d's update. So an update, known by its tag (a
digest, never the update itself), that left in a round that did not finish is spent; and one that was summed
is summed again only over the very same survivors.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from silo import database
from silo.errors import (
    CohortChanged,
    JournalError,
    QueriesSpent,
    RoundReplayed,
    StateReused,
    UpdateReused,
    UsageError,
)

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS steps (
    session BLOB NOT NULL, round INTEGER NOT NULL, step TEXT NOT NULL,
    PRIMARY KEY (session, round, step)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rounds (
    session BLOB NOT NULL, round INTEGER NOT NULL, agreement BLOB NOT NULL, task TEXT NOT NULL,
    PRIMARY KEY (session, round)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS rounds_by_task ON rounds (agreement, task);
CREATE TABLE IF NOT EXISTS sessions (
    session BLOB NOT NULL, agreement BLOB NOT NULL, task TEXT NOT NULL,
    PRIMARY KEY (agreement, task, session)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS updates (
    tag BLOB NOT NULL, session BLOB NOT NULL, round INTEGER NOT NULL, survivors TEXT,
    PRIMARY KEY (tag, session, round)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS updates_by_round ON updates (session, round);
CREATE TABLE IF NOT EXISTS cohorts (
    number INTEGER PRIMARY KEY, session BLOB NOT NULL, round INTEGER NOT NULL, survivors TEXT NOT NULL,
    UNIQUE (session, round));
CREATE TABLE IF NOT EXISTS queries (
    agreement BLOB NOT NULL, session BLOB NOT NULL, round INTEGER NOT NULL,
    PRIMARY KEY (agreement, session, round)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fits (
    agreement BLOB NOT NULL, session BLOB NOT NULL, round INTEGER NOT NULL,
    PRIMARY KEY (agreement, session, round)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS scorings (
    agreement BLOB NOT NULL, session BLOB NOT NULL, round INTEGER NOT NULL,
    PRIMARY KEY (agreement, session, round)) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class Participation:
    """One finished sum and who was in it, in order of their names."""

    session: bytes
    round: int
    survivors: tuple[str, ...]


class Journal:
    """The journal of one identity."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self.path = path

    @classmethod
    def open(cls, path: str | Path) -> Journal:
        """Open or make a journal. Raises `JournalError`."""
        try:
            return cls(database.connect(Path(path), _SCHEMA, "FULL"), Path(path))
        except (sqlite3.Error, OSError) as problem:
            raise JournalError(
                f"the journal {path} cannot be opened: {problem}; nothing can be sent"
            ) from None

    def once(self, session: bytes, round: int, step: str) -> None:
        """Mark a step before its answer is sent. Raises `StateReused` if it was marked before."""
        with self._writing():
            try:
                self._connection.execute("INSERT INTO steps VALUES (?, ?, ?)", (session, round, step))
            except sqlite3.IntegrityError:
                raise StateReused(
                    f"step {step!r} of round {round} was already answered in this session: begin a new round"
                ) from None

    def begin_round(self, session: bytes, round: int, *, agreement: bytes = b"", task: str = "") -> None:
        """Begin a round; they only go up. It counts for this task of this charter (its digest).

        Raises `RoundReplayed`.
        """
        with self._writing():
            last = self.last_round(session)
            if round <= last:
                raise RoundReplayed(
                    f"round {round} was asked for and round {last} of this session was already begun: "
                    f"go on with round {last + 1}"
                )
            self._connection.execute(
                "INSERT INTO rounds VALUES (?, ?, ?, ?)", (session, round, agreement, task)
            )

    def last_round(self, session: bytes) -> int:
        """The last round begun in a session; -1 when there is none."""
        row = self._connection.execute(
            "SELECT MAX(round) FROM rounds WHERE session = ?", (session,)
        ).fetchone()
        return -1 if row[0] is None else int(row[0])

    def rounds_of(self, agreement: bytes, task: str) -> int:
        """Rounds begun for a task of a charter, over all sessions: what its cap counts."""
        key = (agreement, task)
        row = self._connection.execute("SELECT COUNT(*) FROM rounds WHERE agreement = ? AND task = ?", key)
        return int(row.fetchone()[0])

    def enter(self, session: bytes, *, agreement: bytes, task: str) -> None:
        """Note that something is about to leave in this session for a task of a charter."""
        with self._writing():
            self._connection.execute(
                "INSERT OR IGNORE INTO sessions VALUES (?, ?, ?)", (session, agreement, task)
            )

    def sessions_of(self, agreement: bytes, task: str) -> list[bytes]:
        """The sessions in which anything left for a task of a charter: what its cap on bytes counts."""
        query = (
            "SELECT session FROM sessions WHERE agreement = ? AND task = ? "
            "UNION SELECT session FROM rounds WHERE agreement = ? AND task = ?"
        )
        return [row[0] for row in self._connection.execute(query, (agreement, task) * 2)]

    def consume(
        self, tag: bytes, session: bytes, round: int, *, changed_cohort: Literal["refuse", "allow"] = "refuse"
    ) -> None:
        """Mark an update as leaving in this round, before it leaves. Raises `UpdateReused`.

        Under a charter whose `changed_cohort` is "allow" the members accept a second sending.
        """
        with self._writing():
            if changed_cohort == "refuse":
                self._refuse_spent(tag)
            self._connection.execute("INSERT INTO updates VALUES (?, ?, ?, NULL)", (tag, session, round))

    def check_update(self, tag: bytes) -> None:
        """Refuse an update that left this site in a round that did not finish. Raises `UpdateReused`."""
        with self._lock:
            self._refuse_spent(tag)

    def check_cohort(self, tag: bytes, survivors: Sequence[str]) -> None:
        """Refuse to have an update summed over other members than before. Raises `CohortChanged`."""
        with self._lock:
            self._refuse_other_cohort(tag, _joined(survivors))

    def settle(self, session: bytes, round: int, survivors: Sequence[str]) -> None:
        """Record that a round ended with a sum over `survivors`; saying it again changes nothing.

        It states what happened; the refusal (`check_cohort`) comes earlier, before this member votes. Raises
        `UsageError` when the round was settled with others.
        """
        names = _joined(survivors)
        with self._writing():
            key = (session, round)
            known = self._connection.execute(
                "SELECT survivors FROM cohorts WHERE session = ? AND round = ?", key
            ).fetchone()
            if known is not None:
                if known[0] != names:
                    raise UsageError(f"round {round} was settled with {known[0]}, and now with {names}")
                return
            self._connection.execute(
                "UPDATE updates SET survivors = ? WHERE session = ? AND round = ?", (names, *key)
            )
            self._connection.execute(
                "INSERT INTO cohorts (session, round, survivors) VALUES (?, ?, ?)", (*key, names)
            )

    def ask(self, agreement: bytes, session: bytes, round: int, most: int) -> None:
        """Count an intersection under this charter, before anything of it leaves. Raises `QueriesSpent`."""
        self._count("queries", agreement, session, round, most, "intersections")

    def fit(self, agreement: bytes, session: bytes, round: int, most: int) -> None:
        """Count a vertical fit under this charter, before anything of it leaves. Raises `QueriesSpent`."""
        self._count("fits", agreement, session, round, most, "vertical fits")

    def score(self, agreement: bytes, session: bytes, round: int, most: int) -> None:
        """Count a vertical scoring under this charter, before anything of it leaves. Raises `QueriesSpent`."""
        self._count("scorings", agreement, session, round, most, "vertical scorings")

    def require_scoring(self, agreement: bytes, most: int) -> None:
        """Refuse, without counting one, where `score` would. Raises `QueriesSpent`."""
        row = self._connection.execute("SELECT COUNT(*) FROM scorings WHERE agreement = ?", (agreement,))
        spent = int(row.fetchone()[0])
        if spent >= most:
            raise QueriesSpent("vertical scorings", spent, most)

    def _count(self, table: str, agreement: bytes, session: bytes, round: int, most: int, what: str) -> None:
        with self._writing():
            row = self._connection.execute(
                f"SELECT COUNT(*) FROM {table} WHERE agreement = ?",  # noqa: S608
                (agreement,),
            )
            spent = int(row.fetchone()[0])
            if spent >= most:
                raise QueriesSpent(what, spent, most)
            self._connection.execute(
                f"INSERT INTO {table} VALUES (?, ?, ?)",  # noqa: S608
                (agreement, session, round),
            )

    def participation(self) -> list[Participation]:
        """Every finished sum, oldest first."""
        rows = self._connection.execute("SELECT session, round, survivors FROM cohorts ORDER BY number")
        return [Participation(session, round, tuple(names.split(","))) for session, round, names in rows]

    def _refuse_spent(self, tag: bytes) -> None:
        row = self._connection.execute(
            "SELECT round FROM updates WHERE tag = ? AND survivors IS NULL", (tag,)
        ).fetchone()
        if row is not None:
            raise UpdateReused(
                f"this update already left in round {row[0]}, which did not finish: "
                "compute a new one, because sending it twice could show it to others"
            )

    def _refuse_other_cohort(self, tag: bytes, names: str) -> None:
        row = self._connection.execute(
            "SELECT round, survivors FROM updates WHERE tag = ? AND survivors IS NOT NULL AND survivors != ?",
            (tag, names),
        ).fetchone()
        if row is not None:
            raise CohortChanged(
                f"this update was summed in round {row[0]} over {row[1]}, and now it would be over {names}: "
                "the difference of the sums would show somebody's input, so compute a new update"
            )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with self._lock, database.writing(self._connection):
                yield
        except sqlite3.Error as problem:
            raise JournalError(
                f"the journal {self.path} cannot be written: {problem}; nothing was sent"
            ) from None

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _joined(survivors: Sequence[str]) -> str:
    return ",".join(sorted(set(survivors)))
