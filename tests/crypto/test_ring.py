from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silo.crypto.errors import ParameterError
from silo.crypto.prg import CHUNK_BYTES, Keystream, MaskStream, accumulate
from silo.crypto.ring import CHUNK_WORDS, Exact, FixedPoint, Ring, ValueOutOfRange
from silo.crypto.secret import Secret
from tests.vectors import verify

SEED = Secret(bytes(range(32)))
BITS = st.sampled_from([16, 24, 32, 40])
DTYPES = st.sampled_from([np.float32, np.float64])


def encode(
    encoder: FixedPoint, values: np.ndarray, *, saturate: bool = False, weight: float = 1.0
) -> np.ndarray:
    out = np.full(values.size, 0xA5, encoder.ring.dtype)
    encoder.encode(values, out, Keystream(SEED), saturate=saturate, weight=weight)
    return out


def noise(count: int) -> list[int]:
    unsigned = verify.words(SEED.reveal(), 0, count, 4)
    return [word - 2**32 if word >= 2**31 else word for word in unsigned]


def test_rings() -> None:
    for bits, name, wire in ((16, "<u2", 2), (24, "<u4", 3), (32, "<u4", 4), (40, "<u8", 5)):
        ring = Ring.of(bits)
        assert (ring.dtype, ring.wire_bytes, ring.mask) == (np.dtype(name), wire, 2**bits - 1)
        assert ring == Ring(bits)
        assert hash(ring) == hash(Ring(bits))
    for bits in (0, 8, 33, 64, -16):
        with pytest.raises(ParameterError, match=f"not {bits}"):
            Ring.of(bits)
    assert CHUNK_WORDS * 4 == CHUNK_BYTES


@given(st.data(), BITS, DTYPES, st.integers(1, 2000))
def test_encoding_is_exactly_what_fractions_say(
    data: st.DataObject, bits: int, dtype: type, parties: int
) -> None:
    clip = data.draw(st.floats(1e-30, 1e30))
    heaviest = data.draw(st.sampled_from([1.0, 3.7, 1e6]))
    weight = data.draw(st.floats(0, heaviest))
    if not 1e-30 <= clip * heaviest <= 1e30:
        return
    encoder = FixedPoint(Ring.of(bits), clip, parties, heaviest)
    inside = st.floats(-1, 1) | st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 2.0**-24, 5e-324])
    values = (np.array(data.draw(st.lists(inside, max_size=40))) * clip).astype(dtype)
    values = values[np.abs(values.astype(np.float64)) <= clip]
    words = encode(encoder, values, weight=weight)
    scale = verify.exactly(encoder.scale.hex())
    factor = verify.to_float64(Fraction(weight) * scale) * 2**32
    expected = [
        verify.encode(Fraction(float(value)), factor, n, bits)
        for value, n in zip(values, noise(len(values)), strict=True)
    ]
    assert [int(word) & encoder.ring.mask for word in words] == expected
    for value, number in zip(values, encoder.ring.signed(words).tolist(), strict=True):
        exact = Fraction(float(value)) * Fraction(weight) * scale
        assert abs(number - exact) < 1 + Fraction(1, 2**10)
        assert abs(number) <= encoder.ring.limit(parties)


@given(BITS, st.integers(1, 5000), st.sampled_from([0.1, 1.0, 3.0, 1e-9, 7e12]), st.sampled_from([1.0, 12.5]))
def test_the_clip_never_passes_the_headroom(bits: int, parties: int, clip: float, heaviest: float) -> None:
    limit = Ring.of(bits).limit(parties)
    encoder = FixedPoint(Ring.of(bits), clip, parties, heaviest)
    both = np.repeat([clip, -clip], 200)
    signed = encoder.ring.signed(encode(encoder, both, weight=heaviest))
    assert int(np.abs(signed).max()) <= limit
    # For every noise there is, not only for those drawn: by the definition, at its two extremes.
    factor = verify.to_float64(Fraction(heaviest) * Fraction(encoder.scale)) * 2**32
    for value in (Fraction(clip), -Fraction(clip)):
        for extreme in (-(2**31), 2**31 - 1):
            word = verify.encode(value, factor, extreme, bits)
            assert min(word, 2**bits - word) <= limit


