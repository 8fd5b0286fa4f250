"""Poisson sampling: its rate, and that no index depends on another."""

from __future__ import annotations

import math
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest

from silo.crypto import sampling as module
from silo.crypto.errors import ParameterError
from silo.crypto.rng import InsecureSeededRng, SystemRng
from silo.crypto.sampling import subsample
from tests.vectors.verify import words


class FixedRng:
    def bytes(self, count: int, /) -> bytes:
        return bytes(range(count))


@pytest.mark.parametrize("q", [1e-4, 0.01, 0.3, 0.5, 0.999])
def test_the_rate(q: float, insecure_rng: InsecureSeededRng) -> None:
    count = 1_000_000
    kept = subsample(count, q, rng=insecure_rng)
    assert kept.dtype == np.int64
    assert abs(len(kept) - count * q) < 5 * math.sqrt(count * q * (1 - q))
    assert (np.diff(kept) > 0).all()
    assert kept[0] >= 0
    assert kept[-1] < count


def test_no_index_depends_on_another_or_on_the_call_before(insecure_rng: InsecureSeededRng) -> None:
    table = np.zeros((2000, 40))
    for row in table:
        row[subsample(40, 0.25, rng=insecure_rng)] = 1
    sizes = table.sum(axis=1)
    # The size of a Poisson sample varies: a sampler of fixed size has no variance.
    assert 0.85 < sizes.var() / (40 * 0.25 * 0.75) < 1.15
    for axis in (0, 1):
        near = np.corrcoef(np.delete(table, 0, axis).ravel(), np.delete(table, -1, axis).ravel())[0, 1]
        assert abs(near) < 5 / math.sqrt(table.size)
    rates = table.mean(axis=0)
    assert np.abs(rates - 0.25).max() < 5 * math.sqrt(0.25 * 0.75 / 2000)


@pytest.mark.parametrize("q", [0.05, 0.5, 1 - 2**-53])
def test_a_record_is_kept_for_its_own_word(q: float) -> None:
    count = module._CHUNK_WORDS + 100
    raw = words(bytes(range(32)), 0, count, 8)
    expected = [i for i, word in enumerate(raw) if Fraction(word, 2**64) < Fraction(q)]
    assert subsample(count, q, rng=FixedRng()).tolist() == expected


def test_known_answer() -> None:
    kept = [10, 13, 17, 20, 26, 40, 61, 63, 80, 81, 85, 126, 139, 167, 199]
    assert subsample(200, 0.05, rng=InsecureSeededRng(7)).tolist() == kept


def test_the_bound_is_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    class Just:
        def __init__(self, seed: object) -> None: ...

        def fill(self, out: np.ndarray) -> None:
            out[:] = [2**62 - 1, 2**62, 0, 2**64 - 1]

    monkeypatch.setattr(module, "Keystream", Just)
    assert subsample(4, 0.25, rng=FixedRng()).tolist() == [0, 2]
    assert subsample(4, 2.0**-64, rng=FixedRng()).tolist() == [2]
    assert subsample(4, 2.0**-65, rng=FixedRng()).tolist() == []
    assert subsample(4, 5e-324, rng=FixedRng()).tolist() == []


def test_one_keeps_all_and_an_empty_set_gives_nothing(insecure_rng: InsecureSeededRng) -> None:
    assert subsample(1000, 1.0, rng=insecure_rng).tolist() == list(range(1000))
    for q in (0.5, 1.0):
        empty = subsample(0, q, rng=insecure_rng)
        assert (empty.shape, empty.dtype) == ((0,), np.int64)


def test_two_calls_and_two_generators_differ() -> None:
    shared = InsecureSeededRng(1)
    draws = [
        subsample(1000, 0.5, rng=r).tolist() for r in (shared, shared, InsecureSeededRng(2), SystemRng())
    ]
    assert len({tuple(draw) for draw in draws}) == 4
    assert draws[0] == subsample(1000, 0.5, rng=InsecureSeededRng(1)).tolist()


def test_memory_is_that_of_the_sample(insecure_rng: InsecureSeededRng) -> None:
    tracemalloc.start()
    subsample(3_000_000, 1e-3, rng=insecure_rng)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_500_000


@pytest.mark.parametrize("q", [0.0, -0.1, 1.0000001, math.nan, math.inf])
def test_a_probability_is_one(q: float, insecure_rng: InsecureSeededRng) -> None:
    with pytest.raises(ParameterError, match="above 0 and at most 1"):
        subsample(10, q, rng=insecure_rng)


def test_counts_are_whole_and_not_negative(insecure_rng: InsecureSeededRng) -> None:
    with pytest.raises(ParameterError, match="not from -1"):
        subsample(-1, 0.5, rng=insecure_rng)
    with pytest.raises(TypeError):
        subsample(1.5, 0.5, rng=insecure_rng)  # type: ignore[arg-type]
