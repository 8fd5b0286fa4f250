"""Lower bounds that are bounds: against exact sums, known mechanisms, and their own confidence."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from silo.audit import bounds

NORMAL = NormalDist()


@pytest.mark.parametrize(("errors", "trials"), [(0, 10), (3, 10), (50, 1000), (9000, 20000)])
def test_the_interval_is_clopper_and_pearsons(errors: int, trials: int) -> None:
    beta = pytest.importorskip("scipy.stats").beta
    assert bounds._upper(errors, trials, 0.025) == pytest.approx(
        beta.ppf(0.975, errors + 1, trials - errors), abs=1e-6
    )
    assert bounds._upper(trials, trials, 0.025) == 1.0


@pytest.mark.parametrize("mu", [0.1, 0.5, 1.0, 3.0])
def test_epsilon_of_mu_is_the_gaussian_mechanisms(mu: float) -> None:
    pytest.importorskip("dp_accounting")
    from silo.privacy import events
    from silo.privacy.accountants.pld import PLD

    exact = bounds.epsilon_of(mu, 1e-5)
    assert PLD().epsilon(events.Gaussian(1 / mu), 1e-5) == pytest.approx(exact, abs=3e-3)


def test_two_worlds_never_claim_more_than_there_is() -> None:
    """95 % of the bounds lie below the true mu: over 400 repetitions 20 may lie above, and 40 would be a fault."""
    source = np.random.default_rng(1)
    mu, runs = 0.4, 2000
    rate = 1 - NORMAL.cdf(mu / 2)
    found = [
        bounds.two_worlds(source.binomial(runs, rate), runs, source.binomial(runs, rate), runs)
        for _ in range(400)
    ]
    assert sum(one > mu for one in found) <= 20
    assert np.mean(found) > 0.2


def test_one_run_never_claims_more_than_there_is() -> None:
    """Randomized response is the mechanism for which the bound is tight."""
    source = np.random.default_rng(2)
    epsilon, guesses = 0.7, 500
    keep = 1 / (1 + math.exp(-epsilon))
    found = [bounds.one_run(1000, guesses, source.binomial(guesses, keep), 0.0) for _ in range(400)]
    assert sum(one > epsilon for one in found) <= 30
    assert np.mean(found) > 0.4


def test_nothing_is_proved_by_guessing() -> None:
    assert bounds.one_run(1000, 500, 250, 1e-5) == 0
    assert bounds.one_run(1000, 500, 0, 1e-5) == 0
    assert bounds.two_worlds(500, 1000, 500, 1000) == 0
    assert bounds.two_worlds(1000, 1000, 0, 1000) == 0
    assert bounds.epsilon_of(0, 1e-5) == 0


def test_a_delta_weakens_what_one_run_proves() -> None:
    pure = bounds.one_run(1000, 500, 400, 0.0)
    assert bounds.one_run(1000, 500, 400, 1e-3) < pure
    assert bounds.one_run(1000, 500, 410, 1e-5) > bounds.one_run(1000, 500, 400, 1e-5)
