"""Keys: their form, what is refused, and that they are not shown."""

from __future__ import annotations

import copy
import math
import pickle

import pytest

from silo.crypto import powers
from silo.crypto.errors import ParameterError
from silo.crypto.okamoto_uchiyama import keys
from silo.crypto.okamoto_uchiyama.keys import PrivateKey, PublicKey, insecure_small_key
from silo.crypto.rng import InsecureSeededRng, SystemRng
from silo.crypto.secret import Secret

SMALL = insecure_small_key(512, rng=InsecureSeededRng(3))
REAL = keys.generate(2048, rng=InsecureSeededRng(4))


def test_a_key_is_that_of_the_paper_with_safe_primes() -> None:
    p, q, n = int(REAL.p), int(REAL.q), int(REAL.public.n)
    rng = InsecureSeededRng(5)
    assert n == p * p * q
    assert (p.bit_length(), q.bit_length(), n.bit_length()) == (560, 928, 2048)
    for prime in (p, q, p // 2, q // 2):
        assert powers.is_prime(prime, rng=rng)
    g, h = int(REAL.public.g), int(REAL.public.h)
    assert h == pow(g, n, n)
    assert pow(g, p - 1, p * p) != 1
    # h has the order (p - 1) / 2 times (q - 1) / 2: it generates all squares of n-th powers
    order = (p // 2) * (q // 2)
    assert pow(h, order, n) == 1
    assert pow(h, p // 2, n) != 1
    assert pow(h, q // 2, n) != 1


@pytest.mark.parametrize("bits", [512, 1024, 2048, 3072])
def test_the_lengths_of_the_factors(bits: int) -> None:
    p = keys.prime_bits(bits)
    assert bits - 2 * p > 1.6 * p
    if bits in keys.SIZES:
        assert security(bits) == {2048: 98, 3072: 124}[bits]


def security(bits: int) -> int:
    """Bits of security by elliptic curves for p and class groups for q, as the module says."""

    def steps(length: int, c: float) -> float:
        ln = length * math.log(2)
        return c * math.sqrt(ln * math.log(ln)) / math.log(2)

    p = keys.prime_bits(bits)
    groups = steps(bits - 2 * p, 1) + math.log2(bits * math.log(2))
    assert int(groups) == {2048: 103, 3072: 128}[bits]
    even = steps(bits // 3, 1) + math.log2(bits * math.log(2))
    if bits == 2048:
        assert int(even) == 88
    return int(min(steps(p, math.sqrt(2)), groups))


def test_keys_are_read_again() -> None:
    public = PublicKey.from_bytes(REAL.public.to_bytes())
    assert public == REAL.public
    assert hash(public) == hash(REAL.public)
    assert (public.g, public.h) == (REAL.public.g, REAL.public.h)
    assert public.fingerprint == REAL.public.fingerprint != SMALL.public.fingerprint
    again = PrivateKey.from_bytes(REAL.to_bytes())
    assert (again.p, again.q, again.public) == (REAL.p, REAL.q, REAL.public)


@pytest.mark.parametrize("bits", [0, 512, 1024, 2040, 4096])
def test_other_sizes_are_refused(bits: int) -> None:
    with pytest.raises(ParameterError, match="2048, 3072"):
        keys.generate(bits, rng=SystemRng())


def test_public_keys_that_cannot_be_used_are_refused() -> None:
    raw, n = REAL.public.to_bytes(), int(REAL.public.n)
    for bad in (
        b"",
        raw[:-1],
        raw + b"0",
        b"\x02\x00" + raw[2:],
        raw[:2] + (n - 1).to_bytes(256, "big"),  # even
        raw[:2] + (3 * (1 << 2046) + 3).to_bytes(256, "big"),
        raw[:2] + bytes(256),
        raw[:2] + (n >> 1 | 1).to_bytes(256, "big"),
        SMALL.public.to_bytes(),
    ):
        with pytest.raises(ParameterError):
            PublicKey.from_bytes(bad)


def test_a_base_of_small_order_is_refused() -> None:
    """n with phi(n) dividing n: all n-th powers are 1. The primes here are above those that are tried."""
    n = 8209**49  # h = g^n has an order that divides 8208
    while n.bit_length() % 128:
        n *= 8209
    public = PublicKey(n)  # not 2, so that only the length of the answer bounds what such a maker reads
    assert pow(int(public.h), 8208, n) == 1


def test_private_keys_that_do_not_fit_are_refused() -> None:
    raw = REAL.to_bytes().reveal()
    other = keys.safe_prime(560, rng=InsecureSeededRng(8))
    for bad in (
        b"",
        raw[:-1],
        raw + b"0",
        b"\x02\x00" + raw[2:],
        raw[:2] + raw[72:142] + raw[72:],
        raw[:-1] + bytes([raw[-1] ^ 4]),
        raw[:2] + (other + 4).to_bytes(70, "big") + raw[72:],
    ):
        with pytest.raises(ParameterError):
            PrivateKey.from_bytes(Secret(bad))
    with pytest.raises(ParameterError, match="factors"):
        PrivateKey(int(REAL.p), int(REAL.p))
    with pytest.raises(ParameterError, match=r"lengths|cannot be used"):
        PrivateKey(int(REAL.q), int(REAL.p))


def test_a_private_key_is_not_shown_copied_or_pickled() -> None:
    assert "redacted" in repr(SMALL)
    for shown in (repr(SMALL), repr(SMALL.public), repr(SMALL.to_bytes())):
        assert str(int(SMALL.p)) not in shown
    with pytest.raises(TypeError):
        pickle.dumps(SMALL)
    with pytest.raises(TypeError):
        copy.deepcopy(SMALL)
