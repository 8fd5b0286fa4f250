"""What others send is untrusted: each of these must be refused on receipt or when the sum is decrypted."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from silo.crypto.ckks.keys import PrivateKey
from silo.crypto.ckks.parameters import CKKS_4096, Layout
from silo.crypto.ckks.scratch import Scratch
from silo.crypto.ckks.seal import engine
from silo.crypto.ckks.vector import Sum, decrypt, encrypt
from silo.crypto.errors import DecryptionFailed, ParameterError
from silo.crypto.ring import Ring
from silo.crypto.rng import InsecureSeededRng

RNG = InsecureSeededRng(0)
COUNT = 100
BITS = [16, 24, 32, 40]
Q = CKKS_4096.modulus


def honest(private: PrivateKey, bits: int, value: int = 5) -> npt.NDArray[np.uint64]:
    words = np.full(COUNT, value, dtype=Ring.of(bits).dtype)
    return (
        np.frombuffer(encrypt(words, private.public, bits, rng=RNG), dtype="<u8").reshape(1, 2, 4096).copy()
    )


def chosen_places(private: PrivateKey, bits: int, places: npt.NDArray[np.float64]) -> npt.NDArray[np.uint64]:
    """An encryption of any numbers, as a liar who has the public key can make it."""
    layout = Layout(COUNT, bits)
    centred = places - layout.offset
    centred[3::4] *= -1
    out = np.empty((1, 2, 4096), dtype=np.uint64)
    with Scratch() as scratch:
        key = engine(CKKS_4096).encryptor(private.public.words, scratch)
        slots: list[complex] = centred.view(np.complex128).tolist()
        engine(CKKS_4096).encrypt(key, slots, layout.scale, scratch, out[0])
    return out


def zeros(bits: int) -> npt.NDArray[np.float64]:
    places = np.zeros(4096)
    places[-1] = 1
    return places


def opened(private: PrivateKey, bits: int, *vectors: Any, summands: int | None = None) -> Any:
    total = Sum(private.public, COUNT, bits)
    for one in vectors:
        total.add(one.tobytes())
    return decrypt(total.payload(), private, COUNT, bits, summands=summands or len(vectors))


@pytest.mark.parametrize("size", [0, 1, 65535, 65537, 131072])
def test_another_length_is_refused(private: PrivateKey, size: int) -> None:
    with pytest.raises(ParameterError, match="65536 bytes"):
        Sum(private.public, COUNT, 32).add(bytes(size))
    with pytest.raises(ParameterError, match="65536 bytes"):
        decrypt(bytes(size), private, COUNT, 32, summands=1)


@pytest.mark.parametrize("value", [Q, Q + 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("place", [(0, 0, 0), (0, 1, 4095)])
def test_a_coefficient_beyond_the_modulus_is_refused(
    private: PrivateKey, value: int, place: tuple[int, int, int]
) -> None:
    words = honest(private, 32)
    words[place] = value
    with pytest.raises(ParameterError, match="beyond the modulus"):
        Sum(private.public, COUNT, 32).add(words.tobytes())
    with pytest.raises(ParameterError, match="beyond the modulus"):
        decrypt(words.tobytes(), private, COUNT, 32, summands=1)


@pytest.mark.parametrize("polynomial", [0, 1, slice(None)])
def test_a_transparent_ciphertext_is_refused(private: PrivateKey, polynomial: Any) -> None:
    words = honest(private, 32)
    words[0, polynomial] = 0
    with pytest.raises(ParameterError, match="transparent"):
        Sum(private.public, COUNT, 32).add(words.tobytes())
    with pytest.raises(ParameterError, match="transparent"):
        decrypt(words.tobytes(), private, COUNT, 32, summands=1)


@pytest.mark.parametrize("bits", BITS)
def test_a_ciphertext_under_another_key_is_found(private: PrivateKey, other: PrivateKey, bits: int) -> None:
    with pytest.raises(DecryptionFailed, match="no sum of whole numbers"):
        opened(private, bits, honest(other, bits))
    with pytest.raises(DecryptionFailed, match="no sum of whole numbers"):
        opened(private, bits, honest(private, bits), honest(other, bits))


@pytest.mark.parametrize("bits", BITS)
def test_random_coefficients_are_found(private: PrivateKey, bits: int) -> None:
    drawn = np.random.default_rng(1).integers(0, Q, (1, 2, 4096), dtype=np.uint64)
    with pytest.raises(DecryptionFailed):
        opened(private, bits, honest(private, bits), drawn)


@pytest.mark.parametrize("bits", BITS)
def test_one_changed_coefficient_is_found(private: PrivateKey, bits: int) -> None:
    words = honest(private, bits)
    words[0, 0, 1000] ^= 1 << 50
    with pytest.raises(DecryptionFailed):
        opened(private, bits, words)


@pytest.mark.parametrize("bits", BITS)
def test_a_summand_lost_or_added_twice_is_found(private: PrivateKey, bits: int) -> None:
    one, two = honest(private, bits), honest(private, bits)
    with pytest.raises(DecryptionFailed, match="2 summands"):
        opened(private, bits, one, summands=2)
    with pytest.raises(DecryptionFailed, match="2 summands"):
        opened(private, bits, one, two, two, summands=2)
    assert (opened(private, bits, one, two) == 10).all()


@pytest.mark.parametrize("count", [0.0, 2.0, -1.0])
def test_a_summand_that_does_not_count_itself_is_found(private: PrivateKey, count: float) -> None:
    places = zeros(32)
    places[-1] = count
    with pytest.raises(DecryptionFailed, match="2 summands"):
        opened(private, 32, honest(private, 32), chosen_places(private, 32, places))


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("summands", [1, 3])
def test_fractions_are_found(private: PrivateKey, bits: int, summands: int) -> None:
    layout = Layout(COUNT, bits)
    for place in (0, 1, 3, 4000, 4095):
        places = zeros(bits)
        places[place] += 2 * layout.tolerance(summands)
        lies = [chosen_places(private, bits, places), *(honest(private, bits) for _ in range(summands - 1))]
        with pytest.raises(DecryptionFailed, match="no sum of whole numbers"):
            opened(private, bits, *lies)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("value", ["below", "above"])
def test_sums_out_of_range_are_found(private: PrivateKey, bits: int, value: str) -> None:
    places = zeros(bits)
    top = (1 << Layout(COUNT, bits).limb_bits) - 1
    # The other summand adds 5.
    places[3] = -6 if value == "below" else 2 * top - 4
    with pytest.raises(DecryptionFailed, match="out of range"):
        opened(private, bits, honest(private, bits), chosen_places(private, bits, places))


def test_a_split_word_beyond_40_bits_is_found(private: PrivateKey) -> None:
    places = zeros(40)
    places[COUNT] = (1 << 20) - 1
    places[0] = (1 << 20) - 4
    with pytest.raises(DecryptionFailed, match="out of range"):
        opened(private, 40, honest(private, 40), chosen_places(private, 40, places))


def test_honest_words_that_overflow_together_are_found(private: PrivateKey) -> None:
    for bits in BITS:
        with pytest.raises(DecryptionFailed, match="out of range"):
            opened(private, bits, *(honest(private, bits, 1 << (bits - 1)) for _ in "ab"))


def test_numbers_behind_the_vector_are_found(private: PrivateKey) -> None:
    places = zeros(32)
    places[COUNT] = 1
    with pytest.raises(DecryptionFailed, match="out of range"):
        opened(private, 32, chosen_places(private, 32, places))


@pytest.mark.parametrize("factor", [1, 1 << 10, 1 << 26])
@pytest.mark.parametrize("beside", [True, False])
def test_a_ciphertext_steered_to_show_the_key_is_not_opened(
    private: PrivateKey, factor: int, beside: bool
) -> None:
    # c1 = factor, c0 = 0: it "decrypts" to factor times the secret key.
    steered = honest(private, 32)
    if not beside:
        steered[0, 0] = 1
        steered[0, 1] = 0
    steered[0, 1] = (steered[0, 1] + np.uint64(factor << 26)) % np.uint64(Q)
    with pytest.raises(DecryptionFailed):
        opened(private, 32, steered)
