"""Gaussian noise: its distribution, its grid, and sums that leave nothing in the low bits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from silo.crypto import gaussian as module
from silo.crypto.errors import ParameterError, ValueOutOfRange
from silo.crypto.gaussian import gaussian, grid, round_to
from silo.crypto.rng import InsecureSeededRng, SystemRng
from tests.vectors.verify import words

MANY = 1_000_000
cumulative = np.vectorize(lambda z: 0.5 * math.erfc(-z / math.sqrt(2)))


class FixedRng:
    """Hands out the seed it was given, and counts how often it was asked."""

    def __init__(self, seed: bytes) -> None:
        self.seed, self.asked = seed, 0

    def bytes(self, count: int, /) -> bytes:
        assert count == len(self.seed)
        self.asked += 1
        return self.seed


class Words:
    """A stream that reads as the given 64-bit words, and then ends."""

    def __init__(self, *given: int) -> None:
        self.left = list(given)

    def fill(self, out: Any) -> None:
        out.reshape(-1)[:] = np.array([self.left.pop(0) for _ in range(out.size)], np.uint64)


def exponential(word: int, finer: Any) -> float:
    out = np.empty(1)
    module._exponential(np.array([word], np.uint64), out, lambda: finer)
    return float(out[0])


def distance(draws: np.ndarray) -> float:
    """Kolmogorov and Smirnov's, to the standard normal distribution."""
    sorted_ = np.sort(draws)
    expected = cumulative(sorted_)
    steps = np.arange(len(draws) + 1) / len(draws)
    return float(max((steps[1:] - expected).max(), (expected - steps[:-1]).max()))


@pytest.mark.parametrize("std", [1.0, 1.5, 3e-200, 7e100])
def test_the_draws_are_normal(std: float, insecure_rng: InsecureSeededRng) -> None:
    draws = gaussian(100_000, std, rng=insecure_rng) / std
    # The distance of a true sample passes this with probability 1e-6; that of one 2 % too wide fails.
    assert distance(draws) < 2.7 / math.sqrt(len(draws))


def test_moments_over_a_million(insecure_rng: InsecureSeededRng) -> None:
    draws = gaussian(MANY, 2.5, rng=insecure_rng) / 2.5
    assert abs(draws.mean()) < 5e-3
    assert abs(draws.var() - 1) < 0.01
    assert abs((draws**3).mean()) < 0.02
    assert abs((draws**4).mean() - 3) < 0.05
    assert 4.5 < np.abs(draws).max() < 7


def test_the_two_values_of_a_pair_do_not_depend_on_each_other(insecure_rng: InsecureSeededRng) -> None:
    draws = gaussian(MANY, 1.0, rng=insecure_rng)
    even, odd = draws[0::2], draws[1::2]
    for f, g in [(even, odd), (even**2 - 1, odd**2 - 1), (even[1:], odd[:-1]), (even[1:], even[:-1])]:
        assert abs((f * g).mean()) < 6 * f.std() * g.std() / math.sqrt(len(f))
    quarters = np.histogram(np.arctan2(odd, even), 64, (-math.pi, math.pi))[0]
    expected = len(even) / 64
    assert ((quarters - expected) ** 2 / expected).sum() < 63 + 6 * math.sqrt(2 * 63)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 20])
def test_a_draw_is_what_its_layout_says(count: int) -> None:
    seed = bytes(range(32))
    std = 0.3
    raw = words(seed, 0, count + 1, 8)
    drawn = gaussian(count, std, rng=FixedRng(seed))
    assert drawn.shape == (count,)
    for i, value in enumerate(drawn):
        w, v = raw[i - i % 2], raw[i - i % 2 + 1]
        r, a = math.sqrt(-2 * math.log((w + 0.5) / 2**64)), 2 * math.pi * v / 2**64
        exact = std * r * (math.sin(a) if i % 2 else math.cos(a))
        assert abs(value - exact) <= grid(std)


def test_known_answers() -> None:
    # One step of the grid is what another processor's sine may differ by.
    steps = gaussian(5, 1.5, rng=InsecureSeededRng(7)) / grid(1.5)
    assert np.abs(steps - [681735541, 1281591281, -60362269, -3384283477, -2043876159]).max() <= 1


def test_a_shorter_draw_is_the_beginning_of_a_longer_one() -> None:
    seed = bytes(range(32))
    count = 2 * module._CHUNK_PAIRS
    whole = gaussian(2 * count + 6, 1.0, rng=FixedRng(seed))
    for shorter in (1, count - 1, count, count + 1, 2 * count + 5):
        np.testing.assert_array_equal(gaussian(shorter, 1.0, rng=FixedRng(seed)), whole[:shorter])


def test_each_call_takes_one_fresh_seed() -> None:
    rng = FixedRng(bytes(32))
    gaussian(100_000, 1.0, rng=rng)
    assert rng.asked == 1
    shared = InsecureSeededRng(1)
    first, second = (gaussian(1000, 1.0, rng=shared) for _ in range(2))
    other = gaussian(1000, 1.0, rng=InsecureSeededRng(2))
    np.testing.assert_array_equal(first, gaussian(1000, 1.0, rng=InsecureSeededRng(1)))
    for a, b in [(first, second), (first, other), (second, other)]:
        assert np.count_nonzero(a == b) <= 2
        assert abs((a * b).mean()) < 0.2
    assert (gaussian(8, 1.0, rng=SystemRng()) != gaussian(8, 1.0, rng=SystemRng())).any()


