"""SQLite files that are read while they are made, and files that one process opens twice."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from silo import database
from silo.errors import OutboxCorrupt
from silo.outbox import Outbox
from silo.privacy import export
from silo.privacy.errors import LedgerError
from silo.privacy.ledger import Ledger
from silo.privacy.verify import verify
from tests.silo.federation import identity

ENTRY = {"session": b"s", "round": 1, "recipient": "relay", "kind": "Upload", "protection": "masked"}


def run(program: str, *arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command)


MAKER = """
import sys
from pathlib import Path
from silo.outbox import Outbox
frame = {"session": b"s", "round": 1, "recipient": "relay", "kind": "Upload", "protection": "masked"}
for number in range(int(sys.argv[2])):
    with Outbox.open(Path(sys.argv[1]) / f"{number}.db", "mercy") as box:
        if number % 2:
            box.record(**frame, size=1, digest=bytes(32))
"""

READER = """
import sys, time
from pathlib import Path
from silo.outbox import Outbox
until = time.monotonic() + 120
for number in range(int(sys.argv[2])):
    path = Path(sys.argv[1]) / f"{number}.db"
    while not path.exists():
        if time.monotonic() > until:
            sys.exit("nobody makes outboxes")
    for _ in range(12):
        with Outbox.open_to_read(path) as box:
            assert box.name == "mercy"
            box.verify()
"""


@pytest.mark.parametrize("makers", [1, 2])
def test_an_outbox_can_be_read_from_the_moment_it_is_there(tmp_path: Path, makers: int) -> None:
    processes = [run(READER, tmp_path, 250) for _ in range(2)]
    processes += [run(MAKER, tmp_path, 250) for _ in range(makers)]
    assert [one.wait() for one in processes] == [0] * len(processes)


def empty(path: Path) -> None:
    path.touch()


def without_tables(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()


BEGUN = pytest.mark.parametrize("begin", [empty, without_tables])


@BEGUN
def test_a_reader_waits_for_an_outbox_that_is_being_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(database, "READING_MS", 60_000)
    path = tmp_path / "outbox.db"
    begin(path)
    maker = threading.Timer(0.2, lambda: Outbox.open(path, "mercy").close())
    maker.start()
    with Outbox.open_to_read(path) as box:
        assert box.name == "mercy"
    maker.join()


@BEGUN
def test_a_reader_waits_for_a_ledger_that_is_being_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(database, "READING_MS", 60_000)
    path, mercy = tmp_path / "ledger.db", identity(tmp_path, "mercy")
    begin(path)
    maker = threading.Timer(0.2, lambda: Ledger.open(path, mercy).close())
    maker.start()
    assert verify(path, key=mercy.public).records == 1
    maker.join()


def test_a_reader_waits_for_a_lock_and_for_a_shared_memory_that_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the first connection of a writer is just recovering the -wal file, or the last one removes it."""
    path = tmp_path / "outbox.db"
    Outbox.open(path, "mercy").close()
    problems = [
        sqlite3.OperationalError(text) for text in ("database is locked", "unable to open database file")
    ]
    real = sqlite3.connect

    def connect(*arguments: object, **options: object) -> sqlite3.Connection:
        if problems:
            raise problems.pop()
        return real(*arguments, **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(sqlite3, "connect", connect)
    with Outbox.open_to_read(path) as box:
        assert box.name == "mercy"
    assert not problems


@pytest.mark.parametrize("left", ["nothing", "no tables", "no owner", "half"])
def test_what_nobody_finishes_is_corrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str) -> None:
    monkeypatch.setattr(database, "READING_MS", 100)
    path = tmp_path / "outbox.db"
    with Outbox.open(path, "mercy") as box:
        box.record(**ENTRY, size=1, digest=bytes(32))
    if left == "half":
        os.truncate(path, path.stat().st_size // 2)
    elif left == "no owner":
        with sqlite3.connect(path) as other:
            other.execute("DELETE FROM about")
        other.close()
    else:
        path.unlink()
        (empty if left == "nothing" else without_tables)(path)
    begun = time.monotonic()
    with pytest.raises(OutboxCorrupt, match="unreadable"), Outbox.open_to_read(path) as box:
        box.verify()
    # Damage is said at once; the others are waited for, though not for ever.
    assert left == "half" or time.monotonic() - begun > 0.1


def test_a_ledger_that_nobody_begins_is_not_taken_for_a_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "READING_MS", 100)
    (tmp_path / "empty.db").touch()
    with pytest.raises(LedgerError, match="is empty: give a ledger"):
        verify(tmp_path / "empty.db")


OTHER = """
import sys
from silo.outbox import Outbox
with Outbox.open(sys.argv[1], "mercy") as box:
    sys.exit(box.verify().entries)
"""


def test_what_is_opened_twice_by_one_process_loses_no_entry_to_another(tmp_path: Path) -> None:
    """A descriptor that is closed takes all locks of its process along: the -wal would be deleted under its feet."""
    path = tmp_path / "outbox.db"
    with Outbox.open(path, "mercy") as first:
        first.record(**ENTRY, size=1, digest=bytes(32))
        second = Outbox.open(path, "mercy")
        assert run(OTHER, path).wait() == 1
        for box in (first, second):
            box.record(**ENTRY, size=1, digest=bytes(32))
        assert run(OTHER, path).wait() == 3
        second.close()


LEDGER_OPENER = """
import sys
from silo.identity import Identity
from silo.privacy.ledger import Ledger
Ledger.open(sys.argv[1], Identity.load(sys.argv[2])).close()
"""


def test_a_ledger_that_is_audited_while_it_is_open_loses_no_record_to_another_process(tmp_path: Path) -> None:
    path, mercy = tmp_path / "ledger.db", identity(tmp_path / "keys", "mercy")
    with Ledger.open(path, mercy) as one:
        one.witness([], {})
        assert len(list(export.read(path))) == 2
        assert run(LEDGER_OPENER, path, mercy.directory).wait() == 0
        one.witness([], {})
        assert verify(path, key=mercy.public).records == 3
    assert verify(path, key=mercy.public).records == 3
