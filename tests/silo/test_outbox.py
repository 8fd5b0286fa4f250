from __future__ import annotations

import hashlib
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from silo.errors import OutboxCorrupt, ParameterError
from silo.outbox import Outbox, SealedHead
from silo.outbox_report import Report, to_html
from tests.silo.federation import identity

SESSION = b"s" * 32
START = datetime(2026, 11, 1, 12, tzinfo=UTC)


def fill(outbox: Outbox, count: int, first: int = 0) -> None:
    for place in range(first, first + count):
        outbox.record(
            session=SESSION,
            round=place // 3,
            recipient=("relay", "clinic", "northside")[place % 3],
            kind=("Upload", "Share", "Share")[place % 3],
            protection=("masked", "end-to-end encrypted", "end-to-end encrypted")[place % 3],
            size=100 + place,
            digest=hashlib.sha256(place.to_bytes(4, "big")).digest(),
            time=START + timedelta(minutes=place),
        )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Outbox.open(tmp_path / "outbox.db", "mercy") as outbox:
        fill(outbox, 12)
    return tmp_path / "outbox.db"


@pytest.fixture
def editor(path: Path) -> Iterator[sqlite3.Connection]:
    """Somebody who may write the file."""
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()


def verify(path: Path) -> OutboxCorrupt | None:
    with Outbox.open_to_read(path) as outbox:
        try:
            outbox.verify()
        except OutboxCorrupt as problem:
            return problem
    return None


def test_a_true_chain_verifies_and_counts(path: Path) -> None:
    with Outbox.open(path, "mercy") as outbox:
        assert outbox.verify().entries == 12
        assert outbox.total_bytes() == outbox.total_bytes(SESSION) == sum(range(100, 112))
        assert outbox.total_bytes(b"other") == 0
        assert outbox.head.sequence == 12
        rows = list(outbox.rows())
    assert [row.sequence for row in rows] == list(range(1, 13))
    assert rows[3].time == START + timedelta(minutes=3)
    assert rows[3].digest == hashlib.sha256((3).to_bytes(4, "big")).digest()
    assert path.stat().st_mode & 0o077 == 0


COLUMNS = {
    "time": 1, "session": b"x" * 32, "round": 99, "recipient": "somebody", "kind": "Nothing",
    "protection": "public",
    "bytes": 0, "digest": bytes(32), "previous": bytes(32), "hash": bytes(32),
}  # fmt: skip


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("sequence", [1, 5, 12])
def test_an_edit_of_any_field_is_found(
    path: Path, editor: sqlite3.Connection, column: str, sequence: int
) -> None:
    editor.execute(f"UPDATE sent SET {column} = ? WHERE sequence = ?", (COLUMNS[column], sequence))  # noqa: S608
    fault = verify(path)
    assert fault is not None
    assert fault.sequence == sequence
    if column != "previous":
        assert fault.what == "edited"


@pytest.mark.parametrize("value", [None, "text", 1.5, b"blob", -1])
@pytest.mark.parametrize("column", ["time", "round", "recipient", "bytes"])
def test_an_edit_to_another_type_is_found(
    path: Path, editor: sqlite3.Connection, column: str, value: object
) -> None:
    try:
        editor.execute(f"UPDATE sent SET {column} = ? WHERE sequence = 4", (value,))  # noqa: S608
    except sqlite3.IntegrityError:
        return
    fault = verify(path)
    assert fault is not None
    assert (fault.sequence, fault.what) == (4, "edited")


@pytest.mark.parametrize("sequence", [1, 6, 11])
def test_a_missing_entry_is_found(path: Path, editor: sqlite3.Connection, sequence: int) -> None:
    editor.execute("DELETE FROM sent WHERE sequence = ?", (sequence,))
    fault = verify(path)
    assert fault is not None
    assert (fault.sequence, fault.what) == (sequence, "missing")


def test_a_missing_entry_is_found_when_the_rest_is_numbered_anew(
    path: Path, editor: sqlite3.Connection
) -> None:
    editor.execute("DELETE FROM sent WHERE sequence = 6")
    for number in range(7, 13):
        editor.execute("UPDATE sent SET sequence = ? WHERE sequence = ?", (number - 1, number))
    fault = verify(path)
    assert fault is not None
    assert (fault.sequence, fault.what) == (6, "missing")