@pytest.mark.parametrize("std", [1.0, 0.999, 1.001, 2.0, 3e-9, 2.0**-900, 2.0**900, 0.1])
def test_values_are_whole_steps_of_the_grid(std: float, insecure_rng: InsecureSeededRng) -> None:
    step = grid(std)
    assert math.frexp(step)[0] == 0.5
    assert std * 2.0**-31 < step <= std * 2.0**-30
    steps = gaussian(10_001, std, rng=insecure_rng) / step
    np.testing.assert_array_equal(steps, np.rint(steps))
    # No coarser grid would do: both parities come up.
    assert 0.45 < (steps % 2).mean() < 0.55


def test_a_sum_on_the_grid_is_exact_and_its_low_bits_are_the_grids(insecure_rng: InsecureSeededRng) -> None:
    std = 1.7
    step = grid(std)
    totals = np.random.default_rng(3).normal(0, 1e5, 5000)
    rounded = round_to(totals, step)
    noise = gaussian(5000, std, rng=insecure_rng)
    released = rounded + noise
    for x, n, y in zip(rounded, noise, released, strict=True):
        assert int(x / step) + int(n / step) == y / step
    assert np.abs(rounded - totals).max() <= step / 2
    # The attack that the grid is against: without it the low bits are those of the total's own grid.
    naive = totals + noise
    assert np.count_nonzero(naive / step != np.rint(naive / step)) > 4000


def test_rounding_cuts_far_values_and_keeps_shape() -> None:
    far = round_to(np.array([[1e300, -1e300], [0.74, -0.76]]), 0.5)
    np.testing.assert_array_equal(far, [[2.0**50, -(2.0**50)], [0.5, -1.0]])
    single = round_to(np.array([0.3], np.float32), 2.0**-40)
    assert single.dtype == np.float64
    assert single[0] == float(np.float32(0.3))


def test_rounding_gives_a_copy() -> None:
    values = np.array([0.3])
    round_to(values, 0.5)
    assert values[0] == 0.3


def test_a_zero_keeps_no_sign() -> None:
    rounded = round_to(np.array([-0.1, -0.0, 0.1]), 1.0)
    assert not np.signbit(rounded).any()
    assert not np.signbit(module._on_grid(np.array([-0.2, 0.2]), 1.0)).any()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_no_clipping_bounds_is_refused(value: float) -> None:
    with pytest.raises(ValueOutOfRange) as refused:
        round_to(np.array([[1.0, 2.0], [value, 3.0]]), 0.5)
    assert refused.value.index == 2


@pytest.mark.parametrize("step", [0.0, -0.5, 3.0, math.nan, math.inf, 5e-324])
def test_a_grid_is_a_power_of_two(step: float) -> None:
    with pytest.raises(ParameterError, match="power of two"):
        round_to(np.zeros(1), step)


@pytest.mark.parametrize("std", [0.0, -1.0, math.nan, math.inf, 1e-300, 1e300])
def test_a_standard_deviation_is_positive_with_room(std: float, insecure_rng: InsecureSeededRng) -> None:
    with pytest.raises(ParameterError, match="standard deviation"):
        grid(std)
    with pytest.raises(ParameterError, match="standard deviation"):
        gaussian(3, std, rng=insecure_rng)


def test_counts_are_whole_and_not_negative(insecure_rng: InsecureSeededRng) -> None:
    with pytest.raises(ParameterError, match="not for -1"):
        gaussian(-1, 1.0, rng=insecure_rng)
    with pytest.raises(TypeError):
        gaussian(1.5, 1.0, rng=insecure_rng)  # type: ignore[arg-type]


def test_the_uniform_is_never_zero_and_reaches_far() -> None:
    farthest = exponential(0, Words(0))
    assert math.sqrt(farthest) == pytest.approx(math.sqrt(2 * 129 * math.log(2)), rel=1e-12)
    assert exponential(0, Words(2**64 - 1)) == pytest.approx(128 * math.log(2), rel=1e-12)


def test_the_tail_reads_a_finer_word_and_only_the_tail() -> None:
    edge = module._EDGE
    assert exponential(edge - 1, Words(5)) == pytest.approx(28 * math.log(2), rel=1e-12)
    assert exponential(edge, Words()) == pytest.approx(28 * math.log(2), rel=1e-12)
    coarse = [exponential(1, Words(x)) for x in (0, 2**63, 2**64 - 1)]
    assert coarse[0] > coarse[1] > coarse[2] >= exponential(2, Words(0))


def test_near_one_the_uniform_keeps_its_resolution() -> None:
    for below in (1, 2, 3, 1000, module._EDGE, module._EDGE + 1):
        exact = -2 * math.log1p(-(below - 0.5) / 2**64)
        assert exponential(2**64 - below, Words()) == pytest.approx(
            exact, rel=1e-11 if below <= 1000 else 1e-2
        )
    assert 0 < exponential(2**64 - 1, Words()) < exponential(2**64 - 2, Words())


def test_the_finer_words_lie_far_down_the_same_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    # Pairs of words at the beginning, turned by nothing, so that the first value of each is the radius.
    given = {0: Words(3, 0, 2**63, 0, 0, 0), module._FAR_BYTE: Words(2**62, 2**63)}
    monkeypatch.setattr(module, "Keystream", lambda seed, offset=0: given[offset])
    drawn = gaussian(6, 1.0, rng=FixedRng(bytes(32)))[0::2]
    fractions = [3.25 * 2.0**-64, 0.5, 0.5 * 2.0**-64]
    expected = [math.sqrt(-2 * math.log(u)) for u in fractions]
    np.testing.assert_allclose(drawn, expected, rtol=0, atol=grid(1.0))
    assert not any(stream.left for stream in given.values())
