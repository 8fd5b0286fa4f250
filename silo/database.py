"""How the outbox, the journal and the ledger open their SQLite files: private, in WAL mode, safe to share.

POSIX drops all locks that a process has on a file once it closes any descriptor of it, and SQLite's safety
among processes rests on these locks: nothing here or above opens such a file by another way than SQLite.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

PATIENCE_MS = 10_000
"""How long a writer waits for another process."""

READING_MS = 2_000
"""How long a reader waits for a file that another process is making."""

_MAKING = threading.Lock()


def connect(
    path: Path,
    schema: str,
    synchronous: Literal["FULL", "NORMAL"],
    first: tuple[str, tuple[str, ...]] | None = None,
) -> sqlite3.Connection:
    """Open or make a database of mode 0600. Raises `sqlite3.Error` or `OSError`.

    `first`, a statement and its values, writes what a new file must never be without: it is there in the same
    moment as the tables.
    """
    make(path)
    connection = sqlite3.connect(
        path, timeout=PATIENCE_MS / 1000, isolation_level=None, check_same_thread=False
    )
    try:
        _switch_to_wal(connection)
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        with writing(connection):
            for statement in schema.split(";"):
                connection.execute(statement)
            if first is not None:
                connection.execute(*first)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def make(path: Path) -> None:
    """Make an empty file of mode 0600 where there is none; a file that is there is not opened.

    Raises `OSError`, also for a file that may not be read and written.
    """
    # One thread at a time: the close must not fall behind another's first locks on the new file.
    with _MAKING:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            check_access(path, os.R_OK | os.W_OK)


def check_access(path: Path, mode: int = os.R_OK) -> None:
    """Raise the `OSError` that opening a file would raise, without opening it."""
    path.stat()
    problem = errno.EISDIR if path.is_dir() else 0 if os.access(path, mode) else errno.EACCES
    if problem:
        raise OSError(problem, os.strerror(problem), str(path))


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Two processes that make the same file meet here, where SQLite does not wait by itself."""
    end = time.monotonic() + PATIENCE_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


def connect_to_read(path: Path, question: str) -> sqlite3.Connection:
    """Open an existing database without any right to change it, once `question` has an answer.

    Another process may be making the file: locks, tables and rows that are not there yet, and a -wal file that
    comes or goes are waited for, up to `READING_MS`. Then the connection is given without an answer, or the
    problem raised; damage is raised at once. Raises `sqlite3.Error` or `OSError`.
    """
    check_access(path)
    address = f"{path.absolute().as_uri()}?mode=ro"
    end = time.monotonic() + READING_MS / 1000
    while True:
        late = time.monotonic() > end
        try:
            connection, answered = _ask(address, question)
        except sqlite3.OperationalError:
            if not path.with_name(path.name + "-wal").exists() and (late or not _is_writable(path.parent)):
                # A copy on a read-only disk: nobody writes there, so the shared-memory file is not needed.
                return _ask(f"{address}&immutable=1", question)[0]
            if late:
                raise
        else:
            if answered or late:
                return connection
            connection.close()
        time.sleep(0.01)


def _ask(address: str, question: str) -> tuple[sqlite3.Connection, bool]:
    connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=READING_MS / 1000)
    try:
        return connection, bool(connection.execute(question).fetchall())
    except sqlite3.Error:
        connection.close()
        raise


def _is_writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK)


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction that excludes other writers from its first statement on."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite ends the transaction by itself when the disk is full.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
