"""Known answers from the paper's formulas, the homomorphism, and the attack that takes a key apart."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silo.crypto import cells
from silo.crypto.errors import DecryptionFailed
from silo.crypto.histograms import Terms
from silo.crypto.okamoto_uchiyama import encryption
from silo.crypto.okamoto_uchiyama.histograms import Owner
from silo.crypto.okamoto_uchiyama.keys import PrivateKey, insecure_small_key
from silo.crypto.rng import InsecureSeededRng

KEY = insecure_small_key(640, rng=InsecureSeededRng(3))
RNG = InsecureSeededRng(1)
N, P, Q = int(KEY.public.n), int(KEY.p), int(KEY.q)
G, H = int(KEY.public.g), int(KEY.public.h)
messages = st.one_of(st.integers(0, P - 1), st.sampled_from([0, 1, P - 1, P // 2]))


def encrypted(numbers: list[int]) -> list[Any]:
    raw = encryption.encrypt_part(encryption.job(KEY, numbers, RNG.bytes(32), RNG.bytes(32)))
    return cells.read(raw, KEY.public.size)


def by_the_paper(ciphertext: int, key: PrivateKey = KEY) -> int:
    """L(c^(p-1) mod p^2) / L(g^(p-1) mod p^2) mod p, with Python's own numbers."""
    p = int(key.p)
    above = (pow(ciphertext, p - 1, p * p) - 1) // p
    below = (pow(int(key.public.g), p - 1, p * p) - 1) // p
    return above * pow(below, -1, p) % p


@given(messages, st.integers(0, N))
def test_what_the_paper_encrypts_is_decrypted(message: int, r: int) -> None:
    ciphertext = pow(G, message, N) * pow(H, r, N) % N
    assert by_the_paper(ciphertext) == message
    assert encryption.decrypt_all([ciphertext], KEY) == [message]


@given(st.lists(messages, min_size=1, max_size=4))
@settings(max_examples=30)
def test_what_is_encrypted_here_is_decrypted_by_the_paper(numbers: list[int]) -> None:
    assert [by_the_paper(int(one)) for one in encrypted(numbers)] == numbers


def test_ciphertexts_are_the_papers() -> None:
    """c / g^m is a power of h: it lies in the group of order (p - 1) / 2 times (q - 1) / 2 that h generates."""
    order = (P // 2) * (Q // 2)
    numbers = [0, 1, P - 1, 12345]
    found = encrypted(numbers * 8)
    for message, ciphertext in zip(numbers * 8, found, strict=True):
        rest = int(ciphertext) * pow(G, -message, N) % N
        assert pow(rest, order, N) == 1
    assert len({int(one) for one in found}) == 32
    assert len({int(one) % (P * P) for one in found}) == 32
    assert len({int(one) % Q for one in found}) == 32


@given(messages, messages, st.integers(0, 2**70))
def test_products_are_sums(one: int, other: int, times: int) -> None:
    first, second = encrypted([one, other])
    assert encryption.decrypt_all([first * second % N, pow(int(first), times, N)], KEY) == [
        (one + other) % P,
        one * times % P,
    ]


def test_fresh_randomness_keeps_the_message() -> None:
    before = encrypted([5, 6])
    after = encryption.randomise(before, N, H, RNG.bytes(32))
    assert encryption.decrypt_all(after, KEY) == [5, 6]
    order = (P // 2) * (Q // 2)
    for old, new in zip(before, after, strict=True):
        assert old % Q != new % Q
        assert old % P != new % P
        assert pow(int(new) * pow(int(old), -1, N), order, N) == 1


def test_a_chosen_ciphertext_takes_the_key_apart_and_is_refused() -> None:
    """The decryption of g^m for m > p shows p: an owner gives none out, and opens nothing after it."""
    message = 1 << P.bit_length() + 8
    ciphertext = pow(G, message, N) * pow(H, 77, N) % N
    (shown,) = encryption.decrypt_all([ciphertext], KEY)
    assert math.gcd(message - shown, N) == P
    terms = Terms(8, (100,))
    owner = Owner(KEY, terms)
    rows = bytes(owner.encrypt(np.array([[1]] * 8), rng=RNG))
    width, each = owner.width, terms.bins(KEY.public.plain_bits)
    reply = rows[:width] + ciphertext.to_bytes(width, "little")
    with pytest.raises(DecryptionFailed) as refused:
        owner.decrypt(reply, 2 * each)
    assert str(shown) not in str(refused.value)
    with pytest.raises(DecryptionFailed, match="new key"):
        owner.decrypt(rows[:width], 1)


def test_chosen_ciphertexts_are_refused_whatever_their_size() -> None:
    terms = Terms(8, (100,))
    for bits in range(terms.bits, N.bit_length(), 23):
        ciphertext = pow(G, 3 << bits, N)
        with pytest.raises(DecryptionFailed):
            Owner(KEY, terms).decrypt(ciphertext.to_bytes(KEY.public.size, "little"), 1)


def test_a_job_shows_nothing() -> None:
    job = encryption.job(KEY, [1], bytes(32), bytes(32))
    assert str(P) not in repr(job)
