"""Keys in parts, sums, decryption by all: exact, or refused."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silo.crypto.errors import DecryptionFailed, ParameterError
from silo.crypto.lattice import decryption, keys, ntt, parameters, residues, vector
from silo.crypto.lattice.keys import KeyShare
from silo.crypto.lattice.parameters import DEGREE, MODULUS
from silo.crypto.ring import Ring
from silo.crypto.rng import InsecureSeededRng
from silo.crypto.secret import Secret
from tests.crypto.lattice import reference

RNG = InsecureSeededRng(1)
COMMON = keys.expand(b"c" * 32)
SHARES = [KeyShare.from_seed(Secret.random(32, rng=InsecureSeededRng(10 + i)), COMMON) for i in range(3)]
PUBLIC = keys.combine(COMMON, [share.public for share in SHARES])


def summed(parts: list[Any], bits: int) -> vector.Sum:
    total = vector.Sum(len(parts[0]), bits)
    for part in parts:
        total.add(vector.encrypt(part, PUBLIC, bits, rng=RNG))
    return total


def partials(total: vector.Sum) -> list[Any]:
    return [decryption.partial(total, share, rng=RNG) for share in SHARES]


def words(count: int, bits: int, most: int, seed: int = 1) -> Any:
    return (
        np.random.default_rng(seed).integers(0, most + 1, count, dtype=np.uint64).astype(Ring.of(bits).dtype)
    )


@pytest.mark.parametrize("bits", [16, 24, 32])
@pytest.mark.parametrize("count", [0, 1, DEGREE - 1, DEGREE, DEGREE + 1, 9 * DEGREE + 5])
def test_sums_are_exact_over_the_whole_range(bits: int, count: int) -> None:
    most = ((1 << bits) - 1) // 3
    parts = [words(count, bits, most, seed) for seed in (1, 2)] + [np.full(count, most, Ring.of(bits).dtype)]
    total = summed(parts, bits)
    found = decryption.fuse(total, partials(total), bits, summands=3)
    assert np.array_equal(found.astype(np.uint64), sum(part.astype(np.uint64) for part in parts))


@given(st.lists(st.lists(st.integers(0, 2**32 // 4), min_size=5, max_size=5), min_size=1, max_size=4))
@settings(max_examples=15, deadline=None)
def test_any_words_sum_to_what_integers_do(rows: list[list[int]]) -> None:
    total = summed([np.asarray(row, np.uint32) for row in rows], 32)
    found = decryption.fuse(total, partials(total), 32, summands=len(rows))
    assert found.tolist() == [sum(column) for column in zip(*rows, strict=True)]


def test_a_ciphertext_is_that_of_the_scheme() -> None:
    """c0 + s c1 = round(Q m / t) + small noise, in Python's whole numbers."""
    plain = words(20, 32, (1 << 32) - 1)
    total = summed([plain], 32)
    primes = ntt.columns(ntt.P, 1)
    c0 = ntt.inverse(total.part(0, 0, 1))
    for share in SHARES:
        part = ntt.inverse(ntt.below(ntt.times(total.part(1, 0, 1), share.secret, primes), primes))
        c0 = ntt.below(c0 + part, primes)
    bound = parameters.noise_bound(3, 1)
    for place in range(40):
        message = int(plain[place]) if place < 20 else 0
        value = reference.lift(c0[0, :, place].tolist())
        noise = (value - reference.rounded(message, 32) + MODULUS // 2) % MODULUS - MODULUS // 2
        assert 0 < abs(noise) < bound
        assert reference.decoded(value, 32) == message


def test_reading_agrees_with_whole_numbers_at_the_edges() -> None:
    """Values placed just inside and just outside of half a step."""
    step = MODULUS // (1 << 32)
    values = [
        0,
        1,
        step,
        7 * step + step // 4,
        7 * step - step // 4,
        MODULUS - 1,
        MODULUS - step // 4,
        5 * step,
    ]
    found = np.zeros((1, 4, DEGREE), np.uint64)
    for place, value in enumerate(values):
        found[0, :, place] = [value % int(prime) for prime in ntt.P]
    read, _ = decryption._read(found, 32)
    assert read[0, : len(values)].tolist() == [reference.decoded(value, 32) for value in values]


def test_every_part_is_needed_and_none_twice() -> None:
    plain = words(100, 32, 1000)
    total = summed([plain, plain], 32)
    given_ = partials(total)
    for wrong in (given_[:2], [*given_[:2], given_[0]], [*given_, given_[0]], []):
        with pytest.raises(DecryptionFailed, match="honest noise"):
            decryption.fuse(total, wrong, 32, summands=2)


def test_a_changed_part_or_ciphertext_does_not_decrypt() -> None:
    plain = words(100, 32, 1000)
    total = summed([plain, plain], 32)
    given_ = partials(total)
    foreign = KeyShare.from_seed(Secret(bytes(32)), COMMON)
    with pytest.raises(DecryptionFailed):
        decryption.fuse(total, [*given_[:2], decryption.partial(total, foreign, rng=RNG)], 32, summands=2)
    other = summed([plain, plain], 32)
    with pytest.raises(DecryptionFailed):
        decryption.fuse(total, [*given_[:2], partials(other)[2]], 32, summands=2)
    with pytest.raises(ParameterError, match="bytes, not"):
        decryption.fuse(total, [*given_[:2], given_[2][:-1]], 32, summands=2)
    with pytest.raises(ParameterError, match="summands"):
        decryption.fuse(total, given_, 32, summands=3)


def test_values_behind_the_end_are_refused() -> None:
    total = vector.Sum(10, 32)
    total.add(vector.encrypt(np.ones(11, np.uint32), PUBLIC, 32, rng=RNG))
    with pytest.raises(DecryptionFailed, match="behind its end"):
        decryption.fuse(total, partials(total), 32, summands=1)


def test_a_seed_gives_its_part_again() -> None:
    seed = Secret.random(32, rng=InsecureSeededRng(10))
    assert KeyShare.from_seed(seed, COMMON).public == SHARES[0].public
    assert KeyShare.from_seed(seed, keys.expand(bytes(32))).public != SHARES[0].public
    with pytest.raises(ParameterError, match="32 bytes"):
        KeyShare.from_seed(Secret(bytes(31)), COMMON)


def test_parts_and_ciphertexts_that_are_none_are_refused() -> None:
    good = SHARES[0].public
    assert len(good) == keys.PUBLIC_BYTES == residues.POLYNOMIAL_BYTES
    for bad in (b"", good[:-1], good + b"0", b"\xff" * len(good)):
        with pytest.raises(ParameterError):
            keys.check_public(bad)
        with pytest.raises(ParameterError):
            keys.combine(COMMON, [good, bad])
    with pytest.raises(ParameterError, match="1 to 1024 parts"):
        keys.combine(COMMON, [])
    payload = bytes(vector.encrypt(words(5, 32, 9), PUBLIC, 32, rng=RNG))
    assert len(payload) == vector.payload_bytes(5, 32)
    total = vector.Sum(5, 32)
    for bad in (
        b"",
        payload[:-1],
        payload + b"0",
        b"\xff" * len(payload),
        payload[: len(payload) // 2] * 1 + bytes(len(payload) // 2),
    ):
        with pytest.raises(ParameterError):
            total.check(bad)
        with pytest.raises(ParameterError):
            total.add(bad)
    assert total.summands == 0


def test_words_of_another_kind_are_refused() -> None:
    with pytest.raises(ParameterError, match="carried in"):
        vector.encrypt(np.zeros(3, np.int64), PUBLIC, 32, rng=RNG)
    with pytest.raises(ParameterError, match="beyond 24 bits"):
        vector.encrypt(np.array([1 << 24], np.uint32), PUBLIC, 24, rng=RNG)
    with pytest.raises(ParameterError, match="not 40"):
        vector.encrypt(np.zeros(3, np.uint64), PUBLIC, 40, rng=RNG)


def test_threads_and_randomness() -> None:
    plain = words(20 * DEGREE, 32, 1000)
    one = vector.encrypt(plain, PUBLIC, 32, rng=InsecureSeededRng(5))
    two = vector.encrypt(plain, PUBLIC, 32, rng=InsecureSeededRng(5), threads=2)
    assert bytes(one) == bytes(two)
    assert bytes(vector.encrypt(plain[:5], PUBLIC, 32, rng=RNG)) != bytes(
        vector.encrypt(plain[:5], PUBLIC, 32, rng=RNG)
    )
    total = summed([plain[:5]], 32)
    first, second = (bytes(decryption.partial(total, SHARES[0], rng=RNG)) for _ in range(2))
    assert first != second  # fresh flooding


def test_a_share_is_not_shown_or_pickled() -> None:
    assert repr(SHARES[0]) == "KeyShare(redacted)"
    with pytest.raises(TypeError):
        pickle.dumps(SHARES[0])
