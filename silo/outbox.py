"""What left this site: one hash-chained entry for every frame, in SQLite.

Each entry's hash covers its fields and the hash of the entry before, so that an edit, a deletion in the
middle or an exchange is found by `verify`. Who can write the file can also write a new chain from some entry
on, or cut the end off: against that, `seal_head` signs the newest hash, and an auditor keeps that line
elsewhere.

WAL with synchronous=NORMAL: an entry survives the death of the process (kill -9), as it is in the operating
system's hands before the frame leaves; only a power failure can take the last entries, and then whole and
from the end, so the chain stays true. synchronous=FULL would cost a disk flush per frame, and no promise of
the protocol rests on this file: what must survive a power failure is in the journal.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from silo import database
from silo.crypto import labels, signing
from silo.errors import InvalidSignature, OutboxCorrupt, ParameterError
from silo.identity import Identity

PROTECTIONS: Final = ("masked", "encrypted", "end-to-end encrypted", "public", "signed", "transport")
"""`transport` stands for what the link itself adds: login, frame headers, acknowledgements."""
LINK: Final = "link"
"""The kind of entries that account for the link's own bytes, so that the sum equals the wire."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sent (
    sequence INTEGER PRIMARY KEY, time INTEGER NOT NULL, session BLOB NOT NULL, round INTEGER NOT NULL,
    recipient TEXT NOT NULL, kind TEXT NOT NULL, protection TEXT NOT NULL, bytes INTEGER NOT NULL,
    digest BLOB NOT NULL, previous BLOB NOT NULL, hash BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS heads (
    sequence INTEGER PRIMARY KEY, hash BLOB NOT NULL, signature BLOB NOT NULL)
"""
_OWNER: Final = "SELECT value FROM about WHERE key = 'name'"
_COLUMNS: Final = "sequence, time, session, round, recipient, kind, protection, bytes, digest, previous, hash"


@dataclass(frozen=True, slots=True)
class Sent:
    """One entry: `time` in UTC, `size` in bytes as on the wire, `digest` the SHA-256 of the payload."""

    sequence: int
    time: datetime
    session: bytes
    round: int
    recipient: str
    kind: str
    protection: str
    size: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry's number and hash (32 bytes); number 0 is the empty outbox."""

    sequence: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class SealedHead:
    """A head under its owner's signature (64 bytes). `str()` is the line that an auditor keeps."""

    head: Head
    signature: bytes

    def __str__(self) -> str:
        return f"silo-outbox-head:{self.head.sequence}:{self.head.hash.hex()}:{self.signature.hex()}"

    @classmethod
    def parse(cls, line: str) -> SealedHead:
        """Read the line again. Raises `ParameterError`."""
        parts = line.strip().split(":")
        try:
            word, sequence, digest, signature = parts
            sealed = cls(Head(int(sequence), bytes.fromhex(digest)), bytes.fromhex(signature))
        except ValueError:
            raise ParameterError(
                "this is not the head of an outbox: give the whole line silo-outbox-head:…"
            ) from None
        if word != "silo-outbox-head" or len(sealed.head.hash) != 32 or sealed.head.sequence < 0:
            raise ParameterError("this is not the head of an outbox: give the whole line silo-outbox-head:…")
        return sealed


@dataclass(frozen=True, slots=True)
class Verified:
    """A chain without a fault: how many entries, and how many of them are under a sealed head."""

    entries: int
    sealed: int

    @property
    def unsealed(self) -> int:
        """Entries after the last sealed head: true as a chain, but their end could be cut off unseen."""
        return self.entries - self.sealed


