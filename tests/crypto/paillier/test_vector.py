"""Packed vectors: exact sums, strict reading, canaries, and the same numbers without gmpy2."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silo.crypto import powers
from silo.crypto.errors import DecryptionFailed, ParameterError
from silo.crypto.paillier import fixed_base, slots, vector
from silo.crypto.paillier.keys import insecure_small_key
from silo.crypto.ring import Ring
from silo.crypto.rng import InsecureSeededRng
from silo.crypto.secret import Secret

KEY = insecure_small_key(512, rng=InsecureSeededRng(3))
OTHER = insecure_small_key(512, rng=InsecureSeededRng(9))
RNG = InsecureSeededRng(1)


def words(count: int, bits: int, most: int, seed: int = 1) -> Any:
    drawn = np.random.default_rng(seed).integers(0, most + 1, count, dtype=np.uint64)
    return drawn.astype(Ring.of(bits).dtype)


def summed(parts: list[Any], bits: int) -> Any:
    total = vector.Sum(KEY.public, len(parts[0]), bits)
    for part in parts:
        total.add(vector.encrypt(part, KEY.public, bits, rng=RNG))
    return vector.decrypt(total.payload(), KEY, len(parts[0]), bits, summands=len(parts))


@pytest.mark.parametrize("bits", [16, 24, 32, 40])
@pytest.mark.parametrize("count", [0, 1, 11, 12, 13, 100])
def test_sums_are_exact_up_to_full_slots(bits: int, count: int) -> None:
    most = ((1 << bits) - 1) // 3
    parts = [words(count, bits, most, seed) for seed in (1, 2)] + [np.full(count, most, Ring.of(bits).dtype)]
    right = sum(part.astype(np.uint64) for part in parts)
    assert np.array_equal(summed(parts, bits).astype(np.uint64), right)


@given(st.lists(st.lists(st.integers(0, 2**32 // 5), min_size=7, max_size=7), min_size=1, max_size=5))
@settings(max_examples=25, deadline=None)
def test_any_words_sum_to_what_integers_do(rows: list[list[int]]) -> None:
    found = summed([np.asarray(row, np.uint32) for row in rows], 32)
    assert found.tolist() == [sum(column) for column in zip(*rows, strict=True)]


def test_bytes_follow_from_public_figures() -> None:
    for bits, each in ((2048, 63), (3072, 95), (4096, 127)):
        assert slots.slots(bits, 32) == each
    # at 2048 bits: 512 bytes for 63 words
    assert 512 / slots.slots(2048, 32) <= 8.2
    for count in (0, 1, 15, 16, 1000):
        payload = vector.encrypt(words(count, 32, 9), KEY.public, 32, rng=RNG)
        assert len(payload) == vector.payload_bytes(KEY.public, count, 32)


def test_two_encryptions_differ_and_a_fresh_one_hides_the_old() -> None:
    one = words(5, 32, 100)
    first, second = (bytes(vector.encrypt(one, KEY.public, 32, rng=RNG)) for _ in range(2))
    assert first != second
    again = vector.rerandomise(first, KEY.public, rng=RNG)
    assert again not in (first, second)
    assert np.array_equal(vector.decrypt(again, KEY, 5, 32, summands=1), one)


def test_processes_and_longer_exponents_give_the_same_words() -> None:
    many = words(vector._WORTH_A_PART * slots.slots(512, 32) + 5, 32, 10**6)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        payload = vector.encrypt(many, KEY.public, 32, rng=RNG, parts=2, run=pool.map)
    assert np.array_equal(vector.decrypt(payload, KEY, len(many), 32, summands=1), many)
    few = many[:20]
    payload = vector.encrypt(few, KEY.public, 32, rng=RNG, exponent_bits=1024)
    assert np.array_equal(vector.decrypt(payload, KEY, 20, 32, summands=1, threads=1), few)
    with pytest.raises(ParameterError, match="512 bits or more"):
        vector.encrypt(few, KEY.public, 32, rng=RNG, exponent_bits=256)


def test_what_is_no_ciphertext_is_refused_and_changes_nothing() -> None:
    one = words(20, 32, 100)
    payload = bytes(vector.encrypt(one, KEY.public, 32, rng=RNG))
    size = KEY.public.ciphertext_bytes
    n = int(KEY.public.n)
    total = vector.Sum(KEY.public, 20, 32)
    total.add(payload)
    for bad in (
        payload[:-1],
        payload + b"0",
        b"",
        bytes(size) + payload[size:],
        b"\xff" * size + payload[size:],
        n.to_bytes(size, "little") + payload[size:],
        (5 * int(KEY.p)).to_bytes(size, "little") + payload[size:],
    ):
        with pytest.raises(ParameterError):
            total.check(bad)
        with pytest.raises(ParameterError):
            total.add(bad)
    assert total.summands == 1
    assert np.array_equal(vector.decrypt(total.payload(), KEY, 20, 32, summands=1), one)
    with pytest.raises(ParameterError, match="no summand"):
        vector.Sum(KEY.public, 20, 32).payload()


def test_the_canary_counts_the_summands() -> None:
    one = words(20, 32, 100)
    payload = vector.encrypt(one, KEY.public, 32, rng=RNG)
    total = vector.Sum(KEY.public, 20, 32)
    total.add(payload)
    total.add(payload)
    assert np.array_equal(vector.decrypt(total.payload(), KEY, 20, 32, summands=2), 2 * one)
    for wrong in (0, 1, 3):
        with pytest.raises(DecryptionFailed, match="does not count"):
            vector.decrypt(total.payload(), KEY, 20, 32, summands=wrong)


def test_another_keys_ciphertext_does_not_decrypt() -> None:
    payload = vector.encrypt(words(20, 32, 100), OTHER.public, 32, rng=RNG)
    with pytest.raises((DecryptionFailed, ParameterError)):
        vector.decrypt(payload, KEY, 20, 32, summands=1)


def test_values_behind_the_end_are_refused() -> None:
    payload = vector.encrypt(words(11, 32, 100), KEY.public, 32, rng=RNG)
    with pytest.raises(DecryptionFailed, match="behind its end"):
        vector.decrypt(payload, KEY, 10, 32, summands=1)


def test_words_of_another_type_or_size_are_refused() -> None:
    with pytest.raises(ParameterError, match="carried in"):
        vector.encrypt(np.zeros(3, np.int64), KEY.public, 32, rng=RNG)
    with pytest.raises(ParameterError, match="beyond 24 bits"):
        vector.encrypt(np.array([1 << 24], np.uint32), KEY.public, 24, rng=RNG)


def test_at_most_so_many_summands() -> None:
    total = vector.Sum(KEY.public, 1, 32)
    payload = vector.encrypt(words(1, 32, 3), KEY.public, 32, rng=RNG)
    for _ in range(vector.MAX_SUMMANDS):
        total.add(payload)
    with pytest.raises(ParameterError, match="at most 1024"):
        total.add(payload)


def test_a_table_gives_powers() -> None:
    modulus = int(KEY.public.square)
    table = fixed_base.Table(12345, modulus, 3)
    for digits in ([0, 0, 0], [1, 0, 0], [1023, 1023, 1023], [5, 0, 700]):
        exponent = sum(digit << fixed_base.WINDOW * place for place, digit in enumerate(digits))
        assert int(table.power(digits)) == pow(12345, exponent, modulus)
    seed = Secret(bytes(32))
    assert list(table.random_powers(3, seed)) == list(table.random_powers(3, seed))


def test_without_gmpy2_the_numbers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gmpy2")
    one = words(30, 32, 10**6)
    rng = [InsecureSeededRng(5), InsecureSeededRng(5)]
    fast = bytes(vector.encrypt(one, KEY.public, 32, rng=rng[0]))
    raw = KEY.public.n, KEY.public.h_s
    monkeypatch.setattr(powers, "gmpy2", None)
    fixed_base.table.cache_clear()
    slow = insecure_small_key(512, rng=InsecureSeededRng(3))
    assert (slow.public.n, slow.public.h_s) == tuple(map(int, raw))
    assert isinstance(slow.public.n, int)
    assert bytes(vector.encrypt(one, slow.public, 32, rng=rng[1])) == fast
    assert np.array_equal(vector.decrypt(fast, slow, 30, 32, summands=1), one)
    fixed_base.table.cache_clear()


def test_phe_reads_and_writes_the_same_ciphertexts() -> None:
    """python-paillier is the oracle: same n, generator n + 1."""
    phe = pytest.importorskip("phe")
    n = int(KEY.public.n)
    public = phe.PaillierPublicKey(n)
    private = phe.PaillierPrivateKey(public, int(KEY.p), int(KEY.q))
    one = words(11, 32, 10**6)
    (message,) = list(slots.messages(one, 512, 32))
    ours = int.from_bytes(vector.encrypt(one, KEY.public, 32, rng=RNG), "little")
    assert private.raw_decrypt(ours) == message
    theirs = public.raw_encrypt(message).to_bytes(KEY.public.ciphertext_bytes, "little")
    assert np.array_equal(vector.decrypt(theirs, KEY, 11, 32, summands=1), one)
