"""The leak meter: it sees what leaks, nothing where nothing does, and calls a broken guarantee broken."""

from __future__ import annotations

import math
import subprocess
import sys
from statistics import NormalDist

import numpy as np
import pytest

from silo import leak as meters
from silo.crypto.errors import ParameterError
from silo.leak.auc import strata

NORMAL = NormalDist()
COUNT, WIDTH, BATCH, EPOCHS = 4000, 8, 500, 10


class Job:
    """Made-up gradients: a residual times a slope, in batches of a fresh order, over epochs."""

    def __init__(self, seed: int, *, rate: float = 0.25, count: int = COUNT) -> None:
        self.source = np.random.default_rng(seed)
        self.labels = (self.source.random(count) < rate).astype(np.float64)
        self.axis = self.source.normal(size=WIDTH)
        self.slopes = np.outer(np.ones(count), self.axis)
        self.chance = np.full(count, rate)

    def meter(
        self, *, sigma: float = 0.0, isotropic: float = 0.0, labels: np.ndarray | None = None
    ) -> meters.Reading:
        return self.readings(meters.Meter(self.labels), sigma=sigma, isotropic=isotropic, labels=labels)[-1]

    def readings(
        self,
        meter: meters.Meter,
        *,
        sigma: float = 0.0,
        isotropic: float = 0.0,
        labels: np.ndarray | None = None,
        prior: np.ndarray | None = None,
    ) -> list[meters.Reading]:
        told = self.labels if labels is None else labels
        found = []
        for _ in range(EPOCHS):
            order = self.source.permutation(len(told))
            for rows in np.split(order, range(BATCH, len(order), BATCH)):
                noised = self.chance[rows] - told[rows] + sigma * self.source.normal(size=len(rows))
                gradients = noised[:, None] * self.slopes[rows]
                gradients += isotropic * self.source.normal(size=gradients.shape)
                meter.saw(rows, gradients / len(rows))
            found.append(meter.end_epoch(prior))
        return found


@pytest.mark.parametrize("ties", [False, True])
def test_the_area_is_scikit_learns(ties: bool) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    source = np.random.default_rng(1)
    for count in (5, 60, 3000):
        scores = source.normal(size=count)
        scores = np.round(scores * 2) if ties else scores
        labels = np.arange(count) % 3 == 0
        want = metrics.roc_auc_score(labels, scores)
        assert meters.auc(scores, labels) == pytest.approx(want, abs=1e-12)
        assert meters.auc(-scores, labels) == pytest.approx(1 - want, abs=1e-12)


def test_over_strata_only_pairs_of_one_stratum_count() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    source = np.random.default_rng(2)
    prior, noise = source.normal(size=6000), source.normal(size=6000)
    labels = source.random(6000) < 1 / (1 + np.exp(-2 * prior))
    groups = strata(prior)
    scores = np.round(3 * (prior + noise))
    total = weights = 0.0
    for kind in range(20):
        inside = groups == kind
        pairs = labels[inside].sum() * (~labels[inside]).sum()
        total += pairs * metrics.roc_auc_score(labels[inside], scores[inside])
        weights += pairs
    found = meters.area(scores, labels, groups)
    assert found.value == pytest.approx(total / weights, abs=1e-12)
    # The score says nothing that the prior does not say: it does well by itself, and not within a stratum.
    assert meters.auc(scores, labels) > 0.7
    assert found.value < 0.53


def test_the_error_of_an_area_is_that_of_repetitions() -> None:
    source = np.random.default_rng(3)
    labels = np.arange(400) % 4 == 0
    found = [meters.area(source.normal(size=400) + labels, labels) for _ in range(300)]
    values = np.array([one.value for one in found])
    assert np.mean([one.error for one in found]) == pytest.approx(values.std(), rel=0.15)
    groups = np.arange(400) // 100
    within = [meters.area(source.normal(size=400) + labels, labels, groups) for _ in range(300)]
    assert np.mean([one.error for one in within]) == pytest.approx(
        np.std([one.value for one in within]), rel=0.15
    )


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.0, 0.4, 1.5])
def test_an_interval_covers_as_often_as_it_says(shift: float) -> None:
    source = np.random.default_rng(4)
    labels = np.arange(600) % 5 == 0
    truth, inside, runs = NORMAL.cdf(shift / math.sqrt(2)), 0, 4000
    for _ in range(runs):
        low, high = meters.area(source.normal(size=600) + shift * labels, labels).interval(0.95)
        inside += low <= truth <= high
    assert 0.935 <= inside / runs <= 0.965


def test_bounds() -> None:
    assert meters.bound(0) == 0.5
    assert meters.bound(math.inf) == 1
    assert meters.bound(0.33) == pytest.approx(0.592, abs=5e-4)
    assert meters.mu_of(meters.sigma_of(0.33, 20), 20) == pytest.approx(0.33)
    assert meters.mu_of(0, 3) == math.inf
    assert meters.mu_of(0, 0) == 0
    for wrong in (-1.0, math.nan):
        with pytest.raises(ParameterError):
            meters.bound(wrong)
    with pytest.raises(ParameterError):
        meters.mu_of(-1, 1)
    with pytest.raises(ParameterError):
        meters.sigma_of(0, 1)


