from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from silo.errors import CohortChanged, JournalError, RoundReplayed, StateReused, UpdateReused, UsageError
from silo.journal import Journal, Participation

SESSION, OTHER = b"s" * 32, b"o" * 32
TAG = b"t" * 32


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.open(tmp_path / "journal.db")


def reopened(journal: Journal) -> Journal:
    journal.close()
    return Journal.open(journal.path)


def test_a_step_is_answered_once_even_after_a_restart(journal: Journal) -> None:
    journal.once(SESSION, 1, "unmask")
    for step in ((SESSION, 2, "unmask"), (OTHER, 1, "unmask"), (SESSION, 1, "upload")):
        journal.once(*step)
    with pytest.raises(StateReused, match="'unmask' of round 1"):
        journal.once(SESSION, 1, "unmask")
    with pytest.raises(StateReused):
        reopened(journal).once(SESSION, 1, "unmask")


def test_rounds_only_go_up(journal: Journal) -> None:
    assert journal.last_round(SESSION) == -1
    for number in (0, 1, 5):
        journal.begin_round(SESSION, number)
    journal = reopened(journal)
    for number in (0, 4, 5):
        with pytest.raises(RoundReplayed, match="go on with round 6"):
            journal.begin_round(SESSION, number)
    journal.begin_round(OTHER, 1)
    journal.begin_round(SESSION, 6)
    assert journal.last_round(SESSION) == 6


def test_the_rounds_of_a_task_add_up_over_sessions(journal: Journal) -> None:
    for session in (SESSION, OTHER):
        for number in (1, 2):
            journal.begin_round(session, number, agreement=b"charter", task="main")
    journal.begin_round(SESSION, 3, agreement=b"charter", task="other")
    journal.begin_round(SESSION, 4, agreement=b"another", task="main")
    assert journal.rounds_of(b"charter", "main") == 4
    assert journal.rounds_of(b"charter", "none") == 0


def test_an_update_that_left_in_an_unfinished_round_is_spent(journal: Journal) -> None:
    journal.check_update(TAG)
    journal.consume(TAG, SESSION, 3)
    journal = reopened(journal)
    with pytest.raises(UpdateReused, match="round 3"):
        journal.check_update(TAG)
    with pytest.raises(UpdateReused):
        journal.consume(TAG, SESSION, 4)
    with pytest.raises(UpdateReused):
        journal.consume(TAG, OTHER, 4)
    journal.consume(b"another", SESSION, 4)
    journal.consume(TAG, SESSION, 4, changed_cohort="allow")


def test_an_update_is_summed_over_one_cohort_only(journal: Journal) -> None:
    journal.consume(TAG, SESSION, 1)
    journal.settle(SESSION, 1, ["mercy", "clinic", "northside"])
    journal = reopened(journal)
    journal.check_update(TAG)
    journal.consume(TAG, SESSION, 2)
    journal.check_cohort(TAG, ["northside", "clinic", "mercy"])
    for survivors in (["mercy", "clinic"], ["mercy", "clinic", "northside", "extra"], []):
        with pytest.raises(CohortChanged, match="round 1 over clinic,mercy,northside"):
            journal.check_cohort(TAG, survivors)
    journal.check_cohort(b"another", ["mercy", "clinic"])


def test_a_round_is_settled_once(journal: Journal) -> None:
    journal.consume(TAG, SESSION, 1)
    journal.settle(SESSION, 1, ["b", "a"])
    journal.settle(SESSION, 1, ["a", "b"])
    with pytest.raises(UsageError, match="settled with a,b"):
        journal.settle(SESSION, 1, ["a"])
    journal.settle(SESSION, 2, ["a", "c"])
    assert journal.participation() == [
        Participation(SESSION, 1, ("a", "b")),
        Participation(SESSION, 2, ("a", "c")),
    ]


def test_of_many_threads_one_gets_the_yes(tmp_path: Path) -> None:
    answers: list[str] = []

    def ask() -> None:
        with Journal.open(tmp_path / "journal.db") as journal:
            try:
                journal.consume(TAG, SESSION, 1)
                answers.append("yes")
            except UpdateReused:
                answers.append("no")

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["no"] * 7 + ["yes"]


MARKER = """
import sys
from silo.errors import StateReused
from silo.journal import Journal
journal = Journal.open(sys.argv[1])
marked = 0
for number in range(60):
    try:
        journal.once(b"s", number, "vote")
        marked += 1
    except StateReused:
        pass
print(marked)
"""


def test_of_two_processes_one_gets_each_yes(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MARKER, str(tmp_path / "journal.db")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sum(int(process.communicate()[0]) for process in processes) == 60


def test_a_mark_is_on_the_disk_before_the_call_returns(tmp_path: Path) -> None:
    script = MARKER.replace("print(marked)", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "journal.db")], check=False)
    with Journal.open(tmp_path / "journal.db") as journal:
        assert journal._connection.execute("PRAGMA synchronous").fetchone() == (2,)
        for number in range(60):
            with pytest.raises(StateReused):
                journal.once(b"s", number, "vote")


def test_what_cannot_be_opened_or_written_stops_everything(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("words " * 100)
    with pytest.raises(JournalError, match="nothing can be sent"):
        Journal.open(tmp_path / "text.db")
    with pytest.raises(JournalError):
        Journal.open(tmp_path / "absent" / "journal.db")
    journal.close()
    with pytest.raises(JournalError, match="nothing was sent"):
        journal.once(SESSION, 1, "vote")
