"""What a plan says before anything runs, held against the ledger's own gate."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

import silo
from silo.privacy import events, planning
from silo.privacy.budget import Budget
from silo.privacy.dataset import Description, cost
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
            ledger.add("short", Budget(0.99 * least, DELTA)).reserve(use, times, purpose="a test")


@pytest.mark.parametrize(
    ("use", "times", "delta"),
    [
        (events.Laplace(15.25), 18, 1.84e-8),
        (events.RandomizedResponse(0.668, 2), 1, 1.25e-9),
        (events.EpsilonDelta(0.0231, 0.0), 21, 1.12e-5),
        (events.PoissonSampled(0.231, events.Laplace(4.01)), 14, 5.3e-11),
        (events.Laplace(0.2), 1, 1e-2),
        (events.PoissonSampled(0.05, events.Gaussian(1.0)), 100, 1e-5),
    ],
)
def test_no_smaller_budget_is_admitted_though_orders_change(use: Event, times: int, delta: float) -> None:
    """The order of a fresh budget falls as epsilon grows, so that more is not always enough."""
    least, text = planning.least_budget(use, times, delta), events.dumps(use)

    def admitted(epsilon: float) -> bool:
        try:
            budget = Budget(epsilon, delta)
        except silo.SiloError:
            return False
        return budget.admits(cost(text, times, budget.order))

    assert admitted(least)
    smaller = {float(f"{least * part:.3g}") for part in np.linspace(0.3, 1, 3000)} - {least}
    assert not any(map(admitted, smaller))


def test_what_no_budget_admits_needs_an_infinite_one() -> None:
    assert planning.least_budget(events.Gaussian(0.05), 10_000, DELTA) == math.inf


def test_almost_nothing_needs_a_budget_that_its_delta_can_hold() -> None:
    least = planning.least_budget(events.Gaussian(1e6), 1, DELTA)
    assert 0 < least < 0.1


def test_without_an_account_the_budget_is_said_and_with_one_the_verdict(tmp_path: Path) -> None:
    use = events.Gaussian(13.55)
    assert "at delta 1e-05 needs epsilon 1.38 at least" in planning.verdict(use, 20, DELTA, None)
    assert "no budget at delta 1e-05" in planning.verdict(events.Gaussian(0.05), 10_000, DELTA, None)
    with silo.Ledger.open(tmp_path / "ledger.db") as ledger:
        enough, short = ledger.add("enough", Budget(1.38, DELTA)), ledger.add("short", Budget(1.37, DELTA))
        assert planning.verdict(use, 20, DELTA, enough).endswith("afterwards: it fits")
        assert planning.verdict(use, 20, DELTA, short).endswith("to 100.1% afterwards: it does NOT fit")


def test_what_was_spent_before_counts(tmp_path: Path) -> None:
    use = events.Gaussian(13.55)
    with silo.Ledger.open(tmp_path / "ledger.db") as ledger:
        account = ledger.add("ward", Budget(1.38, DELTA))
        account.reserve(use, 10, purpose="a test")
        assert "is used to 49.4%, and to 98.8% afterwards: it fits" in planning.verdict(
            use, 10, DELTA, account
        )
        assert planning.verdict(use, 11, DELTA, account).endswith("to 103.8% afterwards: it does NOT fit")


@pytest.mark.parametrize(
    ("relation", "tight"), [("part", "clients"), ("derived", "clients"), ("derived", "some")]
)
def test_a_budget_that_shares_units_has_its_say(
    relation: Literal["part", "derived"], tight: str, tmp_path: Path
) -> None:
    use = events.Gaussian(13.55)
    with silo.Ledger.open(tmp_path / "ledger.db") as ledger:
        parent = ledger.add("clients", Budget(1.0 if tight == "clients" else 10.0, DELTA))
        about = Description(parent="clients", relation=relation)
        child = ledger.add("some", Budget(1.0 if tight == "some" else 10.0, DELTA), about)
        account = child if tight == "clients" else parent
        said = planning.verdict(use, 20, DELTA, account)
        assert said.endswith(f"{tight} shares units, and has too little: it does NOT fit")
        with pytest.raises(PrivacyBudgetExceeded):
            account.reserve(use, 20, purpose="a test")


def test_the_least_noise_is_refused_where_none_is_enough() -> None:
    with pytest.raises(silo.SiloError, match="over 1000000 showings: take fewer"):
        planning.least_noise(events.Gaussian, 10**6, Budget(0.5, DELTA), low=0.05, high=10.0, of="showings")


def test_the_least_noise_keeps_the_budget_and_a_little_less_does_not() -> None:
    budget = Budget(2.0, DELTA)
    found = planning.least_noise(events.Gaussian, 20, budget, low=0.05, high=1000.0, of="epochs")
    assert float(f"{found:.3g}") == found

    def kept(sigma: float) -> bool:
        return budget.admits(cost(events.dumps(events.Gaussian(sigma)), 20, budget.order))

    assert kept(found)
    assert not kept(0.995 * found)
