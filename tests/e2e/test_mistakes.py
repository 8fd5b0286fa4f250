"""Mistakes at the command line: one sentence, exit code 2, and nothing that was there is lost."""

from __future__ import annotations

import json
import socket
from datetime import timedelta
from pathlib import Path

import pytest

from silo import expiry
from silo.charter import TWO_PARTY_WORDS
from silo.crypto.rng import SystemRng
from silo.identity import Identity
from silo.outbox import Outbox
from tests.e2e.conftest import Found
from tests.e2e.site import MEMBERS, Process, Site, wait_until

TRIO = MEMBERS[:3]
ME = TRIO[0]
LONG_AGO = expiry.utc_now() - timedelta(days=2500)


def files(site: Site) -> dict[Path, bytes]:
    """Keys, cards and charter: what no mistake may change."""
    kept = [site.charter_path, *(p for p in (site.home / "keys").rglob("*") if p.suffix in (".toml", ".key"))]
    return {path: path.read_bytes() for path in kept}


def refused(process: Process, code: str, *words: str) -> str:
    """Check that the process ended with exit code 2 and one sentence that has all the words."""
    assert process.end() == 2, process.stdout + process.stderr
    (line,) = process.last_lines
    assert line.startswith(f"error [{code}]: ")
    assert "Traceback" not in line
    for word in words:
        assert word in line
    if "--json" in process.command:
        told = json.loads(process.stdout)["error"]
        assert (told["code"], f"error [{code}]: {told['message']}") == (code, line)
    else:
        assert process.stdout == ""
    return line


def refused_in_session(process: Process, code: str, *words: str) -> list[str]:
    """The same once the session had begun: at most five lines, who, what, why, next."""
    assert process.end() == 2, process.stdout + process.stderr
    lines = process.last_lines
    assert [line.split(":")[0] for line in lines] == ["who", "what", "why", "next"]
    assert f"error [{code}]: " in lines[1]
    for word in words:
        assert word in lines[1]
    return lines


def sent(site: Site, name: str) -> list[str]:
    """The kinds of messages that left a member, by its outbox."""
    path = site.keys(name) / "state" / "outbox.db"
    if not path.exists():
        return []
    with Outbox.open_to_read(path) as box:
        return [entry.kind for entry in box.rows()]


def test_a_relay_that_cannot_be_reached(found: Found) -> None:
    site = found(names=TRIO)
    before = files(site)
    refused(site.join(ME, "rounds=1"), "SILO-311", f"127.0.0.1:{site.port}", "refused", "start the relay")
    assert files(site) == before
    # Nothing is spoilt: the same command works once the relay is there.
    site.relay()
    members = [site.join(name, "rounds=1") for name in TRIO]
    assert [process.end() for process in members] == [0, 0, 0]


def test_a_port_in_use(found: Found) -> None:
    site = found(names=TRIO)
    with socket.create_server(("127.0.0.1", site.port)):
        refused(site.relay(ready=False), "SILO-313", str(site.port), "in use", "choose another port")


def test_a_wrong_or_missing_passphrase(found: Found) -> None:
    site = found(names=TRIO, passphrases={ME: "right horse", "relay": "right horse"})
    before = files(site)
    asks = ("--charter", str(site.charter_path), "--identity")
    wrong = {"environment": {"WORDS": "wrong horse"}}
    by_env = ("--passphrase-env", "WORDS")
    keys = str(site.keys(ME))
    join = ("join", str(site.script), *asks, keys)
    relay = ("relay", *asks, str(site.keys("relay")))
    for process in (site.silo(ME, *join, *by_env, **wrong), site.silo("relay", *relay, *by_env, **wrong)):
        line = refused(process, "SILO-412", "passphrase")
        assert "horse" not in line
    refused(site.silo(ME, *join), "SILO-412", keys, "passphrase")
    refused(site.silo(ME, *join, *by_env), "SILO-411", "WORDS", "not set")
    assert files(site) == before


def test_a_charter_that_misses_a_signature(found: Found) -> None:
    site = found(names=TRIO, unsigned=(TRIO[2],))
    for process in (site.join(ME, "rounds=1"), site.relay(ready=False)):
        refused(process, "SILO-402", "not signed by", TRIO[2], "silo charter sign")


def test_one_changed_byte_in_the_agreed_script(found: Found, tmp_path: Path) -> None:
    site = found(names=TRIO)
    text = site.script.read_bytes()
    changed = tmp_path / "party.py"
    changed.write_bytes(text + b"\n")
    refused(
        site.join(ME, "rounds=1", script=changed), "SILO-403", "task main lists another script", "sha256:"
    )
    changed.unlink()
    refused(site.join(ME, "rounds=1", script=changed), "SILO-101", "party.py cannot be read")


def test_a_script_without_run(found: Found, tmp_path: Path) -> None:
    script = tmp_path / "empty.py"
    script.write_text("answer = 42\n")
    site = found(names=TRIO, script=script)
    site.relay()
    refused(site.join(ME), "SILO-102", "empty.py has no function run(session)")


def test_a_member_outside_the_charter(found: Found) -> None:
    site = found(names=TRIO)
    Identity.create("stranger", site.keys("stranger"), passphrase=None, rng=SystemRng(), now=expiry.utc_now())
    refused(site.join("stranger", "rounds=1"), "SILO-403", "stranger", ", ".join(TRIO))
    # The same name with other keys is a stranger too.
    Identity.create(ME, site.home / "forged", passphrase=None, rng=SystemRng(), now=expiry.utc_now())
    forged = site.silo(
        ME,
        "join",
        str(site.script),
        "--charter",
        str(site.charter_path),
        "--identity",
        str(site.home / "forged"),
    )
    refused(forged, "SILO-401", f"another {ME}", "send your card again")


