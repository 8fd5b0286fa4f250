"""Boosted trees among real processes: fitted, cut off by a kill, and taken up again to the same model."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest

import silo
from silo.charter import TWO_PARTY_WORDS, Vertical
from tests.e2e.conftest import Found
from tests.e2e.scripts.joint_rows import table
from tests.e2e.site import MEMBERS, SCRIPTS, Process, Site, same
from tests.e2e.test_mistakes import sent

SCRIPT = SCRIPTS / "boosting_party.py"
PAIR, TRIO = MEMBERS[:2], MEMBERS[:3]
ROWS = 300


def ended(members: list[Process]) -> None:
    for process in members:
        assert process.end() == 0, process.stderr


def kept(site: Site, name: str) -> Path:
    return site.notes(name) / f"{name}.trees"


def letters(site: Site) -> dict[str, int]:
    return {name: sent(site, name).count("Private") for name in site.names}


def check_twin(site: Site) -> None:
    """The members' scores are those of who has all columns, to the last bit."""
    tables = [table(site.names, name, ROWS) for name in site.names]
    x, y = np.hstack([columns for columns, _ in tables]), tables[0][1]
    twin = silo.vertical.GradientBoosting(n_estimators=3, max_depth=2).fit(x, y)
    assert np.array_equal(site.final(site.names[0])["scores"], twin.predict_proba(x))
    assert all(site.final(name)["columns"].size for name in site.names), "somebody's columns divide nothing"


@pytest.mark.parametrize(
    ("names", "victim", "nth"),
    [
        # A host sends one letter, and two to four messages a tree; the label party one, and six a tree to each host.
        pytest.param(PAIR, 1, 6, id="host"),
        pytest.param(PAIR, 0, 9, id="label party", marks=pytest.mark.slow),
        pytest.param(TRIO, 2, 6, id="one of two hosts", marks=pytest.mark.slow),
    ],
)
def test_a_member_killed_in_a_training_is_named_and_the_training_goes_on_to_the_same_model(
    found: Found, names: tuple[str, ...], victim: int, nth: int
) -> None:
    site = found(
        names=names,
        script=SCRIPT,
        vertical=Vertical(models=("boosting",), label=names[0], rows=ROWS, fits=3),
        terms={"two_party": TWO_PARTY_WORDS} if len(names) == 2 else {},
    )
    site.relay()
    ended([site.join(name) for name in names])
    check_twin(site)
    undisturbed, messages = {name: site.final(name) for name in names}, letters(site)
    for name in names:
        assert set(sent(site, name)) <= {"link", "Present", "Private"}
        (site.notes(name) / "final.npz").unlink()
    members = {
        name: site.join(name, *([f"kill=Private:before:{nth}"] if name == names[victim] else []))
        for name in names
    }
    killed = members.pop(names[victim])
    assert killed.end() == -signal.SIGKILL, killed.stderr
    for process in members.values():
        assert process.end() == 1, process.stderr
        assert process.last_lines[0].startswith("who:")
        assert len(process.last_lines) <= 5
    # Hosts wait for the label party only: what they see go is the label party, which has named the one that was lost.
    first = names[0] if victim else names[1]
    assert members[first].last_lines[0] == f"who:  {names[victim]}"
    assert all(kept(site, name).exists() for name in names)
    assert not any((site.notes(name) / "final.npz").exists() for name in names)
    before = letters(site)
    ended([site.join(name) for name in names])
    for name in names:
        assert same(site.final(name), undisturbed[name]), f"{name} has another model"
        assert not kept(site, name).exists()
        # The trees of the killed training were not grown again.
        assert 0 < letters(site)[name] - before[name] < messages[name]
    # The training that was killed has shown something, and counts: this would be the fourth.
    for process in [site.join(name) for name in names]:
        assert process.end() in (1, 2)
        assert "SILO-406" in process.stderr
