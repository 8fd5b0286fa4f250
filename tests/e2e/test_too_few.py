"""Where the threshold does not hold without the lost member: an abort by name, and then the next round."""

from __future__ import annotations

import signal

import numpy as np
import pytest

from tests.e2e.conftest import Found
from tests.e2e.site import MEMBERS, wait_until

STEPS = ("Present", "Advertise", "Shares", "Upload", "Vote", "Unmasking")
FAST = ("Advertise", "Upload")


@pytest.mark.parametrize(
    "step", [pytest.param(s, marks=() if s in FAST else pytest.mark.slow) for s in STEPS]
)
def test_too_few_are_named_and_the_round_works_once_the_member_is_back(found: Found, step: str) -> None:
    site = found(terms={"threshold": 4})
    site.relay()
    words = ("mode=mean", "rounds=3", f"back={site.home / 'open'}")
    victim = site.join(MEMBERS[0], *words, f"kill={step}:before:2")
    others = [site.join(name, *words) for name in MEMBERS[1:]]
    assert victim.end() == -signal.SIGKILL, victim.stderr

    for name in MEMBERS[1:]:
        (refusal,) = wait_until(
            lambda name=name: [line for line in site.log(name) if "code" in line], f"{name} is told"
        )
        assert refusal["code"] == "SILO-211"
        assert [one.split(" ")[0] for one in refusal["missing"]] == [MEMBERS[0]]
        assert MEMBERS[0] in refusal["said"]

    again = site.again(victim)
    wait_until(lambda: site.joins(MEMBERS[0]) == 2, "the killed member is back")
    site.open_gate()
    for process in (again, *others):
        assert process.end() == 0, process.stderr
    means = [site.final(name)["means"] for name in MEMBERS]
    assert all(np.array_equal(one, means[0]) for one in means)
    # Attempts shift a value by a thousandth each; nothing else may move the means.
    np.testing.assert_allclose(means[0], [0.0, 0.1, 0.2], atol=2.1e-3)
    assert all(line["survivors"] == sorted(MEMBERS) for line in site.log(MEMBERS[1]) if "mean" in line)


def test_training_with_too_few_ends_by_name_and_goes_on_with_the_same_commands(found: Found) -> None:
    site = found(terms={"threshold": 4})
    site.relay()
    victim = site.join(MEMBERS[0], "rounds=3", "kill=Upload:during:2")
    others = [site.join(name, "rounds=3") for name in MEMBERS[1:]]
    assert victim.end() == -signal.SIGKILL, victim.stderr
    for process in others:
        assert process.end() == 1
        assert len(process.last_lines) <= 5
        assert "SILO-211" in process.stderr
        assert MEMBERS[0] in process.last_lines[0]
    processes = [site.again(process) for process in (victim, *others)]
    for process in processes:
        assert process.end() == 0, process.stderr
    finals = [site.final(name) for name in MEMBERS]
    for final in finals[1:]:
        for key, value in finals[0].items():
            np.testing.assert_array_equal(final[key], value)
