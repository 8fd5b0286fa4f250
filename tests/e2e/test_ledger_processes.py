"""The ledger among processes: kills, and many at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from silo.privacy import events
from silo.privacy.budget import Budget
from silo.privacy.ledger import Ledger
from silo.privacy.verify import verify

SCRIPTS = Path(__file__).parent / "scripts"


def run_script(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / name), *arguments],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("times", [20, pytest.param(220, marks=pytest.mark.slow)])
def test_no_kill_loses_spend_or_lets_noise_out_unpaid(tmp_path: Path, times: int) -> None:
    pytest.importorskip("opacus")
    found = json.loads(run_script("kill_training.py", str(tmp_path), str(times)))
    assert found["drawn"] > 10 * times
    assert found["charged"] >= found["drawn"]
    # Each kill costs at most one chunk of 3 steps.
    assert found["charged"] - found["drawn"] <= 3 * times
    assert 0 < found["unclosed"] <= times
    assert verify(tmp_path / "ledger.db").books.spent("rows").divergence > 0


@pytest.mark.parametrize("many", [8, pytest.param(50, marks=pytest.mark.slow)])
def test_reservers_at_once_never_exceed_the_budget(tmp_path: Path, many: int) -> None:
    path = tmp_path / "ledger.db"
    budget = Budget(0.5, 1e-5)
    with Ledger.open(path) as book:
        book.add("rows", budget)
    running = [
        subprocess.Popen(
            [sys.executable, str(SCRIPTS / "reserve_all.py"), str(path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(many)
    ]
    got = [int(one.communicate(timeout=280)[0]) for one in running]
    assert all(one.returncode == 0 for one in running)
    found = verify(path).books
    spent = found.spent("rows")
    assert budget.filter_epsilon(spent) <= 0.5
    assert sum(got) == found.datasets["rows"].events[events.dumps(events.Gaussian(40.0))]
    assert len(found.datasets["rows"].refusals) == many
    with Ledger.open(path) as book:
        assert not book.account().affords(events.Gaussian(40.0))
