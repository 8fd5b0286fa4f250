"""Skellam noise: its probabilities against other people's code and against itself, and its draws."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import accumulate
from typing import Any

import numpy as np
import pytest

from silo.crypto import bessel, inversion
from silo.crypto import skellam as module
from silo.crypto.bessel import LEAST_WIDE, REACH, Decay, masses
from silo.crypto.errors import ParameterError
from silo.crypto.inversion import Inversion
from silo.crypto.rng import InsecureSeededRng, SystemRng
from silo.crypto.skellam import MOST_VARIANCE, Narrow, Wide, skellam
from tests.vectors.verify import words

MANY = 100_000
VARIANCES = [0.5, 3.0, 100.0, 1e4]


class FixedRng:
    def __init__(self) -> None:
        self.asked = 0

    def bytes(self, count: int, /) -> bytes:
        self.asked += 1
        return bytes(range(count))


class Words:
    """A stream that reads as the given 64-bit words, and then ends."""

    def __init__(self, *given: int) -> None:
        self.left = list(given)

    def fill(self, out: Any) -> None:
        out.reshape(-1)[:] = np.array([self.left.pop(0) for _ in range(out.size)], np.uint64)


def probabilities(variance: float) -> list[Fraction]:
    """p_0, p_1, ... of the magnitude table, as the signed distribution's."""
    found = masses(variance)
    total = 2 * sum(found) - found[0]
    return [Fraction(mass, total) for mass in found]


def chi_square(draws: np.ndarray, p: list[float]) -> tuple[float, int]:
    """Over values pooled until 20 are expected in each bin; the outer bins take the tails."""
    last = len(p) - 1
    signed = np.array([p[abs(n)] for n in range(-last, last + 1)])
    counts = np.bincount(draws + last, minlength=2 * last + 1)
    seen, expected = [0.0], [0.0]
    for c, e in zip(counts, signed * len(draws), strict=True):
        if expected[-1] >= 20:
            seen.append(0.0)
            expected.append(0.0)
        seen[-1] += float(c)
        expected[-1] += float(e)
    assert sum(seen) == len(draws)
    return sum((s - e) ** 2 / e for s, e in zip(seen, expected, strict=True) if e >= 5), len(seen) - 1


