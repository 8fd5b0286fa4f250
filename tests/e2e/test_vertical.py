"""A vertical linear model among real processes: fitted, cut off by a kill and taken up again, refused."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from silo.charter import TWO_PARTY_WORDS, Vertical
from tests.e2e.conftest import Found
from tests.e2e.scripts.joint_rows import table
from tests.e2e.site import MEMBERS, SCRIPTS, Process, Site, same
from tests.e2e.test_mistakes import sent

SCRIPT = SCRIPTS / "vertical_party.py"
PAIR, TRIO = MEMBERS[:2], MEMBERS[:3]
ROWS = 300


def joined(found: Found, names: tuple[str, ...], **terms: Any) -> Site:
    words = {"two_party": TWO_PARTY_WORDS} if len(names) == 2 else {}
    allowed = Vertical(**({"models": ("linear",), "label": names[0], "rows": ROWS, "fits": 3} | terms))
    return found(names=names, script=SCRIPT, vertical=allowed, terms=words)


def ended(members: list[Process], code: int = 0) -> None:
    for process in members:
        assert process.end() == code, process.stderr


def private(site: Site) -> dict[str, int]:
    return {name: sent(site, name).count("Private") for name in site.names}


def kept(site: Site, name: str) -> Path:
    return site.notes(name) / f"{name}.passes"


def test_two_members_fit_the_model_of_the_joined_table(found: Found) -> None:
    site = joined(found, PAIR)
    site.relay()
    ended([site.join(name) for name in PAIR])
    tables = [table(PAIR, name, ROWS) for name in PAIR]
    pooled = LogisticRegression(tol=1e-9, max_iter=1000).fit(np.hstack([x for x, _ in tables]), tables[0][1])
    whole = np.concatenate([np.ravel(site.final(name)["coef"]) for name in PAIR])
    assert np.abs(whole - np.ravel(pooled.coef_)).max() < 1e-3
    assert np.abs(site.final(PAIR[0])["intercept"] - pooled.intercept_).max() < 1e-3
    expected = pooled.predict_proba(np.hstack([x for x, _ in tables]))
    assert np.abs(site.final(PAIR[0])["scores"] - expected).max() < 1e-3
    assert site.final(PAIR[1])["scores"].size == 0
    # Beside roll calls and the link nothing left that only its receiver can read.
    for name in PAIR:
        assert set(sent(site, name)) <= {"link", "Present", "Private"}
        assert not kept(site, name).exists()


@pytest.mark.parametrize(
    ("names", "victim", "nth"),
    [
        # A host sends two messages a pass; the first member one key and then three a pass to each host.
        pytest.param(PAIR, 1, 5, id="host"),
        pytest.param(PAIR, 0, 9, id="label party", marks=pytest.mark.slow),
        pytest.param(TRIO, 2, 5, id="one of two hosts", marks=pytest.mark.slow),
    ],
)
def test_a_member_killed_in_a_fit_is_named_and_the_fit_goes_on_to_the_same_model(
    found: Found, names: tuple[str, ...], victim: int, nth: int
) -> None:
    site = joined(found, names)
    site.relay()
    ended([site.join(name) for name in names])
    undisturbed, messages = {name: site.final(name) for name in names}, private(site)
    for name in names:
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
    before = private(site)
    ended([site.join(name) for name in names])
    for name in names:
        assert same(site.final(name), undisturbed[name]), f"{name} has another model"
        assert not kept(site, name).exists()
        # The passes of the killed fit were not done again.
        again = private(site)[name] - before[name]
        assert 0 < again <= messages[name] - 4
    # The fit that was killed has shown something, and counts: this would be the fourth.
    for process in [site.join(name) for name in names]:
        assert process.end() in (1, 2)
        assert "SILO-406" in process.stderr


def test_a_script_that_passes_other_rows_is_refused_by_name(found: Found) -> None:
    site = joined(found, TRIO)
    site.relay()
    members = [site.join(name, *(["rows=299"] if name == TRIO[1] else [])) for name in TRIO]
    for process in members:
        assert process.end() == 1, process.stderr
        assert process.last_lines[0] == f"who:  {TRIO[1]}"
        assert "SILO-212" in process.last_lines[1]
        assert f"rows: {TRIO[1]} has 299" in process.last_lines[1]
    assert not any(private(site).values())
