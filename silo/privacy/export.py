"""A ledger as one text file: a line of JSON for every record, for an auditor who has no SQLite at hand."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from silo import database
from silo.privacy.errors import LedgerCorrupt, LedgerError
from silo.privacy.record import MAX_BODY, Record

FORMAT: Final = "silo-ledger-1"
_MAX_LINE: Final = 2 * MAX_BODY
_SQLITE: Final = b"SQLite format 3\x00"
_FIRST: Final = "SELECT 1 FROM records LIMIT 1"


def write(records: Iterable[Record], path: Path) -> int:
    """Write all records; returns how many. Raises `LedgerError`."""
    count = 0
    try:
        with path.open("x", encoding="ascii") as file:
            file.write(json.dumps({"format": FORMAT}) + "\n")
            for one in records:
                line = [one.sequence, one.previous.hex(), one.body, one.hash.hex(), one.signature.hex()]
                file.write(json.dumps(line) + "\n")
                count += 1
    except OSError as problem:
        raise LedgerError(f"{path} cannot be written: {problem.strerror}; name another file") from None
    return count


def read(path: Path) -> Iterator[Record]:
    """The records of a ledger or of an exported file; neither is changed.

    Raises `LedgerError` or `LedgerCorrupt`.
    """
    try:
        connection = database.connect_to_read(path, _FIRST)
    except OSError as problem:
        raise LedgerError(f"the ledger {path} cannot be read: {problem.strerror}") from None
    except sqlite3.Error as problem:
        if _is_text(path, problem):
            yield from _from_text(path)
            return
        raise _unreadable(path, problem) from None
    yield from _from_database(path, connection)


def _is_text(path: Path, problem: sqlite3.Error) -> bool:
    # Only what SQLite does not take is opened here: to close a ledger would drop this process's locks on it.
    if problem.sqlite_errorcode != sqlite3.SQLITE_NOTADB and path.stat().st_size:
        return False
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) != _SQLITE


def _unreadable(path: Path, problem: sqlite3.Error) -> LedgerError:
    return LedgerError(f"the ledger {path} cannot be read: {problem}; restore it from a backup")


def _from_database(path: Path, connection: sqlite3.Connection) -> Iterator[Record]:
    try:
        for row in connection.execute(
            "SELECT sequence, previous, body, hash, signature FROM records ORDER BY sequence"
        ):
            if [type(value) for value in row] != [int, bytes, str, bytes, bytes]:
                raise LedgerCorrupt(row[0] if isinstance(row[0], int) else 0, "is damaged", str(path))
            yield Record(*row)
    except sqlite3.Error as problem:
        raise _unreadable(path, problem) from None
    finally:
        connection.close()


def _from_text(path: Path) -> Iterator[Record]:
    with path.open("rb") as file:
        expected = 0
        while raw := file.readline(_MAX_LINE):
            try:
                line = json.loads(raw)
                if expected == 0:
                    if line != {"format": FORMAT}:
                        raise LedgerError(
                            f"{path} is neither a ledger nor an export of one: give such a file"
                        )
                else:
                    sequence, previous, body, digest, signature = line
                    if type(sequence) is not int or not isinstance(body, str):
                        raise ValueError
                    yield Record(
                        sequence,
                        bytes.fromhex(previous),
                        body,
                        bytes.fromhex(digest),
                        bytes.fromhex(signature),
                    )
            except (ValueError, TypeError, RecursionError):
                if expected == 0:
                    raise LedgerError(
                        f"{path} is neither a ledger nor an export of one: give such a file"
                    ) from None
                raise LedgerCorrupt(expected, "is damaged", str(path)) from None
            expected += 1
        if expected == 0:
            raise LedgerError(f"{path} is empty: give a ledger or an export of one")
