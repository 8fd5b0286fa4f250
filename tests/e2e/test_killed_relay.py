"""The relay killed with SIGKILL and started again on the same port: the members go on."""

from __future__ import annotations

import signal

import pytest

from silo.charter import Times
from tests.e2e.conftest import Found
from tests.e2e.site import MEMBERS, Process, Site, same, wait_until

STEPS = ("Present", "Advertise", "Shares", "Upload", "Vote", "Unmasking")
FAST = {("Upload", "during"), ("Unmasking", "after")}
# The relay has to be up again within this; a machine may be busy.
CALM = Times(reconnect=20.0, silence=20.0, work=60.0)


def finish(site: Site, members: list[Process], rounds: int) -> None:
    for process in members:
        assert process.end() == 0, process.stderr
    for name in MEMBERS:
        assert same(site.final(name), site.final(MEMBERS[0])), name
        assert max(site.rounds(name)) == rounds


@pytest.mark.parametrize(
    ("step", "when"),
    [
        pytest.param(step, when, marks=() if (step, when) in FAST else pytest.mark.slow)
        for step in STEPS
        for when in ("before", "during", "after")
    ],
)
def test_a_relay_killed_in_the_middle_of_a_round(found: Found, step: str, when: str) -> None:
    site = found(time=CALM)
    relay = site.relay()
    nth = 3 if step == "Present" else 2
    fault = (f"kill={step}:{when}:{nth}", f"victim={site.home / 'relay.pid'}")
    members = [site.join(MEMBERS[0], "rounds=4", *fault)]
    members += [site.join(name, "rounds=4") for name in MEMBERS[1:]]
    assert relay.end() == -signal.SIGKILL
    site.relay()
    finish(site, members, 4)
    assert (site.notes(MEMBERS[0]) / "killed").exists()


def test_a_relay_killed_between_two_rounds(found: Found) -> None:
    site = found(time=CALM)
    relay = site.relay()
    members = [site.join(name, "rounds=4", "gate=2:epoch") for name in MEMBERS]
    for name in MEMBERS:
        wait_until((site.notes(name) / "gate").exists, f"{name} finishes round 2")
    relay.kill()
    site.relay()
    finish(site, members, 4)
    for name in MEMBERS:
        assert [line["failed"] for line in site.log(name) if "failed" in line] == [[]], name


@pytest.mark.slow
def test_a_relay_that_stays_away_is_named(found: Found) -> None:
    site = found(time=Times(reconnect=1.0, silence=4.0, work=60.0))
    relay = site.relay()
    members = [site.join(name, "rounds=4", "gate=2:nothing") for name in MEMBERS[1:]]
    members.append(site.join(MEMBERS[0], "rounds=4", "kill=Upload:after:2", f"victim={site.home}/relay.pid"))
    assert relay.end() == -signal.SIGKILL
    for process in members:
        assert process.end() == 1
        assert len(process.last_lines) <= 5
        assert "SILO-303" in process.stderr, process.stderr


def test_a_relay_that_hangs_is_named(found: Found) -> None:
    """Stopped, not dead: its port accepts and nothing answers."""
    site = found(time=Times(reconnect=1.0, silence=1.5, work=60.0))
    relay = site.relay()
    members = [site.join(name, "rounds=4", f"gate=2:{site.home / 'open'}") for name in MEMBERS]
    for name in MEMBERS:
        wait_until((site.notes(name) / "gate").exists, f"{name} finishes round 2")
    relay.child.send_signal(signal.SIGSTOP)
    site.open_gate()
    for process in members:
        assert process.end() == 1
        assert len(process.last_lines) <= 5
        assert "SILO-303" in process.stderr or "SILO-304" in process.stderr, process.stderr