@pytest.mark.parametrize("variance", VARIANCES)
def test_the_probabilities_are_those_of_scipy(variance: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    special = pytest.importorskip("scipy.special")
    p = probabilities(variance)
    bulk = np.arange(min(len(p), math.ceil(4 * math.sqrt(variance)) + 1))
    ours = np.array([float(p[n]) for n in bulk])
    np.testing.assert_allclose(ours, special.ive(bulk, variance), rtol=1e-9)
    np.testing.assert_allclose(ours, stats.skellam.pmf(bulk, variance / 2, variance / 2), rtol=1e-9)


@pytest.mark.parametrize("variance", [0.5, 3.0, 0.1])
def test_the_probabilities_are_the_convolution_of_two_poissons(variance: float) -> None:
    half = Fraction(variance) / 2
    poisson = [half**k / math.factorial(k) for k in range(90)]
    total = sum(poisson) ** 2
    p = probabilities(variance)
    for n in range(12):
        exact = sum(poisson[k] * poisson[k + n] for k in range(90 - n)) / total
        assert abs(p[n] - exact) < Fraction(1, 2**120)


@pytest.mark.parametrize("variance", [*VARIANCES, 5e-324, 1e-9, LEAST_WIDE])
def test_the_table_ends_where_nothing_is_left_and_has_the_variance(variance: float) -> None:
    p = probabilities(variance)
    assert len(p) <= 2**15
    assert p[-1] < Fraction(1, 2**150)
    second = 2 * sum(n * n * q for n, q in enumerate(p))
    assert abs(second / Fraction(variance) - 1) < Fraction(1, 2**100)


@pytest.mark.parametrize("variance", [LEAST_WIDE, 1.37 * LEAST_WIDE])
def test_the_expansion_meets_the_recurrence(variance: float) -> None:
    found, decay = masses(variance), Decay(variance)
    top = int(REACH * math.sqrt(variance))
    for n in [0, 1, 2, 3, *range(100, top, top // 50), top]:
        ours, exact = Fraction(decay.at(n), 2**bessel.FIXED_BITS), Fraction(found[n], found[0])
        assert abs(ours - exact) < Fraction(1, 2**115) * max(exact, Fraction(1, 2**60))


def test_the_expansion_holds_the_recurrence_for_the_largest_variance() -> None:
    # I_(n-1) - I_(n+1) = (2n/x) I_n: the difference is 2^-40 of its terms here, and still comes out.
    decay = Decay(MOST_VARIANCE)
    for z in (0.5, 3.0, 7.0):
        n = int(z * 2.0**40)
        left = decay.at(n - 1) - decay.at(n + 1)
        right = Fraction(2 * n * decay.at(n)) / Fraction(MOST_VARIANCE)
        assert abs(left / right - 1) < Fraction(1, 2**75)
    assert decay.at(2**40) / decay.at(0) == pytest.approx(math.exp(-0.5), rel=1e-12)


def test_what_the_cells_cut_off_is_below_two_to_the_minus_100() -> None:
    found = masses(LEAST_WIDE)
    cut = math.floor(REACH * math.sqrt(LEAST_WIDE)) >> 3 << 3
    assert Fraction(2 * sum(found[cut:]), 2 * sum(found)) < Fraction(1, 2**100)
    assert math.erfc((REACH - 1 / 64) / math.sqrt(2)) < 2.0**-100


@pytest.mark.parametrize("variance", VARIANCES)
def test_draws_pass_a_chi_square(variance: float, insecure_rng: InsecureSeededRng) -> None:
    draws = skellam(MANY, variance, rng=insecure_rng)
    statistic, freedom = chi_square(draws, [float(q) for q in probabilities(variance)])
    assert freedom >= 4
    assert statistic < freedom + 5 * math.sqrt(2 * freedom)


def test_draws_by_rejection_pass_the_chi_square_of_the_recurrence(insecure_rng: InsecureSeededRng) -> None:
    variance = 1.37 * LEAST_WIDE
    draws = skellam(4 * MANY, variance, rng=insecure_rng)
    statistic, freedom = chi_square(draws, [float(q) for q in probabilities(variance)])
    assert freedom > 2000
    assert statistic < freedom + 5 * math.sqrt(2 * freedom)
    # A negative zero that were kept would double the count of zeros, and stand out among its neighbours.
    near = draws[np.abs(draws) <= 40]
    seen = np.bincount(near + 40, minlength=81)
    expected = len(draws) * float(probabilities(variance)[0])
    assert ((seen - expected) ** 2 / expected).sum() < 81 + 5 * math.sqrt(2 * 81)


@pytest.mark.parametrize("variance", [*VARIANCES, LEAST_WIDE, 2.0**30, 3e11, 2.0**40, MOST_VARIANCE])
def test_moments_and_symmetry(variance: float, insecure_rng: InsecureSeededRng) -> None:
    draws = skellam(MANY, variance, rng=insecure_rng)
    assert (draws.shape, draws.dtype) == ((MANY,), np.int64)
    z = draws / math.sqrt(variance)
    assert abs((z**2).mean() - 1) < 0.02
    assert abs(z.mean()) < 5 / math.sqrt(MANY)
    assert abs((z**4).mean() - 3 - 1 / variance) < 0.15 * (1 + 1 / variance)
    positive, negative = np.count_nonzero(z > 0), np.count_nonzero(z < 0)
    assert abs(positive - negative) < 5 * math.sqrt(MANY)
    upper, lower = np.sort(z[z > 0])[-MANY // 8 :], np.sort(-z[z < 0])[-MANY // 8 :]
    assert abs(upper.mean() - lower.mean()) < 0.05


@pytest.mark.parametrize("variance", [2.0**30, 2.0**60])
def test_large_draws_are_all_but_normal_and_use_every_bit(
    variance: float, insecure_rng: InsecureSeededRng
) -> None:
    draws = skellam(MANY, variance, rng=insecure_rng)
    z = np.sort(draws / math.sqrt(variance))
    normal = np.vectorize(lambda v: 0.5 * math.erfc(-v / math.sqrt(2)))(z)
    steps = np.arange(MANY + 1) / MANY
    assert max((steps[1:] - normal).max(), (normal - steps[:-1]).max()) < 2.7 / math.sqrt(MANY)
    for bit in range(8):
        assert abs((draws >> bit & 1).mean() - 0.5) < 5 / math.sqrt(4 * MANY)


def test_neighbouring_draws_do_not_depend_on_each_other(insecure_rng: InsecureSeededRng) -> None:
    for variance in (3.0, 2.0**30):
        z = skellam(MANY, variance, rng=insecure_rng) / math.sqrt(variance)
        assert abs((z[1:] * z[:-1]).mean()) < 5 / math.sqrt(MANY)


def test_the_sum_of_noises_is_the_noise_of_the_sum(insecure_rng: InsecureSeededRng) -> None:
    total = sum(skellam(MANY, 1.25, rng=insecure_rng) for _ in range(4))
    statistic, freedom = chi_square(total, [float(q) for q in probabilities(5.0)])
    assert statistic < freedom + 5 * math.sqrt(2 * freedom)


def test_a_draw_is_what_its_layout_says() -> None:
    raw = words(bytes(range(32)), 0, 500, 8)
    p = probabilities(100.0)
    reached = list(accumulate([p[0], *(2 * q for q in p[1:])]))
    drawn = skellam(500, 100.0, rng=FixedRng())
    for word, value in zip(raw, drawn, strict=True):
        magnitude = sum(Fraction(word >> 1, 2**63) >= edge for edge in reached)
        assert value == (-magnitude if word & 1 else magnitude)


def test_known_answers() -> None:
    answers = {
        3.0: [2, 0, 0, -2, 1, -1, -2, 1],
        100.0: [10, -2, 1, -11, 4, -5, -13, 5],
        2.0**40: [1008238, -225760, 140940, -1198727, 439272, -562947, -1336803, 528121],
    }
    for variance, expected in answers.items():
        assert skellam(8, variance, rng=InsecureSeededRng(7)).tolist() == expected


def test_two_calls_and_two_generators_differ() -> None:
    for variance in (100.0, 2.0**40):
        shared = InsecureSeededRng(1)
        draws = [skellam(100, variance, rng=r) for r in (shared, shared, InsecureSeededRng(2), SystemRng())]
        assert len({draw.tobytes() for draw in draws}) == 4
        np.testing.assert_array_equal(draws[0], skellam(100, variance, rng=InsecureSeededRng(1)))
        counted = FixedRng()
        skellam(50_000, variance, rng=counted)
        assert counted.asked == 1


def test_a_tie_is_decided_by_the_next_word_of_the_stream() -> None:
    # Thirds do not end in 127 bits: the heads 01010... tie with the first threshold.
    thirds = Inversion([1, 1, 1])
    head = 2**63 // 3
    edge = 2**127 // 3 - (head << 64)
    for low, expected in [(0, 0), (edge - 1, 0), (edge, 1), (2**64 - 1, 1)]:
        for sign in (0, 1):
            stream = Words(low)
            index, negative = thirds.draw(np.array([head << 1 | sign], np.uint64), stream)
            assert (index.tolist(), negative.tolist()) == ([expected], [bool(sign)])
            assert stream.left == []
    untied = np.array([(head - 1) << 1, (head + 1) << 1, 0, 2**64 - 1], np.uint64)
    assert thirds.draw(untied, Words())[0].tolist() == [0, 1, 0, 2]


def test_several_ties_each_read_their_own_word() -> None:
    thirds = Inversion([1, 1, 1])
    heads = [2**63 // 3, 5, 2 * 2**63 // 3, 2**63 // 3]
    stream = Words(0, 2**64 - 1, 2**64 - 1)
    index, _ = thirds.draw(np.array([head << 1 for head in heads], np.uint64), stream)
    assert index.tolist() == [0, 0, 2, 1]


def test_the_far_tail_is_reached_through_ties() -> None:
    # The last words of 63 bits hold many thresholds: whole numbers tell them apart.
    narrow = Narrow(3.0)
    far = [
        int(narrow.draw(1, Words(2**64 - 1, low))[0]) for low in (0, 2**64 - 2**50, 2**64 - 2**40, 2**64 - 1)
    ]
    assert far == sorted(far, reverse=True)
    assert len(set(far)) == 4
    p = probabilities(3.0)
    for low, value in zip((2**64 - 2**50, 2**64 - 2**40), far[1:3], strict=True):
        u = Fraction(((2**63 - 1) << 64) + low, 2**127)
        assert 1 - 2 * sum(p[-value:]) <= u < 1 - 2 * sum(p[-value + 1 :])


def test_zero_weights_are_never_drawn_and_one_weight_always() -> None:
    every = np.array([0, 1, 2**63, 2**64 - 1], np.uint64)
    assert Inversion([0, 5, 0]).draw(every, Words(*[7] * 4))[0].tolist() == [1] * 4
    assert Inversion([3]).draw(every, Words())[0].tolist() == [0] * 4


@pytest.mark.parametrize("weights", [[], [0, 0], [3, -1]])
def test_weights_are_a_distribution(weights: list[int]) -> None:
    with pytest.raises(ParameterError, match="weights of 0 or more"):
        Inversion(weights)


def trial(wide: Wide, cell: int, within: int, sign: int, u: int, *more: int) -> list[int]:
    threshold = 0 if cell == 0 else wide._cells._thresholds[cell - 1] >> 64
    return wide.draw(1, Words((threshold + 1) << 1 | sign, within, u, *more)).tolist()


def test_a_trial_is_kept_just_below_its_exact_ratio() -> None:
    wide = Wide(2.0**30)
    size, cell = 1 << wide._bits, 200
    for within in (1, size // 2, size - 1):
        n = cell * size + within
        ratio = (wide._decay.at(n) << 128) // wide._decay.at(cell * size)
        head, tail = divmod(ratio, 2**64)
        assert trial(wide, cell, within, 1, head, tail) == [-n]
        assert trial(wide, cell, within, 1, head, tail + 1) == []
        assert trial(wide, cell, within, 0, head - 1, 2**64 - 1) == [n]
        assert trial(wide, cell, within, 0, 2**64 - 1, 0) == []
    # The first value of a cell is kept whatever the word.
    assert trial(wide, cell, 0, 0, 2**64 - 1, 2**64 - 1) == [cell * size]


def test_the_short_cut_never_keeps_what_the_exact_ratio_refuses() -> None:
    for variance in (1.01 * LEAST_WIDE, 2.0**45, MOST_VARIANCE):
        wide = Wide(variance)
        size = 1 << wide._bits
        for cell in (0, 1, 50, len(wide._surely) - 1):
            # Every value of the cell is likelier than the next cell's first.
            ratio = Fraction(wide._decay.at((cell + 1) * size), wide._decay.at(cell * size))
            surely = Fraction(int(wide._surely[cell]), 2**64)
            assert ratio - Fraction(4, 2**64) < surely < ratio


def test_a_negative_zero_is_not_kept() -> None:
    wide = Wide(2.0**30)
    assert trial(wide, 0, 0, 0, 5) == [0]
    assert trial(wide, 0, 0, 1, 5) == []
    assert trial(wide, 0, 1, 1, 5) == [-1]


def test_tables_are_kept_for_a_few_variances(insecure_rng: InsecureSeededRng) -> None:
    module._sampler.cache_clear()
    for variance in (3.0, 3, 3.0, 4.0):
        skellam(10, variance, rng=insecure_rng)
    info = module._sampler.cache_info()
    assert (info.misses, info.hits) == (2, 2)
    assert info.maxsize is not None
    assert info.maxsize <= 16


@pytest.mark.parametrize("variance", [5e-324, 1e-300, 1e-40])
def test_a_tiny_variance_gives_zeros(variance: float, insecure_rng: InsecureSeededRng) -> None:
    assert not skellam(1000, variance, rng=insecure_rng).any()


def test_no_draws() -> None:
    empty = skellam(0, 3.0, rng=InsecureSeededRng(1))
    assert (empty.shape, empty.dtype) == ((0,), np.int64)


@pytest.mark.parametrize("variance", [0.0, -1.0, math.nan, math.inf, 2.0**80 * 1.001])
def test_a_variance_is_positive_and_fits(variance: float, insecure_rng: InsecureSeededRng) -> None:
    with pytest.raises(ParameterError, match="above 0 and at most 2\\^80"):
        skellam(3, variance, rng=insecure_rng)


def test_counts_are_whole_and_not_negative(insecure_rng: InsecureSeededRng) -> None:
    with pytest.raises(ParameterError, match="not for -1"):
        skellam(-1, 3.0, rng=insecure_rng)
    with pytest.raises(TypeError):
        skellam(1.5, 3.0, rng=insecure_rng)  # type: ignore[arg-type]


def test_a_word_is_read_little_endian() -> None:
    class Bytes:
        def fill(self, out: np.ndarray) -> None:
            out.view(np.uint8)[:] = np.arange(1, 9, dtype=np.uint8)

    assert inversion.next_word(Bytes()) == 0x0807060504030201  # type: ignore[arg-type]