def test_exchanged_entries_are_found(path: Path, editor: sqlite3.Connection) -> None:
    for old, new in ((4, 100), (9, 4), (100, 9)):
        editor.execute("UPDATE sent SET sequence = ? WHERE sequence = ?", (new, old))
    fault = verify(path)
    assert fault is not None
    assert (fault.sequence, fault.what) == (4, "reordered")


def test_an_edit_with_a_fresh_hash_is_found_at_its_place(path: Path, editor: sqlite3.Connection) -> None:
    from silo import outbox as module

    columns = "sequence, time, session, round, recipient, kind, protection, bytes, digest, previous"
    row = list(editor.execute(f"SELECT {columns} FROM sent WHERE sequence = 5").fetchone())  # noqa: S608
    row[7] = 1
    forged = module._hash("mercy", *row)
    editor.execute("UPDATE sent SET bytes = 1, hash = ? WHERE sequence = 5", (forged,))
    fault = verify(path)
    assert fault is not None
    assert (fault.sequence, fault.what) == (5, "edited")


def test_a_cut_end_is_found_with_a_sealed_head_only(
    path: Path, editor: sqlite3.Connection, tmp_path: Path
) -> None:
    mercy = identity(tmp_path, "mercy")
    with Outbox.open(path, "mercy") as outbox:
        kept = SealedHead.parse(str(outbox.seal_head(mercy)))
        fill(outbox, 2, first=12)
        state = outbox.verify(mercy.public, kept)
        assert (state.entries, state.sealed, state.unsealed) == (14, 12, 2)
    editor.execute("DELETE FROM sent WHERE sequence > 10")
    assert verify(path) is None
    with Outbox.open_to_read(path) as outbox, pytest.raises(OutboxCorrupt, match="truncated") as caught:
        outbox.verify(mercy.public)
    assert caught.value.sequence == 11
    editor.execute("DELETE FROM heads")
    with Outbox.open_to_read(path) as outbox:
        outbox.verify(mercy.public)
        with pytest.raises(OutboxCorrupt, match="truncated"):
            outbox.verify(mercy.public, kept)
        with pytest.raises(ParameterError, match="owner's card"):
            outbox.verify(kept=kept)


def test_a_chain_written_anew_does_not_fit_a_kept_head(path: Path, tmp_path: Path) -> None:
    mercy, other = identity(tmp_path, "mercy"), identity(tmp_path, "clinic")
    with Outbox.open(path, "mercy") as outbox:
        kept = outbox.seal_head(mercy)
    with Outbox.open(tmp_path / "anew.db", "mercy") as forged:
        fill(forged, 12, first=1)
        assert forged.verify().entries == 12
        with pytest.raises(OutboxCorrupt, match="a chain of its own"):
            forged.verify(mercy.public, kept)
        forged.seal_head(other)
        with pytest.raises(OutboxCorrupt, match="did not sign"):
            forged.verify(mercy.public)


@pytest.mark.parametrize(
    "line", ["", "x", "silo-outbox-head:1:zz:00", "silo-outbox-head:1:00:00", "a:1:00:00:0"]
)
def test_a_line_that_is_no_head(line: str) -> None:
    with pytest.raises(ParameterError):
        SealedHead.parse(line)


def test_an_outbox_belongs_to_one_member(path: Path, editor: sqlite3.Connection) -> None:
    with pytest.raises(ParameterError, match="belongs to mercy"):
        Outbox.open(path, "clinic")
    editor.execute("UPDATE about SET value = 'clinic'")
    fault = verify(path)
    assert fault is not None
    assert fault.sequence == 1


