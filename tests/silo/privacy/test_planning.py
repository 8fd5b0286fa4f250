"""What a plan says before anything runs, held against the ledger's own gate."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import silo
from silo.privacy import events, planning
from silo.privacy.budget import Budget
from silo.privacy.errors import PrivacyBudgetExceeded
from silo.privacy.events import Event

DELTA = 1e-5
USES: list[tuple[Event, int]] = [
    (events.Gaussian(13.55), 20),
    (events.Composed((events.Gaussian(30.0), events.Gaussian(30.0))), 8),
    (events.PoissonSampled(0.05, events.Gaussian(1.0)), 100),
    (events.PoissonSampled(0.01, events.Gaussian(2.0)), 1000),
    (events.Laplace(4.0), 3),
]


@pytest.mark.parametrize(("use", "times"), USES, ids=["labels", "rows", "training", "long", "laplace"])
def test_the_ledger_admits_the_least_budget_and_not_a_little_less(
    use: Event, times: int, tmp_path: Path
) -> None:
    least = planning.least_budget(use, times, DELTA)
    assert float(f"{least:.3g}") == least
    with silo.Ledger.open(tmp_path / "ledger.db") as ledger:
        ledger.add("enough", Budget(least, DELTA)).reserve(use, times, purpose="a test")
        with pytest.raises(PrivacyBudgetExceeded):
            ledger.add("short", Budget(0.98 * least, DELTA)).reserve(use, times, purpose="a test")


def test_what_no_budget_admits_needs_an_infinite_one() -> None:
    assert planning.least_budget(events.Gaussian(0.05), 10_000, DELTA) == math.inf


def test_almost_nothing_needs_a_budget_that_its_delta_can_hold() -> None:
    least = planning.least_budget(events.Gaussian(1e6), 1, DELTA)
    assert 0 < least < 0.1


def test_without_an_account_the_budget_is_said_and_with_one_the_verdict(tmp_path: Path) -> None:
    use = events.Gaussian(13.55)
    assert "needs epsilon 1.38 at least" in planning.verdict(use, 20, DELTA, None)
    with silo.Ledger.open(tmp_path / "ledger.db") as ledger:
        enough, short = ledger.add("enough", Budget(1.38, DELTA)), ledger.add("short", Budget(1.36, DELTA))
        assert planning.verdict(use, 20, DELTA, enough).endswith("it fits")
        assert planning.verdict(use, 20, DELTA, short).endswith("it does NOT fit")


def test_the_least_noise_is_refused_where_none_is_enough() -> None:
    with pytest.raises(silo.SiloError, match="over 1000000 showings: take fewer"):
        planning.least_noise(events.Gaussian, 10**6, Budget(0.5, DELTA), low=0.05, high=10.0, of="showings")
