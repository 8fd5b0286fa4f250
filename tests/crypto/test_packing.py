from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silo.crypto.errors import ParameterError
from silo.crypto.packing import add_packed, pack, unpack
from silo.crypto.ring import CHUNK_WORDS, Ring

RINGS = st.sampled_from([16, 24, 32, 40]).map(Ring.of)


def draw(ring: Ring, count: int, seed: int = 1) -> np.ndarray:
    return np.frombuffer(np.random.default_rng(seed).bytes(count * ring.dtype.itemsize), ring.dtype)


@given(st.data(), RINGS)
def test_words_go_round_mod_2_to_the_b(data: st.DataObject, ring: Ring) -> None:
    numbers = data.draw(st.lists(st.integers(0, 2 ** (8 * ring.dtype.itemsize) - 1), max_size=40))
    packed = pack(np.array(numbers, ring.dtype), ring)
    reduced = [number & ring.mask for number in numbers]
    assert bytes(packed) == b"".join(number.to_bytes(ring.wire_bytes, "little") for number in reduced)
    assert unpack(packed, ring, len(numbers)).tolist() == reduced
    acc = np.arange(len(numbers), dtype=ring.dtype)
    add_packed(acc, bytes(packed), ring)
    assert [int(word) & ring.mask for word in acc] == [(i + n) & ring.mask for i, n in enumerate(reduced)]


@pytest.mark.parametrize("bits", [16, 24, 32, 40])
@pytest.mark.parametrize("count", [0, 1, CHUNK_WORDS, 3 * CHUNK_WORDS + 5])
def test_packing_crosses_chunks_in_place(bits: int, count: int) -> None:
    ring = Ring.of(bits)
    whole = np.zeros(24 + count * ring.dtype.itemsize, np.uint8)  # a head lies before the words
    words = whole[24:].view(ring.dtype)
    words[:] = draw(ring, count)
    before = words.copy()
    packed = pack(words, ring)
    assert packed.nbytes == count * ring.wire_bytes
    assert packed.nbytes == 0 or np.shares_memory(np.frombuffer(packed, np.uint8), whole)
    assert bytes(whole[24 : 24 + packed.nbytes]) == bytes(packed)
    mask = ring.dtype.type(ring.mask)
    assert (unpack(packed, ring, count) == before & mask).all()
    acc = before.copy()
    add_packed(acc, packed, ring)
    assert ((acc & mask) == ((before + before) & mask)).all()


@given(RINGS, st.integers(0, 30), st.integers(-3, 3).filter(bool))
def test_other_lengths_are_refused(ring: Ring, count: int, off: int) -> None:
    size = count * ring.wire_bytes + off
    if size < 0:
        return
    acc = np.ones(count, ring.dtype)
    with pytest.raises(ParameterError, match=f"not {size}"):
        unpack(bytes(size), ring, count)
    with pytest.raises(ParameterError, match=f"not {size}"):
        add_packed(acc, b"\xff" * size, ring)
    assert (acc == 1).all()
    with pytest.raises(ParameterError):
        unpack(b"", ring, -1)


def test_words_that_cannot_be_packed_in_place_are_refused() -> None:
    ring = Ring.of(24)
    frozen = np.zeros(4, np.uint32)
    frozen.flags.writeable = False
    for words in (np.zeros(8, np.uint32)[::2], frozen, np.zeros(4, np.uint64), np.zeros((2, 2), np.uint32)):
        with pytest.raises(ParameterError):
            pack(words, ring)
    with pytest.raises(ParameterError):
        add_packed(np.zeros(1, np.uint64), bytes(3), ring)
