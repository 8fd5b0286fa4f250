"""Every example runs as it stands, as a newcomer would start it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))
NEEDS = {"hospitals.py": "sklearn", "embed_in_your_pipeline.py": "torch"}


def run(path: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_it_runs_and_says_something(path: Path) -> None:
    if path.name in NEEDS:
        pytest.importorskip(NEEDS[path.name])
    assert len(run(path).splitlines()) >= 3


def test_what_they_show() -> None:
    shown = run(FOLDER / "secagg_three_silos.py")
    assert "[46 30 12]" in shown
    told = run(FOLDER / "two_party_sum.py")
    assert "refused [SILO-401]" in told
    assert "the other one had 345" in told


def test_a_partners_loop_changes_by_three_lines() -> None:
    lines = (FOLDER / "embed_in_your_pipeline.py").read_text().splitlines()
    marked = [line for line in lines if line.endswith("# silo")]
    assert len(marked) == 3
    loop = "\n".join(line for line in lines if line not in marked)
    assert not re.search(r"session\.(sum|mean)", loop)
