"""Homomorphic sums among real processes: members and the key holder killed with SIGKILL."""

from __future__ import annotations

import signal

import numpy as np
import pytest

from tests.e2e.conftest import Found
from tests.e2e.scripts import models
from tests.e2e.site import MEMBERS, same, wait_until

HELD = [(step, when) for step in ("Upload", "Vote") for when in ("before", "during", "after")]
JOINT = [
    (step, when) for step in ("Part", "Upload", "Vote", "Partial") for when in ("before", "during", "after")
]
FAST = {
    ("ckks", "Upload", "before"),
    ("paillier", "Vote", "after"),
    ("lattice", "Part", "after"),
    ("lattice", "Upload", "after"),
    ("lattice", "Partial", "before"),
}
MATRIX = [
    pytest.param(protocol, *fault, marks=() if (protocol, *fault) in FAST else pytest.mark.slow)
    for protocol, faults in (("ckks", HELD), ("paillier", HELD), ("lattice", JOINT))
    for fault in faults
]


def counted(step: str, when: str) -> bool:
    """Whether the killed member's input is in the sum: once all of it has come."""
    return step in ("Vote", "Partial") or (step, when) == ("Upload", "after")


@pytest.mark.parametrize(("protocol", "step", "when"), MATRIX)
def test_the_others_finish_the_round_without_a_killed_member(
    found: Found, protocol: str, step: str, when: str
) -> None:
    if protocol == "ckks":
        pytest.importorskip("tenseal")
    site = found(terms={"protocol": protocol, "clip": 8.0})
    holder, victim, *others = MEMBERS
    site.relay()
    words = ("rounds=3", f"gate=2:{site.home / 'open'}")
    killed = site.join(victim, *words, f"kill={step}:{when}:2")
    rest = [site.join(name, *words) for name in (holder, *others)]
    assert killed.end() == -signal.SIGKILL, killed.stderr
    again = site.again(killed)
    for name in (holder, *others):
        wait_until((site.notes(name) / "gate").exists, f"{name} finishes round 2 without {victim}")
    wait_until(lambda: site.joins(victim) == 2, "the killed member is back")
    site.open_gate()
    for process in (again, *rest):
        assert process.end() == 0, process.stderr
    cohorts = site.rounds(holder)
    assert cohorts[2] == sorted(MEMBERS if counted(step, when) else (holder, *others))
    assert cohorts[3] == sorted(MEMBERS)
    right = models.expected([cohorts[number] for number in (1, 2, 3)], 0)
    for name in MEMBERS:
        assert same(site.final(name), site.final(holder)), name
    for key, value in right.items():
        np.testing.assert_allclose(site.final(holder)[key], value, atol=2e-4)


@pytest.mark.parametrize("protocol", ["ckks", "paillier"])
def test_without_the_key_holder_nothing_is_released_and_nothing_is_lost(found: Found, protocol: str) -> None:
    """A killed holder ends the round for all, by name; started again, everybody goes on from where they were."""
    if protocol == "ckks":
        pytest.importorskip("tenseal")
    site = found(terms={"protocol": protocol, "clip": 8.0})
    holder, *others = MEMBERS
    site.relay()
    killed = site.join(holder, "rounds=3", "kill=Release:before:2")
    rest = [site.join(name, "rounds=3") for name in others]
    assert killed.end() == -signal.SIGKILL, killed.stderr
    for process in rest:
        assert process.end() == 1, process.stderr
        assert f"missing: {holder}" in process.stderr or f"{holder} was given up" in process.stderr
        assert len(process.last_lines) <= 5
    everybody = [site.again(process) for process in (killed, *rest)]
    for process in everybody:
        assert process.end() == 0, process.stderr
    for name in MEMBERS:
        assert same(site.final(name), site.final(holder)), name
        assert set(site.rounds(name)) == {1, 2, 3}
