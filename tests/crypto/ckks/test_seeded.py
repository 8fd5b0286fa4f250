from __future__ import annotations

import numpy as np
import pytest

from silo.crypto.ckks import seeded, vector
from silo.crypto.ckks.keys import PrivateKey
from silo.crypto.ckks.parameters import CKKS_4096
from silo.crypto.errors import DecryptionFailed, ParameterError
from silo.crypto.ring import Ring
from silo.crypto.rng import InsecureSeededRng

RNG = InsecureSeededRng(0)


@pytest.mark.parametrize("bits", [16, 24, 32, 40])
@pytest.mark.parametrize("count", [0, 1, 4095, 9000])
def test_seeded_and_full_payloads_add_up_exactly(private: PrivateKey, bits: int, count: int) -> None:
    drawn = np.random.default_rng(count).integers(0, 1 << (bits - 1), count, dtype=np.uint64)
    words = drawn.astype(Ring.of(bits).dtype)
    sent = seeded.encrypt(words, private, bits, rng=RNG)
    assert len(sent) == seeded.payload_bytes(private.public, count, bits)
    total = vector.Sum(private.public, count, bits)
    total.add(seeded.expand(sent, private.public, count, bits))
    total.add(vector.encrypt(words, private.public, bits, rng=RNG))
    found = vector.decrypt(total.payload(), private, count, bits, summands=2)
    assert np.array_equal(found, drawn * np.uint64(2))


def test_seeds_halve_the_bytes(private: PrivateKey) -> None:
    # 57.4 bytes per value for N = 8192, [60, 40, 60]; the bar is .29 of it, and half of that is reached.
    assert seeded.payload_bytes(private.public, 1_000_000, 32) / 1e6 <= 0.145 * 57.4


def test_every_ciphertext_has_a_seed_of_its_own(private: PrivateKey) -> None:
    words = np.zeros(3 * 4095, dtype=np.uint32)
    both = seeded.encrypt(words, private, 32, rng=RNG) + seeded.encrypt(words, private, 32, rng=RNG)
    block = 64 + 8 * CKKS_4096.degree
    assert len({both[at : at + 64] for at in range(0, len(both), block)}) == 6


def test_a_seeded_payload_holds_nothing_of_the_secret(private: PrivateKey) -> None:
    raw = seeded.encrypt(np.zeros(10, dtype=np.uint32), private, 32, rng=RNG)
    secret = private.reveal().reshape(-1).astype("<u8").tobytes()
    assert not any(secret[at : at + 8] in raw for at in range(0, 4096, 8))


@pytest.mark.parametrize("change", [-1, 1])
def test_another_length_is_refused(private: PrivateKey, change: int) -> None:
    raw = seeded.encrypt(np.zeros(10, dtype=np.uint32), private, 32, rng=RNG)
    with pytest.raises(ParameterError, match="32832 bytes with seeds"):
        seeded.expand((raw + b"\0")[: len(raw) + change], private.public, 10, 32)


def test_a_coefficient_beyond_the_modulus_is_refused(private: PrivateKey) -> None:
    raw = bytearray(seeded.encrypt(np.zeros(10, dtype=np.uint32), private, 32, rng=RNG))
    raw[64:72] = CKKS_4096.modulus.to_bytes(8, "little")
    with pytest.raises(ParameterError, match="beyond the modulus"):
        seeded.expand(raw, private.public, 10, 32)


def test_another_seed_or_another_key_is_found(private: PrivateKey, other: PrivateKey) -> None:
    words = np.zeros(10, dtype=np.uint32)
    changed = bytearray(seeded.encrypt(words, private, 32, rng=RNG))
    changed[5] ^= 1
    for raw in (bytes(changed), seeded.encrypt(words, other, 32, rng=RNG)):
        full = seeded.expand(raw, private.public, 10, 32)
        with pytest.raises(DecryptionFailed):
            vector.decrypt(full, private, 10, 32, summands=1)
