from __future__ import annotations

import math

import numpy as np
import pytest

from silo.crypto.ckks.keys import PrivateKey
from silo.crypto.ckks.parameters import CKKS_4096, MAX_SUMMANDS, Layout
from silo.crypto.ckks.scratch import Scratch
from silo.crypto.ckks.seal import engine
from silo.crypto.errors import ParameterError


def test_the_moduli_are_primes_with_roots_of_unity_within_the_standard() -> None:
    for modulus in (CKKS_4096.modulus, CKKS_4096.key_modulus):
        assert modulus % (2 * CKKS_4096.degree) == 1
        assert all(pow(base, modulus - 1, modulus) == 1 for base in (2, 3, 5, 7, 11, 13))
    assert (CKKS_4096.modulus * CKKS_4096.key_modulus).bit_length() <= 109
    assert CKKS_4096.root**2 % CKKS_4096.modulus == CKKS_4096.modulus - 1


@pytest.mark.parametrize("bits", [16, 24, 32, 40])
def test_noise_of_the_most_summands_is_far_below_a_step_and_nothing_wraps(bits: int) -> None:
    layout = Layout(1, bits)
    assert CKKS_4096.slot_deviation * math.sqrt(MAX_SUMMANDS) / layout.scale < 1 / 20
    assert layout.tolerance(MAX_SUMMANDS) < 1 / 4
    # The largest coefficient that the sum of limbs can have, with the noise, against half the modulus.
    largest = math.sqrt(2) * layout.offset * layout.scale
    assert largest < 2**58
    assert largest + layout.tolerance(MAX_SUMMANDS) * layout.scale < CKKS_4096.modulus / 2
    assert MAX_SUMMANDS * ((1 << layout.limb_bits) - 1) < 1 << layout.sum_bits or layout.limbs == 1


@pytest.mark.parametrize("bits", [0, 8, 20, 48, 64])
def test_other_bits_are_refused(bits: int) -> None:
    with pytest.raises(ParameterError, match="16, 24, 32 or 40"):
        Layout(1, bits)


def test_lengths_follow_from_public_figures() -> None:
    block = CKKS_4096.ciphertext_bytes
    assert block == 65536
    assert [Layout(n, 32).payload_bytes // block for n in (0, 1, 4095, 4096)] == [0, 1, 1, 2]
    assert [Layout(n, 40).payload_bytes // block for n in (0, 1, 2047, 2048)] == [0, 1, 1, 2]
    with pytest.raises(ParameterError, match="-1 words"):
        Layout(-1, 32)
    for summands in (0, MAX_SUMMANDS + 1):
        with pytest.raises(ParameterError, match="1 to 1024 summands"):
            Layout(1, 32).tolerance(summands)


def test_the_stated_noise_is_what_seal_makes(private: PrivateKey) -> None:
    seal = engine(CKKS_4096)
    cipher = np.empty((2, CKKS_4096.degree), dtype=np.uint64)
    found = []
    with Scratch() as scratch:
        encryptor = seal.encryptor(private.public.words, scratch)
        decryptor = seal.decryptor(private.reveal(), scratch)
        for _ in range(16):
            seal.encrypt(encryptor, [0j] * 2048, 1 << 30, scratch, cipher)
            found.append(seal.decrypt(decryptor, cipher, 1 << 30, scratch))
    units = np.concatenate(found) * 2.0**30
    # Over keys: |s(z)|^2 averaged over the slots varies by a few per cent.
    assert 0.85 < units.std() / CKKS_4096.slot_deviation < 1.15
