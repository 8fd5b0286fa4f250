from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silo.crypto.errors import ParameterError
from silo.crypto.prg import CHUNK_BYTES, Keystream, MaskStream, accumulate
from silo.crypto.secret import Secret
from tests.crypto.published import cases
from tests.vectors.verify import keystream_bytes

SEEDS = st.binary(min_size=32, max_size=32).map(Secret)
MANY = st.lists(SEEDS, max_size=4)
WORDS = st.sampled_from([np.uint8, np.uint16, np.uint32, np.uint64])


def read(seed: Secret, offset: int, count: int) -> bytes:
    out = np.full(count, 0xA5, np.uint8)
    Keystream(seed, offset=offset).fill(out)
    return out.tobytes()


def test_published_counter_mode_vectors() -> None:
    seen = 0
    for case in cases("ciphers/AES/CTR/aes-128-ctr.txt"):
        key, block, plain, cipher = (bytes.fromhex(case[k]) for k in ("KEY", "IV", "PLAINTEXT", "CIPHERTEXT"))
        stream = read(Secret(key + block), 0, len(plain))
        assert bytes(a ^ b for a, b in zip(stream, plain, strict=True)) == cipher
        seen += 1
    assert seen >= 3


@given(SEEDS, st.integers(0, 5000), st.integers(0, 300))
def test_any_offset_equals_the_slice_and_the_block_cipher(seed: Secret, offset: int, count: int) -> None:
    assert read(seed, offset, count) == read(seed, 0, offset + count)[offset:]
    assert read(seed, offset, count) == keystream_bytes(seed.reveal(), offset, count)


@pytest.mark.parametrize("before", [1, 7, 300])
@pytest.mark.parametrize("edge", [32, 64, 128])
def test_the_counter_carries_through_all_128_bits(edge: int, before: int) -> None:
    seed = Secret(b"k" * 16 + (2**edge - before).to_bytes(16, "big"))
    assert read(seed, 0, 16 * 600) == keystream_bytes(seed.reveal(), 0, 16 * 600)
    assert read(seed, 16 * before, 32) == keystream_bytes(seed.reveal(), 16 * before, 32)


def test_a_far_offset_is_reached_at_once() -> None:
    seed = Secret(bytes(range(32)))
    far = 2**70 + 5
    assert read(seed, far, 40) == keystream_bytes(seed.reveal(), far, 40)


@given(SEEDS, st.lists(st.integers(0, 70), max_size=6))
def test_reading_in_pieces_equals_reading_at_once(seed: Secret, pieces: list[int]) -> None:
    stream = Keystream(seed)
    parts = []
    for count in pieces:
        out = np.zeros(count, np.uint8)
        stream.fill(out)
        parts.append(out.tobytes())
    assert b"".join(parts) == read(seed, 0, sum(pieces))


def test_long_reads_cross_chunks() -> None:
    seed = Secret(bytes(range(32)))
    whole = read(seed, 0, 3 * CHUNK_BYTES + 5)
    assert whole[-100:] == read(seed, len(whole) - 100, 100)
    assert whole[CHUNK_BYTES - 20 : CHUNK_BYTES + 20] == read(seed, CHUNK_BYTES - 20, 40)


@given(MANY, MANY, WORDS, st.integers(0, 50), st.integers(0, 40))
def test_masks_are_sums_of_little_endian_words(
    plus: list[Secret], minus: list[Secret], dtype: type, start: int, count: int
) -> None:
    width = np.dtype(dtype).itemsize
    acc = np.arange(count, dtype=dtype)
    accumulate(acc, plus=plus, minus=minus, start=start)
    for j in range(count):

        def word(seed: Secret, j: int = j) -> int:
            return int.from_bytes(keystream_bytes(seed.reveal(), (start + j) * width, width), "little")

        assert int(acc[j]) == (j + sum(map(word, plus)) - sum(map(word, minus))) % 2 ** (8 * width)


@given(MANY, MANY, st.integers(0, 100), st.integers(0, 200), st.integers(0, 200))
def test_any_start_equals_the_slice(
    plus: list[Secret], minus: list[Secret], skip: int, size: int, more: int
) -> None:
    whole = np.zeros(skip + size + more, np.uint32)
    accumulate(whole, plus=plus, minus=minus, start=3)
    part = np.zeros(size, np.uint32)
    accumulate(part, plus=plus, minus=minus, start=3 + skip)
    assert (part == whole[skip : skip + size]).all()


@given(MANY, WORDS, st.binary(max_size=200))
def test_plus_and_minus_cancel(seeds: list[Secret], dtype: type, raw: bytes) -> None:
    size = len(raw) // np.dtype(dtype).itemsize
    before = np.frombuffer(raw, dtype, size)
    acc = before.copy()
    accumulate(acc, plus=seeds, minus=seeds)
    assert (acc == before).all()
    accumulate(acc, plus=seeds)
    accumulate(acc, minus=seeds[::-1])
    assert (acc == before).all()


@pytest.mark.parametrize("count", [0, 1, CHUNK_BYTES // 4, 3 * CHUNK_BYTES // 4 + 17, 7 * CHUNK_BYTES // 4])
@pytest.mark.parametrize("threads", [2, 3, 16])
def test_threads_equal_one_thread(count: int, threads: int) -> None:
    plus, minus = [Secret(bytes([i]) * 32) for i in range(3)], [Secret(b"m" * 32)]
    one, many = np.ones(count, np.uint32), np.ones(count, np.uint32)
    accumulate(one, plus=plus, minus=minus, start=11)
    accumulate(many, plus=plus, minus=minus, start=11, threads=threads)
    assert (one == many).all()


def test_a_mask_stream_goes_on_where_it_stopped() -> None:
    seeds = [Secret(bytes([i]) * 32) for i in range(2)]
    whole = np.zeros(CHUNK_BYTES, np.uint16)
    accumulate(whole, plus=seeds[:1], minus=seeds[1:], start=1)
    stream, pieces = MaskStream(seeds[:1], seeds[1:], dtype=np.uint16, start=1), np.zeros_like(whole)
    for low, high in ((0, 3), (3, 70_000), (70_000, len(whole))):
        stream.add_to(pieces[low:high])
    assert (whole == pieces).all()


def test_wrong_seeds_starts_and_arrays_are_refused() -> None:
    seed = Secret(bytes(32))
    with pytest.raises(ParameterError, match="32 bytes, not 16"):
        Keystream(Secret(bytes(16)))
    with pytest.raises(ParameterError, match="at -1"):
        Keystream(seed, offset=-1)
    with pytest.raises(ParameterError, match="contiguous"):
        Keystream(seed).fill(np.zeros(8, np.uint32)[::2])
    for bad in (np.zeros(4, np.int32), np.zeros(4, np.float64), np.zeros(4, ">u4")):
        with pytest.raises(ParameterError, match="unsigned"):
            accumulate(bad, plus=[seed])
        assert not bad.any()
    with pytest.raises(ParameterError, match="does not fit"):
        MaskStream([seed], [], dtype=np.uint32).add_to(np.zeros(4, np.uint16))
    with pytest.raises(ParameterError, match="one thread"):
        accumulate(np.zeros(4, np.uint32), plus=[seed], threads=0)


def test_streams_are_redacted_and_stay_here() -> None:
    seed = Secret(b"\x5a" * 32)
    for stream in (Keystream(seed), MaskStream([seed], [], dtype=np.uint32)):
        assert "5a5a" not in repr(stream)
        assert "ZZZZ" not in repr(stream)
        with pytest.raises(TypeError, match="secret"):
            pickle.dumps(stream)
