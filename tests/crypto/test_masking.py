"""Encoding and masking in one pass gives the same words however the work is divided."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silo.crypto import masking
from silo.crypto.errors import ParameterError
from silo.crypto.masking import Plain, Seeds
from silo.crypto.prg import Keystream, MaskStream
from silo.crypto.ring import CHUNK_WORDS, Exact, FixedPoint, Ring, ValueOutOfRange
from silo.crypto.rng import InsecureSeededRng
from silo.crypto.secret import Secret

RNG = InsecureSeededRng(3)
SEEDS = Seeds(
    plus=tuple(Secret.random(32, rng=RNG) for _ in range(2)),
    minus=tuple(Secret.random(32, rng=RNG) for _ in range(3)),
)
ROUNDING = Secret.random(32, rng=RNG)


def masked(plain: Plain, bits: int, threads: int = 1) -> np.ndarray:
    out = np.empty(plain.length, Ring.of(bits).dtype)
    masking.encode_masked(plain, out, seeds=SEEDS, start=6, rounding=ROUNDING, threads=threads)
    return out


@pytest.mark.parametrize("bits", [16, 24, 32, 40])
def test_it_is_the_encoding_plus_the_masks(bits: int) -> None:
    values = np.random.default_rng(1).uniform(-1, 1, 5000)
    encoder = FixedPoint(Ring.of(bits), 1.0, 3, 2.0)
    words = np.empty(5000, encoder.ring.dtype)
    encoder.encode(values, words, Keystream(ROUNDING), saturate=False, weight=1.5)
    MaskStream(SEEDS.plus, SEEDS.minus, dtype=words.dtype, start=6).add_to(words)
    assert np.array_equal(masked(Plain((values,), encoder, weight=1.5), bits), words)


def test_threads_and_parts_do_not_show() -> None:
    length = 3 * (1 << 20) + 17
    values = np.random.default_rng(2).uniform(-1, 1, length).astype(np.float32)
    encoder = FixedPoint(Ring.of(32), 1.0, 3)
    whole = masked(Plain((values,), encoder), 32)
    assert np.array_equal(masked(Plain((values,), encoder), 32, threads=3), whole)
    cuts = [0, 5, 6, CHUNK_WORDS + 1, 2 * CHUNK_WORDS, length - 1, length]
    parts = tuple(values[a:b] for a, b in itertools.pairwise(cuts))
    assert np.array_equal(masked(Plain(parts, encoder), 32, threads=2), whole)


@given(st.lists(st.integers(0, 40), max_size=6), st.integers(0, 2**31))
def test_parts_of_any_shape_equal_their_join(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = tuple(rng.integers(-9, 10, size) for size in sizes)
    joined = np.concatenate([np.zeros(0, np.int64), *parts])
    encoder = Exact(Ring.of(32), 5)
    assert np.array_equal(masked(Plain(parts, encoder), 32), masked(Plain((joined,), encoder), 32))


def test_a_bad_value_is_found_at_its_place_in_the_joined_parts() -> None:
    encoder = FixedPoint(Ring.of(32), 1.0, 3)
    first, second = np.zeros((3, 4)), np.zeros(CHUNK_WORDS + 9)
    for place, value in ((0, 1.5), (CHUNK_WORDS + 8, np.nan), (7, -np.inf)):
        bad = second.copy()
        bad[place] = value
        plain = Plain((first, bad), encoder)
        for attempt in (lambda plain=plain: masking.check(plain), lambda plain=plain: masked(plain, 32)):
            with pytest.raises(ValueOutOfRange) as caught:
                attempt()
            assert caught.value.index == 12 + place
    masking.check(Plain((np.array([1.0, -1.0]),), encoder))
    masking.check(Plain((np.array([7.0]),), encoder, saturate=True))
    with pytest.raises(ValueOutOfRange):
        masking.check(Plain((np.array([7.0, np.nan]),), encoder, saturate=True))
    with pytest.raises(ValueOutOfRange) as integer:
        masking.check(Plain((np.array([0, encoder.ring.limit(3) + 1]),), Exact(encoder.ring, 3)))
    assert integer.value.index == 1


def test_an_output_of_another_size_is_refused() -> None:
    plain = Plain((np.zeros(3),), FixedPoint(Ring.of(32), 1.0, 3))
    with pytest.raises(ParameterError, match="3 values do not fit 4"):
        masking.encode_masked(plain, np.empty(4, np.uint32), seeds=SEEDS, start=0, rounding=ROUNDING)
