"""How the outbox and the journal open their SQLite files: private, in WAL mode, safe to share."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

PATIENCE_MS = 10_000
"""How long a writer waits for another process."""


def connect(path: Path, schema: str, synchronous: Literal["FULL", "NORMAL"]) -> sqlite3.Connection:
    """Open or make a database of mode 0600. Raises `sqlite3.Error` or `OSError`."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = sqlite3.connect(
        path, timeout=PATIENCE_MS / 1000, isolation_level=None, check_same_thread=False
    )
    try:
        _switch_to_wal(connection)
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        with writing(connection):
            for statement in schema.split(";"):
                connection.execute(statement)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


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


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open an existing database without any right to change it. Raises `sqlite3.Error`."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(address, uri=True, isolation_level=None)
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchall()
    except sqlite3.OperationalError:
        connection.close()
        if path.with_name(path.name + "-wal").exists():
            raise
        # A copy on a read-only disk: nobody writes there, so the shared-memory file is not needed.
        connection = sqlite3.connect(f"{address}&immutable=1", uri=True, isolation_level=None)
    return connection


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
