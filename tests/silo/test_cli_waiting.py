"""The line of a member that waits at a roll call names those who are missing, on the relay's word."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from silo.cli.waiting import behind, follow
from silo.driver import Drive
from silo.protocols.cohort import Vote
from silo.protocols.step import Step, Wait
from silo.transport.base import State
from silo.transport.memory import Hub
from tests.silo.test_driver import HERE, KEYS, VOTE, once, seat, sends

OTHERS = ("bob", "eve")


@pytest.mark.parametrize(
    ("parties", "said"),
    [
        ({"relay": "present", "bob": "present"}, "eve (relay says: not connected)"),
        ({"relay": "present", "bob": "gone", "eve": "away"}, "bob, eve (relay says: not connected)"),
        (
            {"relay": "present", "bob": "present", "eve": "present"},
            "relay, which says that all members are connected",
        ),
        ({"relay": "away", "bob": "gone"}, "relay, which this member does not reach at the moment"),
    ],
)
def test_what_a_member_can_know(parties: dict[str, State], said: str) -> None:
    assert behind(parties, OTHERS, "relay") == said


def test_of_many_three_are_named() -> None:
    many = [f"m{place}" for place in range(40)]
    assert behind({"relay": "present"}, many, "relay") == "m0, m1, m2 and 37 more (relay says: not connected)"


def waiting(monkeypatch: pytest.MonkeyPatch, round_: int, shown: bool = True) -> tuple[Hub, Any, Any]:
    """A member whose roll call waits for the relay, told of it at every turn."""
    monkeypatch.setattr("silo.driver._TOLD_AGAIN", 0.0)
    hub = Hub()
    relay = seat(hub, "relay")
    ann = seat(hub, "ann")
    session: Any = SimpleNamespace(
        seat=ann,
        me="ann",
        members=("ann", *OTHERS),
        charter=SimpleNamespace(relay=SimpleNamespace(name="relay")),
    )
    follow(session, rounds=5, shown=shown).patience = -1.0
    return hub, relay, Drive(ann, replace(HERE, round=round_), KEYS)


def call(hub: Hub, relay: Any, drive: Drive) -> None:
    """Wait for the relay; bob comes while it waits, and then eve, and then the relay begins."""
    watch, steps = drive.seat.watch, [lambda: hub.endpoint("bob"), lambda: hub.endpoint("eve")]

    def watching(now: Any) -> None:
        watch(now)
        if steps:
            steps.pop(0)()
        else:
            sends(relay, "ann", VOTE, where=drive.bearings)

    drive.seat.watch = watching
    wait = Wait("the roll call", (Vote,), frozenset({"relay"}), 1, 4096)
    drive.run(once(Step((), wait)))


def test_who_is_missing_is_named_until_they_come(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub, relay, drive = waiting(monkeypatch, 0)
    call(hub, relay, drive)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(", waiting for ")[2].partition(";")[0] for line in lines] == [
        "bob, eve (relay says: not connected)",
        "eve (relay says: not connected)",
        "relay, which says that all members are connected",
    ]
    assert all(line.startswith("round 0 of at most 5, the roll call, ") for line in lines)


def test_in_a_round_nothing_is_said_of_members(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub, relay, drive = waiting(monkeypatch, 3)
    call(hub, relay, drive)
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert all("waiting for relay;" in line for line in lines)


def test_nothing_is_drawn_where_nothing_is_to_be_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub, relay, drive = waiting(monkeypatch, 0, shown=False)
    call(hub, relay, drive)
    assert capsys.readouterr().err == ""
