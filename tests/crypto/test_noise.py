"""Gaussian and Skellam noise, and Poisson sampling: distributions, grids, exactness and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from silo.crypto.errors import ParameterError
from silo.crypto.gaussian import gaussian, grid, round_to
from silo.crypto.rng import InsecureSeededRng, SystemRng
from silo.crypto.sampling import subsample
from silo.crypto.skellam import skellam

MANY = 400_000


def rng(seed: int = 7) -> InsecureSeededRng:
    return InsecureSeededRng(seed)


def normal_cdf(x: np.ndarray) -> np.ndarray:
    return np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in x])


@pytest.mark.parametrize("std", [1e-9, 0.37, 1.0, 5e6])
def test_gaussian_noise_has_the_normal_distribution(std: float) -> None:
    drawn = np.sort(gaussian(MANY, std, rng=rng()) / std)
    thinned = drawn[:: MANY // 2000]
    empirical = np.arange(MANY)[:: MANY // 2000] / MANY
    assert np.max(np.abs(normal_cdf(thinned) - empirical)) < 1.95 / math.sqrt(MANY) + 1 / MANY
    assert drawn.var() == pytest.approx(1.0, rel=0.01)
    assert abs(drawn.mean()) < 4 / math.sqrt(MANY)
    assert np.mean(drawn**4) == pytest.approx(3.0, rel=0.05)
    assert 4 < drawn[-1] < 6.5


def test_gaussian_halves_are_independent() -> None:
    drawn = gaussian(1 << 15, 1.0, rng=rng())
    half = len(drawn) // 2
    assert abs(np.corrcoef(drawn[:half], drawn[half:])[0, 1]) < 4 / math.sqrt(half)
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 4 / math.sqrt(len(drawn))


@pytest.mark.parametrize("count", [0, 1, 2, 3, (1 << 15) - 1, (1 << 15) + 1, 100_003])
def test_gaussian_noise_lies_on_its_grid(count: int) -> None:
    step = grid(2.5)
    drawn = gaussian(count, 2.5, rng=rng())
    assert drawn.shape == (count,)
    assert math.log2(step) == round(math.log2(step))
    assert np.array_equal(drawn / step, np.rint(drawn / step))


def test_adding_noise_to_a_rounded_value_is_exact() -> None:
    step = grid(1.0)
    value = round_to(np.linspace(-1e5, 1e5, 1001), step)
    noise = gaussian(1001, 1.0, rng=rng())
    assert np.array_equal((value + noise) - noise, value)
    assert np.array_equal((value + noise) / step, np.rint((value + noise) / step))


def test_noise_is_fresh_and_follows_the_generator_alone() -> None:
    np.random.seed(1)
    first = gaussian(64, 1.0, rng=SystemRng())
    np.random.seed(1)
    assert not np.array_equal(first, gaussian(64, 1.0, rng=SystemRng()))
    source = rng()
    assert not np.array_equal(gaussian(64, 1.0, rng=source), gaussian(64, 1.0, rng=source))
    assert np.array_equal(gaussian(64, 1.0, rng=rng(3)), gaussian(64, 1.0, rng=rng(3)))
    assert not np.array_equal(skellam(64, 9.0, rng=source), skellam(64, 9.0, rng=source))
    assert not np.array_equal(subsample(640, 0.5, rng=source), subsample(640, 0.5, rng=source))


@pytest.mark.parametrize("variance", [0.5, 40.0, 1e4, 2.0**24])
def test_skellam_noise_has_its_variance_and_is_symmetric(variance: float) -> None:
    drawn = skellam(100_000, variance, rng=rng())
    assert drawn.dtype == np.int64
    assert drawn.var() == pytest.approx(variance, rel=0.02)
    assert abs(drawn.mean()) < 4 * math.sqrt(variance / len(drawn))
    assert abs(np.mean((drawn / math.sqrt(variance)) ** 3)) < 4 * math.sqrt(15 / len(drawn)) * (
        1 + 1 / variance
    )


def test_small_skellam_noise_fits_chi_square() -> None:
    stats = pytest.importorskip("scipy.stats")
    drawn = skellam(200_000, 2.0, rng=rng())
    places = np.arange(-4, 5)
    found = [np.count_nonzero(drawn == k) for k in places]
    want = stats.skellam.pmf(places, 1.0, 1.0) * len(drawn)
    assert stats.chi2.sf(np.sum((found - want) ** 2 / want), len(places) - 1) > 1e-3


@pytest.mark.parametrize("probability", [0.003, 0.25, 0.9])
def test_units_are_sampled_independently_at_their_rate(probability: float) -> None:
    kept = subsample(MANY, probability, rng=rng())
    assert np.array_equal(kept, np.unique(kept))
    assert kept.max() < MANY
    spread = math.sqrt(MANY * probability * (1 - probability))
    assert abs(len(kept) - MANY * probability) < 4 * spread
    marked = np.zeros(MANY)
    marked[kept] = 1
    assert abs(np.corrcoef(marked[:-1], marked[1:])[0, 1]) < 4 / math.sqrt(MANY)


def test_sampling_at_the_edges() -> None:
    assert np.array_equal(subsample(5, 1.0, rng=rng()), np.arange(5))
    assert len(subsample(10**5, 2.0**-70, rng=rng())) == 0
    assert len(subsample(0, 0.5, rng=rng())) == 0


def test_sizes_of_samples_vary_as_they_must() -> None:
    source = rng()
    sizes = np.array([len(subsample(1000, 0.1, rng=source)) for _ in range(2000)])
    assert sizes.var() == pytest.approx(90, rel=0.15)


@pytest.mark.parametrize(
    "call",
    [
        lambda: gaussian(1, 0.0, rng=rng()),
        lambda: gaussian(1, math.nan, rng=rng()),
        lambda: gaussian(-1, 1.0, rng=rng()),
        lambda: skellam(1, 0.0, rng=rng()),
        lambda: skellam(1, 2.0**81, rng=rng()),
        lambda: skellam(-1, 1.0, rng=rng()),
        lambda: subsample(1, 0.0, rng=rng()),
        lambda: subsample(1, 1.5, rng=rng()),
        lambda: subsample(-1, 0.5, rng=rng()),
    ],
)
def test_what_cannot_be_drawn(call: object) -> None:
    with pytest.raises(ParameterError):
        call()  # type: ignore[operator]
