from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from silo.crypto.ckks import seal
from silo.crypto.ckks.keys import PrivateKey
from silo.crypto.ckks.parameters import CKKS_4096, Layout
from silo.crypto.ckks.vector import Sum, decrypt, encrypt, payload_bytes
from silo.crypto.errors import DecryptionFailed, ParameterError
from silo.crypto.ring import Ring
from silo.crypto.rng import InsecureSeededRng

RNG = InsecureSeededRng(0)
BITS = [16, 24, 32, 40]


def words_of(bits: int, count: int, summands: int, seed: int) -> npt.NDArray[Any]:
    top = (1 << bits) // summands
    drawn = np.random.default_rng(seed).integers(0, top, count, dtype=np.uint64)
    drawn[: min(2, count)] = [0, top - 1][: min(2, count)]
    return drawn.astype(Ring.of(bits).dtype)


def sealed(private: PrivateKey, vectors: list[npt.NDArray[Any]], bits: int) -> bytes:
    total = Sum(private.public, vectors[0].size, bits)
    for words in vectors:
        total.add(encrypt(words, private.public, bits, rng=RNG))
    return total.payload()


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize(("count", "summands"), [(1, 1), (4095, 2), (4096, 3), (9001, 5)])
def test_sums_are_exact(private: PrivateKey, bits: int, count: int, summands: int) -> None:
    vectors = [words_of(bits, count, summands, seed) for seed in range(summands)]
    payload = sealed(private, vectors, bits)
    assert len(payload) == payload_bytes(private.public, count, bits)
    found = decrypt(payload, private, count, bits, summands=summands)
    expected = np.sum([words.astype(np.uint64) for words in vectors], axis=0)
    assert found.dtype == Ring.of(bits).dtype
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("bits", "summands"),
    [(16, 64), (24, 64), (32, 256), (40, 64), pytest.param(32, 1024, marks=pytest.mark.slow)],
)
def test_many_fresh_summands_stay_exact_within_the_tolerance(
    private: PrivateKey, bits: int, summands: int
) -> None:
    count = 4095 if bits != 40 else 2047
    vector = words_of(bits, count, summands, 7)
    found = decrypt(sealed(private, [vector] * summands, bits), private, count, bits, summands=summands)
    assert np.array_equal(found, vector.astype(np.uint64) * np.uint64(summands))


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("pattern", ["bottom", "top", "alternate", "waves"])
def test_no_pattern_of_words_comes_near_the_modulus(private: PrivateKey, bits: int, pattern: str) -> None:
    top = Ring.of(bits).mask
    places = np.arange(4095)
    vector = {
        "bottom": np.zeros(4095),
        "top": np.full(4095, float(top)),
        "alternate": (places % 2) * float(top),
        "waves": np.where(np.cos(places * 1.0) > 0, float(top), 0.0),
    }[pattern].astype(Ring.of(bits).dtype)
    found = decrypt(sealed(private, [vector], bits), private, 4095, bits, summands=1)
    assert np.array_equal(found, vector)


@pytest.mark.parametrize("bits", [32, 40])
def test_a_vector_of_no_words_is_no_bytes(private: PrivateKey, bits: int) -> None:
    empty = np.zeros(0, dtype=Ring.of(bits).dtype)
    payload = sealed(private, [empty, empty], bits)
    assert payload == b""
    assert decrypt(payload, private, 0, bits, summands=2).shape == (0,)


def test_equal_words_give_other_ciphertexts(private: PrivateKey) -> None:
    vector = words_of(32, 10, 1, 0)
    first, second = (np.frombuffer(encrypt(vector, private.public, 32, rng=RNG), dtype="<u8") for _ in "ab")
    assert np.count_nonzero(first == second) < 3


def test_words_must_fit_their_carrier_and_their_bits(private: PrivateKey) -> None:
    with pytest.raises(ParameterError, match="carried in uint32"):
        encrypt(np.zeros(3, dtype=np.int64), private.public, 32, rng=RNG)
    for bits in (24, 40):
        words = np.full(3, 1 << bits, dtype=Ring.of(bits).dtype)
        with pytest.raises(ParameterError, match=f"beyond {bits} bits"):
            encrypt(words, private.public, bits, rng=RNG)


def test_the_sum_of_nothing_is_refused(private: PrivateKey) -> None:
    with pytest.raises(ParameterError, match="no summand"):
        Sum(private.public, 3, 32).payload()


def test_no_more_than_1024_are_added(private: PrivateKey) -> None:
    total = Sum(private.public, 0, 32)
    for _ in range(1024):
        total.add(b"")
    with pytest.raises(ParameterError, match="1 to 1024"):
        total.add(b"")


def test_a_refused_payload_leaves_the_sum_as_it_was(private: PrivateKey) -> None:
    vector = words_of(32, 5000, 2, 1)
    good = encrypt(vector, private.public, 32, rng=RNG)
    total = Sum(private.public, 5000, 32)
    total.add(good)
    before = total.payload()
    bad = np.frombuffer(good, dtype="<u8").copy()
    bad[-1] = CKKS_4096.modulus
    with pytest.raises(ParameterError):
        total.add(bad.tobytes())
    assert total.payload() == before
    assert total.summands == 1
    total.add(good)
    assert np.array_equal(decrypt(total.payload(), private, 5000, 32, summands=2), vector * 2)


def test_the_payload_of_a_sender_is_not_changed(private: PrivateKey) -> None:
    payload = encrypt(words_of(32, 10, 2, 1), private.public, 32, rng=RNG)
    before = bytes(payload)
    total = Sum(private.public, 10, 32)
    total.add(payload)
    total.add(payload)
    decrypt(payload, private, 10, 32, summands=1)
    assert bytes(payload) == before


def test_without_anonymous_memory_nothing_touches_a_disk(
    private: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(ParameterError, match="Linux alone"):
        encrypt(words_of(32, 10, 1, 3), private.public, 32, rng=RNG)


def test_no_descriptor_is_left_open(private: PrivateKey) -> None:
    before = len(os.listdir("/proc/self/fd"))
    vector = words_of(32, 10, 1, 3)
    decrypt(sealed(private, [vector], 32), private, 10, 32, summands=1)
    with pytest.raises(DecryptionFailed):
        decrypt(sealed(private, [vector], 32), private, 10, 32, summands=2)
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_zstandard_does_compress_is_read_word_by_word(
    private: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal, "body", lambda saved: None)
    vector = words_of(32, 10, 1, 3)
    assert np.array_equal(decrypt(sealed(private, [vector], 32), private, 10, 32, summands=1), vector)


def test_bytes_and_time_stand_beside_the_research(private: PrivateKey) -> None:
    # 57.4 bytes per value for N = 8192, [60, 40, 60]; the bar is .57 of it.
    assert Layout(1_000_000, 32).payload_bytes / 1e6 <= 0.29 * 57.4
    assert Layout(1_000_000, 40).payload_bytes / 1e6 <= 0.57 * 57.4
