"""A member whose script raises an exception that holds a record: the others hear a name and a code."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from tests.e2e.conftest import Found
from tests.e2e.site import MEMBERS, SCRIPTS, Process, Site

CANARY = "CANARY-7731-patient"
RECORDER = (str(SCRIPTS / "recording_relay.py"),)


def start(site: Site, *more: str) -> tuple[Process, list[Process], Process, Path]:
    record = site.home / "frames"
    relay = site.relay(program=RECORDER, environment={"RECORD": str(record)})
    words = ("rounds=4", *more)
    failing = site.join(MEMBERS[0], *words, "raise=3", f"text={CANARY}")
    return failing, [site.join(name, *words) for name in MEMBERS[1:]], relay, record


def check_the_failing_one(site: Site, failing: Process) -> None:
    assert failing.end() == 1
    lines = failing.last_lines
    assert [line.split(":")[0] for line in lines] == ["who", "what", "why", "next"]
    assert MEMBERS[0] in lines[0]
    assert "SILO-000" in lines[1]
    assert "ValueError" in lines[1]
    # The line of the script helps its author, and holds no value.
    assert re.search(r" at line \d+ of party\.py$", lines[1])
    # The text stays in a file that nobody else on that machine can read.
    trace = site.keys(MEMBERS[0]) / "last-error.txt"
    assert str(trace) in lines[3]
    assert CANARY in trace.read_text()
    assert stat.S_IMODE(trace.stat().st_mode) == 0o600


def check_nothing_leaked(site: Site, record: Path) -> None:
    frames = [bytes.fromhex(line[1:]) for line in record.read_text().splitlines()]
    assert sum(b"Upload" in frame for frame in frames) >= 2 * len(MEMBERS)  # it did listen
    for text in (CANARY, "7731", "patient", "ValueError"):
        assert not any(text.encode() in frame for frame in frames), text
    for process in site.processes:
        assert CANARY not in process.stdout
        assert CANARY not in process.stderr


def test_the_others_go_on_where_enough_are_left(found: Found) -> None:
    site = found()
    failing, others, relay, record = start(site)
    for process in others:
        assert process.end() == 0, process.stderr
    check_the_failing_one(site, failing)
    for name in MEMBERS[1:]:
        cohorts = site.rounds(name)
        assert cohorts[2] == sorted(MEMBERS)
        assert cohorts[4] == sorted(MEMBERS[1:])
        assert site.log(name)[-1]["gone"][MEMBERS[0]] == "SILO-000"
    assert relay.child.poll() is None
    check_nothing_leaked(site, record)


def test_the_others_abort_by_name_where_too_few_are_left(found: Found) -> None:
    site = found(terms={"threshold": 4})
    failing, others, relay, record = start(site)
    for process in others:
        assert process.end() == 1
        assert len(process.last_lines) <= 5
        assert MEMBERS[0] in process.last_lines[0]
        assert "SILO-211" in process.last_lines[1]
        assert MEMBERS[0] in process.last_lines[1]
        assert process.last_lines[3].startswith(f"next: ask {MEMBERS[0]}")
    check_the_failing_one(site, failing)
    assert relay.child.poll() is None
    check_nothing_leaked(site, record)


@pytest.mark.parametrize("kind", [pytest.param("KeyboardInterrupt", marks=pytest.mark.slow), "SystemExit"])
def test_a_script_that_ends_itself_is_a_failure_too(found: Found, tmp_path: Path, kind: str) -> None:
    script = tmp_path / "ends.py"
    script.write_text(f"def run(session, *words):\n    raise {kind}('{CANARY}')\n")
    site = found(script=script)
    site.relay()
    process = site.join(MEMBERS[0])
    assert process.end() not in (0, -2)
    assert 1 <= len(process.last_lines) <= 5
    assert CANARY not in process.stdout + process.stderr