@pytest.mark.parametrize("who", [ME, "relay"])
def test_an_expired_certificate(found: Found, who: str) -> None:
    site = found(names=TRIO, made=dict.fromkeys((*TRIO, "relay"), LONG_AGO), days={who: 2000})
    for process in (site.join(ME, "rounds=1"), site.join(TRIO[1], "rounds=1"), site.relay(ready=False)):
        refused(process, "SILO-404", f"certificate of {who}", "expired", "--renew")


VALUES = """
import numpy as np

def run(session, *words):
    size = 3 if "short" in words else 4
    value = {"bias": np.zeros(2), "weights": np.zeros((size, 5))}
    if "nan" in words:
        value["weights"][2, 3] = np.nan
    if "large" in words:
        value["weights"][1, 4] = -7.5
    return float(session.sum(value)["weights"].sum())
"""


def test_a_value_that_cannot_be_encoded_is_named_with_its_place(found: Found, tmp_path: Path) -> None:
    script = tmp_path / "values.py"
    script.write_text(VALUES)
    site = found(names=TRIO, script=script)
    site.relay()
    refused_in_session(site.join(ME, "nan"), "SILO-106", "weights[2, 3] is nan")
    refused_in_session(site.join(ME, "large"), "SILO-106", "weights[1, 4] is -7.5", "up to 1.0")
    assert "Present" not in sent(site, ME)
    # Nobody else had come yet, so the others wait for it, however much later it comes back.
    others = [site.join(name) for name in TRIO[1:]]
    for name in TRIO[1:]:
        wait_until(lambda name=name: "Present" in sent(site, name), f"{name} says that it is there")
    members = [site.join(ME), *others]
    assert [process.end() for process in members] == [0, 0, 0]


def test_a_member_that_is_started_twice_is_told_so(found: Found) -> None:
    site = found(names=TRIO)
    site.relay()
    first = site.join(ME, "rounds=1")
    wait_until(lambda: "Present" in sent(site, ME), f"{ME} says that it is there")
    second = site.join(ME, "rounds=1")
    assert first.end() == 1, first.stderr
    lines = first.last_lines
    assert lines[0] == f"who:  {ME}"
    assert f"error [SILO-302]: the relay says that {ME} is already connected" in lines[1]
    assert lines[3].startswith(f"next: look where else `silo` runs as {ME}")
    members = [second, *(site.join(name, "rounds=1") for name in TRIO[1:])]
    assert [process.end() for process in members] == [0, 0, 0]


def test_a_failure_in_the_session_is_json_too(found: Found, tmp_path: Path) -> None:
    script = tmp_path / "values.py"
    script.write_text(VALUES)
    site = found(names=TRIO, script=script)
    site.relay()
    given = ("--charter", str(site.charter_path), "--identity", str(site.keys(ME)), "--json")
    process = site.silo(ME, "join", str(script), *given, "--", "nan")
    lines = refused_in_session(process, "SILO-106", "weights[2, 3] is nan")
    told = json.loads(process.stdout)["error"]
    assert lines[1] == f"what: error [SILO-106]: {told['message']}"
    assert (told["code"], told["who"], told["help"]) == ("SILO-106", ME, "silo explain SILO-106")


@pytest.mark.slow  # ten seconds pass before a line of waiting is written where there is no terminal
def test_who_is_missing_is_named_while_a_roll_call_waits(found: Found) -> None:
    site = found(names=TRIO)
    site.relay()
    given = ("--charter", str(site.charter_path), "--identity", str(site.keys(ME)))
    first = site.silo(ME, "join", str(site.script), *given, "--", f"home={site.notes(ME)}", "rounds=1")
    second = site.join(TRIO[1], "rounds=1")
    said = f"the roll call, waiting for {TRIO[2]} (relay says: not connected)"
    wait_until(lambda: said in first.stderr, "the missing member is named")
    assert [process.end() for process in (first, second, site.join(TRIO[2], "rounds=1"))] == [0, 0, 0]


def test_unlike_shapes_are_named_with_the_member(found: Found, tmp_path: Path) -> None:
    script = tmp_path / "values.py"
    script.write_text(VALUES)
    site = found(names=TRIO, script=script)
    site.relay()
    members = [site.join(TRIO[0], "short"), *(site.join(name) for name in TRIO[1:])]
    for process in members:
        assert process.end() == 1, process.stderr
        assert process.last_lines[0].split() == ["who:", TRIO[0]]
        assert "SILO-212" in process.last_lines[1]
        assert f"{TRIO[0]} has " in process.last_lines[1]
        assert len(process.last_lines) <= 5
    assert not any("Upload" in sent(site, name) for name in TRIO)
    members = [site.join(name) for name in TRIO]
    assert [process.end() for process in members] == [0, 0, 0]


def test_two_members_need_the_words(found: Found) -> None:
    site = found(names=TRIO)
    cards = [str(site.keys(name) / f"{name}.card.toml") for name in (*TRIO[:2], "relay")]
    new = ("charter", "new", "Pilot", "--relay", cards[2], "--url", "wss://127.0.0.1:1", "--member", cards[1])
    new += (
        "--identity",
        str(site.keys(ME)),
        "--script",
        str(site.script),
        "--out",
        str(site.home / "two.toml"),
    )
    refused(site.silo(ME, *new), "SILO-401", "2 members are below 3", TWO_PARTY_WORDS)
    assert not (site.home / "two.toml").exists()
    said = site.silo(ME, *new, "--two-party", TWO_PARTY_WORDS)
    assert said.end() == 0, said.stderr