@pytest.mark.parametrize("damage", ["start", "half", "letter"])
def test_a_damaged_file_is_one_sentence(path: Path, tmp_path: Path, damage: str) -> None:
    raw = path.read_bytes()
    half = len(raw) // 8
    broken = {
        "start": b"\xff" * 200 + raw[200:],
        "half": raw[:half] + b"\xff" * (len(raw) - half),
        "letter": raw.replace(b"northside", b"northsidf"),
    }[damage]
    (tmp_path / "broken.db").write_bytes(broken)
    with pytest.raises(OutboxCorrupt), Outbox.open_to_read(tmp_path / "broken.db") as outbox:
        outbox.verify()


def test_what_is_no_outbox(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="there is no outbox"):
        Outbox.open_to_read(tmp_path / "absent.db")
    (tmp_path / "text.db").write_text("words " * 100)
    with pytest.raises(OutboxCorrupt, match="unreadable"):
        Outbox.open_to_read(tmp_path / "text.db")
    with pytest.raises(OutboxCorrupt, match="unreadable"):
        Outbox.open(tmp_path / "text.db", "mercy")


def test_bad_entries_are_refused(tmp_path: Path) -> None:
    with Outbox.open(tmp_path / "o.db", "mercy") as outbox:
        good = {
            "session": SESSION,
            "round": 1,
            "recipient": "relay",
            "kind": "Upload",
            "protection": "masked",
        }
        for change in ({"protection": "secret"}, {"size": -1}, {"digest": b"short"}):
            with pytest.raises(ParameterError):
                outbox.record(**(good | {"size": 1, "digest": bytes(32)} | change))
        assert outbox.head.sequence == 0


def test_threads_share_one_outbox(tmp_path: Path) -> None:
    with Outbox.open(tmp_path / "o.db", "mercy") as outbox:
        threads = [threading.Thread(target=fill, args=(outbox, 50)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outbox.verify().entries == 200


WRITER = """
import sys
from pathlib import Path
from silo.outbox import Outbox
outbox = Outbox.open(Path(sys.argv[1]), "mercy")
for place in range(int(sys.argv[2])):
    frame = {"session": b"s", "round": 1, "recipient": "relay", "kind": "Upload", "protection": "masked"}
    outbox.record(**frame, size=1, digest=bytes(32))
    print(place, flush=True)
"""


def test_processes_share_one_file(path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(path), "60"]
    writers = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    with Outbox.open_to_read(path) as outbox:
        assert outbox.verify().entries == 12 + 120


def test_what_was_recorded_survives_kill_9(path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(path), "100000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        if writer.stdout is None:
            raise RuntimeError("no pipe")
        for _ in range(40):
            writer.stdout.readline()
        writer.kill()
        seen = 40 + len(writer.stdout.readlines())
    with Outbox.open(path, "mercy") as outbox:
        assert outbox.verify().entries >= 12 + seen
        fill(outbox, 1)
        outbox.verify()


def test_a_copy_on_a_read_only_disk_can_be_audited(path: Path, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    shutil.copy(path, shelf / "outbox.db")
    shelf.chmod(0o500)
    try:
        assert verify(shelf / "outbox.db") is None
    finally:
        shelf.chmod(0o700)


def test_the_report_adds_up_and_escapes(tmp_path: Path) -> None:
    with Outbox.open(tmp_path / "o.db", "mercy") as outbox:
        fill(outbox, 9)
        outbox.record(
            session=SESSION,
            round=0,
            recipient="<script>",
            kind="link",
            protection="transport",
            size=5,
            digest=bytes(32),
        )
        report = Report.of(outbox)
    assert report.size == sum(range(100, 109)) + 5
    assert [(line.recipient, line.frames) for line in report.lines] == [
        ("<script>", 1), ("clinic", 3), ("northside", 3), ("relay", 3),
    ]  # fmt: skip
    page = to_html(report)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page
    assert report.state.startswith("verified: all 10 entries")
    assert report.to_json()["bytes"] == report.size


def test_a_broken_chain_still_gives_a_report(path: Path, editor: sqlite3.Connection) -> None:
    editor.execute("UPDATE sent SET time = 'yesterday' WHERE sequence = 8")
    with Outbox.open_to_read(path) as outbox:
        report = Report.of(outbox)
    assert report.fault is not None
    assert report.fault.sequence == 8
    assert report.state.startswith("BROKEN")
    assert report.frames == 7
