"""A member killed with SIGKILL around every message that it sends."""

from __future__ import annotations

import signal

import numpy as np
import pytest

from tests.e2e.conftest import Found
from tests.e2e.scripts import models
from tests.e2e.site import MEMBERS, Site, same, wait_until

STEPS = ("Present", "Advertise", "Shares", "Upload", "Vote", "Unmasking")
WHEN = ("before", "during", "after")
LARGE = 300_000
FAST = {
    ("Present", "before"),
    ("Advertise", "during"),
    ("Shares", "after"),
    ("Upload", "during"),
    ("Vote", "before"),
    ("Unmasking", "after"),
}
MATRIX = [
    pytest.param(step, when, count, marks=() if (step, when) in FAST and count == 4 else pytest.mark.slow)
    for count in (4, 5)
    for step in STEPS
    for when in WHEN
]


def fault(step: str, when: str) -> tuple[str, int]:
    """The fault that hits the second round of training, and the size of the model that it needs."""
    nth = 3 if step == "Present" else 2  # one more roll call comes before the first round
    large = (step, when) == ("Upload", "during")
    return f"kill={step}:{when}:{nth}" + (":2" if large else ""), LARGE if large else 0


def counted(step: str, when: str) -> bool:
    """Whether the killed member's input is in the sum: once all of it has come."""
    return step in ("Vote", "Unmasking") or (step, when) == ("Upload", "after")


@pytest.mark.parametrize(("step", "when", "count"), MATRIX)
def test_the_others_finish_the_round_and_the_killed_one_catches_up(
    found: Found, step: str, when: str, count: int
) -> None:
    names = (*MEMBERS, "elder")[:count]
    site = found(names=names)
    kill, size = fault(step, when)
    site.relay()
    words = ("rounds=4", f"size={size}", f"gate=3:{site.home / 'open'}")
    victim = site.join(names[0], *words, kill)
    others = [site.join(name, *words) for name in names[1:]]
    assert victim.end() == -signal.SIGKILL, victim.stderr
    again = site.again(victim)
    for name in names[1:]:
        wait_until((site.notes(name) / "gate").exists, f"{name} finishes round 3 without {names[0]}")
    wait_until(lambda: site.joins(names[0]) == 2, "the killed member is back")
    site.open_gate()
    for process in (again, *others):
        assert process.end() == 0, process.stderr
    _check(site, counted(step, when), size)


def _check(site: Site, victim_counts: bool, size: int) -> None:
    victim, *others = site.names
    cohorts = site.rounds(others[0])
    assert cohorts[1] == sorted(site.names)
    assert cohorts[2] == sorted(site.names if victim_counts else others)
    assert cohorts[4] == sorted(site.names)
    right = models.expected([cohorts[number] for number in (1, 2, 3, 4)], size)
    for name in site.names:
        assert same(site.final(name), site.final(victim)), name
        if name != victim:
            assert site.rounds(name) == cohorts
    for key, value in right.items():
        np.testing.assert_allclose(site.final(victim)[key], value, atol=2e-4)