def test_every_attack_sees_an_undefended_leak() -> None:
    reading = Job(5).meter()
    for one in reading.attacks:
        assert one.batch_mean >= 0.99
        assert one.accumulated >= 0.99
    assert reading.low >= 0.99
    assert reading.beyond(0.33)


def test_nothing_is_found_where_the_gradients_do_not_depend_on_the_labels() -> None:
    job = Job(6)
    reading = job.meter(labels=job.source.permutation(job.labels))
    for one in reading.attacks:
        assert one.accumulated < 0.54
        assert one.batch_mean < 0.54
        assert one.low <= 0.5
    assert not reading.beyond(0)


def test_sums_over_epochs_beat_single_batches_under_isotropic_noise() -> None:
    job = Job(7)
    reading = job.meter(isotropic=1.0 * float(np.linalg.norm(job.axis)))
    spectral = reading.attack("spectral")
    assert spectral.batch_mean < 0.85
    assert spectral.accumulated > spectral.batch_mean + 0.1


def test_the_leak_under_the_guides_noise_is_as_large_as_the_bound_and_not_larger() -> None:
    for seed in range(3):
        readings = Job(8 + seed).readings(meters.Meter(Job(8 + seed).labels), sigma=4.0)
        mu = meters.mu_of(4.0, EPOCHS)
        assert not readings[-1].beyond(mu)
        assert readings[-1].leak == pytest.approx(meters.bound(mu), abs=0.035)
        assert readings[-1].leak > readings[0].leak


def test_noise_of_half_the_claim_is_called_a_violation() -> None:
    assert Job(12).meter(sigma=2.0).beyond(meters.mu_of(4.0, EPOCHS))


def test_what_the_features_tell_is_no_leak() -> None:
    job = Job(13)
    features = job.source.normal(size=COUNT)
    job.labels = (job.source.random(COUNT) < 1 / (1 + np.exp(-2 * features))).astype(np.float64)
    # The slope of the top grows with the features, and the residuals are nothing but noise.
    job.slopes = job.slopes * np.exp(features)[:, None]
    nothing = np.zeros(COUNT)
    bare = job.readings(meters.Meter(job.labels), sigma=1.0, labels=nothing)[-1]
    told = job.readings(meters.Meter(job.labels), sigma=1.0, labels=nothing, prior=features)[-1]
    assert bare.attack("norm").accumulated > 0.75
    assert bare.beyond(0.33)
    assert not bare.with_prior
    assert told.attack("norm").accumulated > 0.75
    assert told.attack("norm").beyond_features < 0.56
    assert not told.beyond(0.33)
    # A true leak is still found.
    assert job.readings(meters.Meter(job.labels), prior=features)[-1].beyond(1.0)


def test_a_meter_that_follows_some_records_finds_the_same() -> None:
    job = Job(14)
    some = meters.Meter(job.labels, most=500)
    reading = job.readings(some)[-1]
    assert all(one.accumulated >= 0.99 for one in reading.attacks)
    assert reading.beyond(0.33)
    honest = Job(15)
    quiet = honest.readings(meters.Meter(honest.labels, most=1000), sigma=4.0)[-1]
    assert not quiet.beyond(meters.mu_of(4.0, EPOCHS))
    assert quiet.leak == pytest.approx(meters.bound(meters.mu_of(4.0, EPOCHS)), abs=0.07)


def test_a_reading_can_be_stored() -> None:
    stored = Job(16).meter().to_json()
    assert [one["attack"] for one in stored["attacks"]] == ["norm", "cosine", "spectral"]
    assert stored["leak"] >= stored["low"] > 0.99
    assert stored["epoch"] == EPOCHS


def test_what_cannot_be_measured_is_refused_by_name() -> None:
    labels = np.array([0, 1, 0, 1])
    with pytest.raises(ParameterError, match="of both kinds"):
        meters.Meter(np.ones(4))
    with pytest.raises(ParameterError, match="confidence"):
        meters.Meter(labels, confidence=1.0)
    meter = meters.Meter(labels)
    with pytest.raises(ParameterError, match="seen no gradient"):
        meter.end_epoch()
    with pytest.raises(ParameterError, match="one gradient per row"):
        meter.saw(np.arange(3), np.ones((2, 4)))
    with pytest.raises(ParameterError, match="not finite"):
        meter.saw(np.arange(2), np.array([[1.0, math.nan], [0, 0]]))
    meter.saw(np.array([0, 2]), np.ones((2, 2)))
    with pytest.raises(ParameterError, match="one label only"):
        meter.end_epoch()
    with pytest.raises(ParameterError, match="2 wide"):
        meter.saw(np.arange(2), np.ones((2, 3)))
    meter.saw(np.arange(0), np.ones((0, 2)))
    with pytest.raises(ParameterError, match="not finite"):
        meters.auc(np.array([math.inf, 0]), np.array([0, 1]))
    with pytest.raises(ParameterError, match="both labels"):
        meters.auc(np.zeros(2), np.zeros(2))
    with pytest.raises(ParameterError, match="one score per label"):
        meters.auc(np.zeros(2), np.zeros(3))


def test_gradients_that_are_all_zero_tell_nothing() -> None:
    meter = meters.Meter(np.arange(100) % 3 == 0)
    meter.saw(np.arange(100), np.zeros((100, 4)))
    assert meter.end_epoch().leak == 0.5


def test_the_meter_runs_without_torch() -> None:
    program = "import sys, silo.leak, silo.audit, silo.audit.labels; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