class Outbox:
    """The outbox of one member. Threads and processes may share the file."""

    def __init__(self, connection: sqlite3.Connection, path: Path, name: str) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self.path = path
        self.name = name

    @classmethod
    def open(cls, path: str | Path, name: str) -> Outbox:
        """Open or make the outbox of `name`. Raises `OutboxCorrupt`, or `ParameterError` for another's."""
        target = Path(path)
        first = ("INSERT OR IGNORE INTO about VALUES ('name', ?)", (name,))
        try:
            connection = database.connect(target, _SCHEMA, "NORMAL", first)
            owner = _owner(connection)
        except sqlite3.Error:
            raise OutboxCorrupt(0, "unreadable", str(path)) from None
        except OSError as problem:
            raise ParameterError(f"the outbox {path} cannot be opened: {problem.strerror}") from None
        if owner != name:
            connection.close()
            raise ParameterError(f"the outbox {path} belongs to {owner}, not to {name}: name another file")
        return cls(connection, target, name)

    @classmethod
    def open_to_read(cls, path: str | Path) -> Outbox:
        """Open an existing outbox to audit it, without changing it; one that is being made is waited for.

        Raises `OutboxCorrupt` or `ParameterError`.
        """
        target = Path(path)
        if not target.is_file():
            raise ParameterError(f"there is no outbox at {path}: give the path of a file outbox.db")
        try:
            connection = database.connect_to_read(target, _OWNER)
            return cls(connection, target, _owner(connection))
        except sqlite3.Error:
            raise OutboxCorrupt(0, "unreadable", str(path)) from None
        except OSError as problem:
            raise ParameterError(f"the outbox {path} cannot be opened: {problem.strerror}") from None

    def record(
        self,
        *,
        session: bytes,
        round: int,
        recipient: str,
        kind: str,
        protection: str,
        size: int,
        digest: bytes,
        time: datetime | None = None,
    ) -> int:
        """Write one entry before its frame leaves, and return its number.

        `size` is in bytes on the wire, `digest` the SHA-256 of what is sent. Raises `ParameterError`.
        """
        if protection not in PROTECTIONS:
            raise ParameterError(f"protection {protection!r}: use one of {', '.join(PROTECTIONS)}")
        if len(digest) != 32 or size < 0:
            raise ParameterError(
                f"an entry has a digest of 32 bytes and a size from 0, not {len(digest)} and {size}"
            )
        moment = time or datetime.now(UTC)
        # Whole microseconds: an integer is hashed, so no rounding can differ between two readers.
        stamp = round_microseconds(moment)
        with self._lock, database.writing(self._connection):
            last = self._last()
            sequence = last.sequence + 1
            fields = (sequence, stamp, session, round, recipient, kind, protection, size, digest, last.hash)
            self._connection.execute(
                f"INSERT INTO sent ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608
                (*fields, _hash(self.name, *fields)),
            )
        return sequence

    @property
    def head(self) -> Head:
        """The newest entry's number and hash."""
        with self._lock:
            return self._last()

    def total_bytes(self, session: bytes | None = None) -> int:
        """Bytes that left, in one session or in all."""
        where, values = ("", ()) if session is None else (" WHERE session = ?", (session,))
        with self._lock:
            query = f"SELECT COALESCE(SUM(bytes), 0) FROM sent{where}"  # noqa: S608
            return int(self._connection.execute(query, values).fetchone()[0])

    def rows(self, session: bytes | None = None) -> Iterator[Sent]:
        """The entries in their order."""
        for row in self._read():
            sequence, stamp, owner, *rest = row[:9]
            if session is None or owner == session:
                yield Sent(sequence, datetime.fromtimestamp(stamp / 1e6, UTC), owner, *rest)

    def seal_head(self, identity: Identity) -> SealedHead:
        """Sign the newest hash, keep it here and return it, so that it can be kept elsewhere."""
        head = self.head
        sealed = SealedHead(head, identity.sign(labels.OUTBOX_HEAD, _head_bytes(self.name, head)))
        with self._lock, database.writing(self._connection):
            self._connection.execute(
                "INSERT OR REPLACE INTO heads VALUES (?, ?, ?)", (head.sequence, head.hash, sealed.signature)
            )
        return sealed

    def verify(self, key: bytes | None = None, kept: SealedHead | None = None) -> Verified:
        """Recompute the whole chain. Raises `OutboxCorrupt` with the first bad entry and what happened to it.

        `key` (the owner's signing key) also checks the sealed heads; `kept` is one that was kept elsewhere.
        """
        if kept is not None and key is None:
            raise ParameterError("a kept head is checked with its owner's key: give the owner's card too")
        try:
            found = self._connection.execute("SELECT sequence, hash, signature FROM heads").fetchall()
        except sqlite3.Error:
            raise OutboxCorrupt(0, "unreadable", str(self.path)) from None
        sealed = {row[0]: SealedHead(Head(row[0], row[1]), row[2]) for row in found}
        if kept is not None:
            sealed[kept.head.sequence] = kept
        entries, hashes = self._walk(frozenset(sealed))
        if key is not None:
            for number, one in sorted(sealed.items()):
                self._check_head(one, key, entries, hashes.get(number))
        return Verified(entries, max((number for number in sealed if key is not None), default=0))

    def _walk(self, wanted: frozenset[int]) -> tuple[int, dict[int, bytes]]:
        expected, previous = 1, _genesis(self.name)
        hashes = {0: previous}
        for row in self._read():
            sequence, stored = row[0], row[10]
            if sequence != expected:
                raise OutboxCorrupt(expected, "missing", str(self.path))
            try:
                own = _hash(self.name, *row[:10])
            except (TypeError, ValueError, OverflowError, AttributeError):
                raise OutboxCorrupt(expected, "edited", str(self.path)) from None
            if row[9] != previous:
                self._explain_gap(row, expected, previous, own == stored)
            if own != stored:
                raise OutboxCorrupt(expected, "edited", str(self.path))
            if sequence in wanted:
                hashes[sequence] = stored
            expected, previous = expected + 1, stored
        return expected - 1, hashes

    def _explain_gap(self, row: tuple[Any, ...], expected: int, previous: bytes, consistent: bool) -> None:
        if consistent and expected > 1:
            # This entry is whole, so the one before was rewritten together with its own hash.
            raise OutboxCorrupt(expected - 1, "edited", str(self.path))
        follower = self._connection.execute("SELECT 1 FROM sent WHERE previous = ?", (previous,)).fetchone()
        raise OutboxCorrupt(expected, "reordered" if follower else "missing", str(self.path))

    def _check_head(self, sealed: SealedHead, key: bytes, entries: int, found: bytes | None) -> None:
        number = sealed.head.sequence
        try:
            signing.verify(key, labels.OUTBOX_HEAD, _head_bytes(self.name, sealed.head), sealed.signature)
        except InvalidSignature:
            raise OutboxCorrupt(
                number, "under a sealed head that its owner did not sign", str(self.path)
            ) from None
        if number > entries:
            raise OutboxCorrupt(entries + 1, "truncated", str(self.path))
        if found != sealed.head.hash:
            raise OutboxCorrupt(number, "edited, with a chain of its own", str(self.path))

    def _read(self) -> Iterator[tuple[Any, ...]]:
        try:
            # A cursor of its own: verifying does not hold up the writer.
            yield from self._connection.execute(f"SELECT {_COLUMNS} FROM sent ORDER BY sequence")  # noqa: S608
        except sqlite3.Error:
            raise OutboxCorrupt(0, "unreadable", str(self.path)) from None

    def _last(self) -> Head:
        row = self._connection.execute(
            "SELECT sequence, hash FROM sent ORDER BY sequence DESC LIMIT 1"
        ).fetchone()
        return Head(*row) if row else Head(0, _genesis(self.name))

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Outbox:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def round_microseconds(moment: datetime) -> int:
    """Microseconds since 1970, UTC."""
    return int(moment.timestamp()) * 10**6 + moment.microsecond


def _owner(connection: sqlite3.Connection) -> str:
    """The name in an outbox; without one the connection is closed."""
    try:
        row = connection.execute(_OWNER).fetchone()
        if row is None:
            raise sqlite3.DatabaseError("no owner")
    except sqlite3.Error:
        connection.close()
        raise
    return str(row[0])


def _genesis(name: str) -> bytes:
    return hashlib.sha256(labels.bind(labels.OUTBOX, name)).digest()


def _hash(name: str, *fields: bytes | int | str) -> bytes:
    return hashlib.sha256(labels.bind(labels.OUTBOX, name, *fields)).digest()


def _head_bytes(name: str, head: Head) -> bytes:
    return labels.bind(labels.OUTBOX_HEAD, name, head.sequence, head.hash)
