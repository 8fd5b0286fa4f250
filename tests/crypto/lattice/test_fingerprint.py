"""Fingerprints of lattice ciphertexts: linear, bounded, and different for a single changed residue."""

from __future__ import annotations

import numpy as np
import pytest

from silo.crypto.errors import ParameterError
from silo.crypto.lattice import fingerprint, keys, residues, vector
from silo.crypto.lattice.parameters import PRIMES
from silo.crypto.prg import Keystream
from silo.crypto.rng import InsecureSeededRng
from silo.crypto.secret import Secret

KEY = Secret(b"f" * 32)


def payloads(count: int, many: int) -> list[bytes]:
    rng = InsecureSeededRng(5)
    common = keys.expand(bytes(32))
    public = keys.combine(common, [keys.KeyShare.from_seed(Secret.random(32, rng=rng), common).public])
    words = np.arange(count, dtype=np.uint32)
    return [bytes(vector.encrypt(words, public, 32, rng=rng)) for _ in range(many)]


def test_that_of_a_sum_is_the_sum() -> None:
    several = payloads(9000, 3)
    total = vector.Sum(9000, 32)
    expected = fingerprint.read(bytes(fingerprint.BYTES))
    for one in several:
        total.add(one)
        expected = fingerprint.added(expected, fingerprint.of(one, KEY))
    assert np.array_equal(fingerprint.of(total.payload(), KEY), expected)
    again = vector.Sum.read(total.payload(), 9000, 32, summands=3)
    assert bytes(again.payload()) == bytes(total.payload())


def test_it_is_what_a_slow_sum_gives() -> None:
    (one,) = payloads(5, 1)
    polynomials = residues.unpack(one, 2)
    factors = np.empty((2, 3, 4096), np.uint32)
    Keystream(KEY).fill(factors)
    slow = [
        [
            sum(
                (int(factors[row, time, place]) % (1 << 26)) * int(polynomials[row, prime, place])
                for row in range(2)
                for place in range(4096)
            )
            % PRIMES[prime]
            for prime in range(4)
        ]
        for time in range(3)
    ]
    assert fingerprint.of(one, KEY).tolist() == slow


def test_one_changed_residue_shows_in_all_three() -> None:
    (one,) = payloads(5, 1)
    polynomials = residues.unpack(one, 2)
    polynomials[1, 2, 4095] = (polynomials[1, 2, 4095] + np.uint64(1)) % np.uint64(PRIMES[2])
    raw = np.empty((2, residues.POLYNOMIAL_BYTES), np.uint8)
    residues.pack(polynomials, raw)
    before, after = fingerprint.of(one, KEY), fingerprint.of(raw.tobytes(), KEY)
    assert (before[:, 2] != after[:, 2]).all()
    assert (before[:, [0, 1, 3]] == after[:, [0, 1, 3]]).all()


def test_bytes_that_are_none_are_refused() -> None:
    (one,) = payloads(5, 1)
    with pytest.raises(ParameterError, match="whole number of polynomials"):
        fingerprint.of(one[:-1], KEY)
    with pytest.raises(ParameterError, match="48 bytes"):
        fingerprint.read(bytes(47))
    with pytest.raises(ParameterError, match="beyond its modulus"):
        fingerprint.read(b"\xff" * 48)
    assert np.array_equal(
        fingerprint.read(fingerprint.write(fingerprint.of(one, KEY))), fingerprint.of(one, KEY)
    )
    with pytest.raises(ParameterError, match="summands"):
        vector.Sum.read(one, 5, 32, summands=0)