@given(BITS, st.integers(2, 40), st.integers(0, 2**32))
def test_a_full_sum_does_not_wrap_and_masks_vanish(bits: int, parties: int, seed: int) -> None:
    encoder = FixedPoint(Ring.of(bits), 1.0, parties)
    values = np.random.default_rng(seed).choice([-1.0, 1.0, 0.3], (parties, 17))
    values[:, 0], values[:, 1] = 1.0, -1.0
    total = np.zeros(17, encoder.ring.dtype)
    for i in range(parties):
        words = encode(encoder, values[i])
        mask = Secret(bytes([i]) * 32)
        accumulate(words, plus=[mask])
        total += words
        accumulate(total, minus=[mask])
    assert np.abs(encoder.decode(total) - values.sum(axis=0)).max() <= encoder.max_error(parties)


@pytest.mark.parametrize("bits", [16, 24, 32, 40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_chunks_equal_the_whole(bits: int, dtype: type) -> None:
    encoder = FixedPoint(Ring.of(bits), 1.0, 5)
    count = 2 * CHUNK_WORDS + 77
    values = np.random.default_rng(3).uniform(-1, 1, count).astype(dtype)
    whole, pieces = encode(encoder, values), np.zeros(count, encoder.ring.dtype)
    stream = Keystream(SEED)
    for low, high in ((0, 5), (5, CHUNK_WORDS), (CHUNK_WORDS, CHUNK_WORDS), (CHUNK_WORDS, count)):
        assert encoder.encode(values[low:high], pieces[low:high], stream, saturate=False) == 0
    assert (whole == pieces).all()
    shaped = encode(encoder, values[: 3 * 40].reshape(3, 40))
    assert (shaped == whole[:120]).all()
    assert (encode(encoder, values[::3]) == encode(encoder, values[::3].copy())).all()


def test_encoding_and_masking_fuse_on_one_chunk() -> None:
    encoder, count = FixedPoint(Ring.of(32), 1.0, 5), CHUNK_WORDS + 9
    values = np.random.default_rng(3).uniform(-1, 1, count)
    apart = encode(encoder, values)
    accumulate(apart, plus=[SEED])
    fused, stream, masks = np.zeros_like(apart), Keystream(SEED), MaskStream([SEED], [], dtype=np.uint32)
    for at in range(0, count, CHUNK_WORDS):
        view = fused[at : at + CHUNK_WORDS]
        encoder.encode(values[at : at + CHUNK_WORDS], view, stream, saturate=False)
        masks.add_to(view)
    assert (apart == fused).all()


@pytest.mark.parametrize("bits", [16, 24, 32, 40])
def test_the_rounding_error_is_what_the_formula_says(bits: int) -> None:
    """Within 2 %: the variance is f (1 - f) steps, and at f = 1/2 the bound on the mean is reached."""
    count = 1 << 17
    for fraction in (0.05, 0.25, 0.5, 0.75, 0.9):
        # A clip of the scale's own making: one step of the encoding is 1, so that x + f has the fraction f.
        ring, parties = Ring.of(bits), 3
        unit = FixedPoint(ring, 1.0, parties)
        value = (100 + fraction) / unit.scale
        words = unit.ring.signed(encode(unit, np.full(count, value)))
        error = words - value * unit.scale
        assert set(np.unique(words)) == {100, 101}
        spread = math.sqrt(fraction * (1 - fraction))
        assert abs(float(error.std()) / spread - 1) < 0.02
        assert abs(float(error.mean())) < 5 * spread / math.sqrt(count)  # unbiased
    half = np.full(count, -7.5 / unit.scale)
    n = 64
    means = unit.decode(encode(unit, half)).reshape(-1, n).mean(axis=1) - half[0]
    # Over 2048 means a standard deviation is known to 1.6 % only, so the bar of 2 % pools all values.
    pooled = math.sqrt(float((unit.decode(encode(unit, half)) - half).var()) / n)
    assert abs(pooled / unit.mean_error_bound(n) - 1) < 0.02
    assert abs(float(means.std()) / unit.mean_error_bound(n) - 1) < 0.08


def test_the_figure_of_the_design_holds() -> None:
    bound = FixedPoint(Ring.of(32), 1.0, 1000).mean_error_bound(1000)
    assert bound == pytest.approx(7.4e-9, rel=0.02)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("saturate", [True, False])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_nan_and_infinity_are_refused_by_place(bad: float, saturate: bool, dtype: type) -> None:
    values = np.zeros(CHUNK_WORDS + 100, dtype)
    values[CHUNK_WORDS + 7] = values[CHUNK_WORDS + 50] = bad
    values[3] = 2.0 if saturate else 1.0
    with pytest.raises(ValueOutOfRange) as caught:
        encode(FixedPoint(Ring.of(32), 1.0, 3), values, saturate=saturate)
    assert caught.value.index == CHUNK_WORDS + 7
    assert str(caught.value.value) == str(bad)
    assert caught.value.limit == 1.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_beyond_the_clip_are_refused_or_counted(dtype: type) -> None:
    encoder = FixedPoint(Ring.of(32), 0.1, 3)
    just = np.nextafter(dtype(0.1), dtype(1))  # float32(0.1) itself is above the clip, float64(0.1) is not
    values = np.array([0.05, -0.1 if dtype is np.float64 else -0.0999, just, -5, 1e30, 0.0], dtype)
    with pytest.raises(ValueOutOfRange, match="index 2") as caught:
        encode(encoder, values)
    assert (caught.value.value, caught.value.limit) == (float(just), 0.1)
    out = np.zeros(6, np.uint32)
    assert encoder.encode(values, out, Keystream(SEED), saturate=True) == 3
    expected = np.clip(values.astype(np.float64), -0.1, 0.1)
    assert np.abs(encoder.decode(out) - expected).max() < encoder.max_error(1)
    assert encoder.encode(values[:2], out[:2], Keystream(SEED), saturate=True) == 0


def test_a_float32_above_a_float64_clip_is_above_it() -> None:
    assert float(np.float32(0.1)) > 0.1
    with pytest.raises(ValueOutOfRange):
        encode(FixedPoint(Ring.of(32), 0.1, 3), np.array([0.1], np.float32))


def test_the_error_can_be_shifted_and_named() -> None:
    error = ValueOutOfRange(3, 2.0, 1.0)
    assert isinstance(error, ParameterError)
    assert error.shifted(10).index == 13
    assert str(error.shifted(10).named("w[1, 2]")).startswith("w[1, 2] is 2.0")
    assert "index 3" in str(error)


def test_zero_length_and_zero_weight() -> None:
    encoder = FixedPoint(Ring.of(24), 1.0, 3)
    assert encode(encoder, np.zeros(0)).size == 0
    assert encoder.decode(np.zeros(0, np.uint32)).size == 0
    assert not encode(encoder, np.linspace(-1, 1, 99), weight=0.0).any()
    assert not encode(encoder, np.zeros(5000)).any()


def test_parameters_without_room_are_refused_with_figures() -> None:
    ring = Ring.of(16)
    with pytest.raises(ParameterError, match="16 bits leave 20000 parties 1 steps"):
        FixedPoint(ring, 1.0, 20000)
    for clip in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ParameterError, match="clip is a positive number"):
            FixedPoint(ring, clip, 3)
        with pytest.raises(ParameterError, match="largest weight is a positive number"):
            FixedPoint(ring, 1.0, 3, clip)
    for clip, heaviest in ((1e-300, 1e-300), (1e300, 1e300), (1e-300, 1.0), (1e300, 1.0)):
        with pytest.raises(ParameterError, match="float64"):
            FixedPoint(ring, clip, 3, heaviest)
    for parties in (0, -1):
        with pytest.raises(ParameterError, match=f"not {parties}"):
            FixedPoint(ring, 1.0, parties)
    encoder = FixedPoint(ring, 1.0, 3, 2.0)
    for weight in (-1.0, 2.1, math.nan, math.inf):
        with pytest.raises(ParameterError, match="weight lies in 0 to 2"):
            encode(encoder, np.zeros(3), weight=weight)
    with pytest.raises(ParameterError, match="at least one value"):
        encoder.mean_error_bound(0)


def test_arrays_that_do_not_fit_are_refused() -> None:
    encoder, stream = FixedPoint(Ring.of(32), 1.0, 3), Keystream(SEED)
    for values in (np.zeros(3, np.int64), np.zeros(3, np.complex128), np.array(["a"])):
        with pytest.raises(ParameterError, match="cannot be encoded"):
            encoder.encode(values, np.zeros(values.size, np.uint32), stream, saturate=False)
    for out in (np.zeros(4, np.uint32), np.zeros(3, np.uint64), np.zeros((3, 1), np.uint32)):
        with pytest.raises(ParameterError, match="in a row"):
            encoder.encode(np.zeros(3), out, stream, saturate=False)
    with pytest.raises(ParameterError, match="carried in uint32"):
        encoder.decode(np.zeros(3, np.uint64))


INTEGERS = st.sampled_from(["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?"])


@given(st.data(), BITS, st.integers(1, 300), INTEGERS)
def test_integers_go_round_exactly_or_are_refused(
    data: st.DataObject, bits: int, parties: int, code: str
) -> None:
    encoder, dtype = Exact(Ring.of(bits), parties), np.dtype(code)
    low, high = (0, 1) if code == "?" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    edges = [v for v in (-encoder.limit - 1, -encoder.limit, encoder.limit, encoder.limit + 1, low, high)]
    number = st.integers(low, high) | st.sampled_from([v for v in edges if low <= v <= high])
    raw = data.draw(st.lists(number, max_size=8))
    values, out = np.array(raw, dtype), np.zeros(len(raw), encoder.ring.dtype)
    beyond = [i for i, value in enumerate(raw) if abs(value) > encoder.limit]
    if beyond:
        with pytest.raises(ValueOutOfRange) as caught:
            encoder.encode(values, out, saturate=False)
        found = (caught.value.index, caught.value.value, caught.value.limit)
        assert found == (beyond[0], raw[beyond[0]], encoder.limit)
    else:
        encoder.encode(values, out.copy(), Keystream(SEED), saturate=False)
    assert encoder.encode(values, out, saturate=True) == len(beyond)
    clipped = [max(-encoder.limit, min(encoder.limit, value)) for value in raw]
    assert encoder.decode(out).tolist() == clipped
    total = np.zeros_like(out)
    for _ in range(parties):
        total += out
    assert encoder.decode(total).tolist() == [parties * value for value in clipped]


def test_integers_refuse_floats_weights_and_no_room() -> None:
    encoder, out = Exact(Ring.of(16), 3), np.zeros(2, np.uint16)
    with pytest.raises(ParameterError, match="give reals to"):
        encoder.encode(np.zeros(2), out, saturate=True)
    with pytest.raises(ParameterError, match="weight 1, not 2"):
        encoder.encode(np.zeros(2, int), out, saturate=True, weight=2.0)
    with pytest.raises(ParameterError, match="no room"):
        Exact(Ring.of(16), 40_000)
    assert Exact(Ring.of(16), 2**15 - 1).limit == 1
