"""Keys: their form, what is refused, and that they are not shown."""

from __future__ import annotations

import copy
import math
import pickle

import pytest

from silo.crypto import powers
from silo.crypto.errors import ParameterError
from silo.crypto.paillier import keys, proof
from silo.crypto.paillier.keys import PrivateKey, PublicKey, generate, insecure_small_key
from silo.crypto.rng import InsecureSeededRng, SystemRng
from silo.crypto.secret import Secret

SMALL = insecure_small_key(512, rng=InsecureSeededRng(3))
REAL = generate(2048, rng=InsecureSeededRng(4))


def test_a_key_is_that_of_the_paper() -> None:
    p, q, n = int(REAL.p), int(REAL.q), int(REAL.public.n)
    assert n == p * q
    assert (p % 4, q % 4) == (3, 3)
    assert math.gcd(p - 1, q - 1) == 2
    assert n.bit_length() == REAL.public.bits == 2048
    h_s = int(REAL.public.h_s)
    # h_s = h^n with h = -x^2: an n-th power, of order dividing phi(n), not of order two
    assert pow(h_s, REAL.order, n * n) == 1
    assert pow(h_s, 2, n * n) != 1


def test_keys_are_read_again() -> None:
    public = PublicKey.from_bytes(REAL.public.to_bytes())
    assert public == REAL.public
    assert hash(public) == hash(REAL.public)
    assert public.fingerprint == REAL.public.fingerprint
    again = PrivateKey.from_bytes(REAL.to_bytes())
    assert (again.p, again.q, again.public) == (REAL.p, REAL.q, REAL.public)


@pytest.mark.parametrize("bits", [0, 512, 1024, 2040, 8192])
def test_other_sizes_are_refused(bits: int) -> None:
    with pytest.raises(ParameterError, match="2048, 3072, 4096"):
        generate(bits, rng=SystemRng())


def test_public_keys_that_cannot_be_used_are_refused() -> None:
    raw, size = REAL.public.to_bytes(), REAL.public.size
    even = bytearray(raw)
    even[1 + size] &= 0xFE
    threes = (3 * (1 << 2047)).to_bytes(257, "big")[1:]
    for bad in (
        b"",
        raw[:-1],
        raw + b"0",
        b"\x02\x00" + raw[2:],  # 512 bits
        bytes(even),
        raw[:2] + bytes(size) + raw[2 + size :],
        raw[:2] + threes + raw[2 + size :],
        raw[: 2 + size] + bytes(2 * size),
        raw[: 2 + size] + (1).to_bytes(2 * size, "big"),
        raw[: 2 + size] + int(REAL.public.n).to_bytes(2 * size, "big"),  # no unit
        raw[: 2 + size] + b"\xff" * (2 * size),
    ):
        with pytest.raises(ParameterError):
            PublicKey.from_bytes(bad)
    with pytest.raises(ParameterError):
        PublicKey.from_bytes(SMALL.public.to_bytes())


def test_private_keys_that_do_not_fit_are_refused() -> None:
    raw = REAL.to_bytes().reveal()
    swapped = raw[:2] + raw[2:130] + raw[2:130] + raw[258:]
    order = raw[:258] + (6).to_bytes(128, "big") + raw[386:]
    for bad in (b"", raw[:-1], swapped, order, b"\x02\x00" + raw[2:]):
        with pytest.raises(ParameterError):
            PrivateKey.from_bytes(Secret(bad))


def test_a_private_key_is_not_shown_copied_or_pickled() -> None:
    for secret in (SMALL, SMALL.halves()[0]):
        assert "redacted" in repr(secret)
        assert str(int(SMALL.p)) not in repr(secret)
        with pytest.raises(TypeError):
            pickle.dumps(secret)
        with pytest.raises(TypeError):
            copy.deepcopy(secret)
    assert str(int(SMALL.p)) not in repr(SMALL.public)


def test_the_proof_holds_for_its_key_alone() -> None:
    raw = proof.prove(REAL)
    proof.verify(REAL.public, raw)
    other = generate(2048, rng=InsecureSeededRng(5))
    with pytest.raises(ParameterError, match="does not hold"):
        proof.verify(other.public, raw)
    for bad in (b"", raw[:-1], raw[:-1] + bytes([raw[-1] ^ 1]), bytes(len(raw))):
        with pytest.raises(ParameterError):
            proof.verify(REAL.public, bad)


def test_a_modulus_that_divides_its_order_has_no_proof() -> None:
    """q = 2 k p + 1: p divides phi(n), so messages would not decrypt; whoever knows the factors cannot prove it."""
    rng = InsecureSeededRng(6)
    p = int(SMALL.p)
    q = next(2 * k * p + 1 for k in range(1, 10**5) if powers.is_prime(2 * k * p + 1, rng=rng))
    n = p * q
    with pytest.raises((ValueError, ZeroDivisionError)):
        powers.inverse(n, (p - 1) * (q - 1))


def test_primes_are_primes() -> None:
    rng = InsecureSeededRng(7)
    known = set(powers.primes_below(2000))
    assert [n for n in range(2000) if powers.is_prime(n, rng=rng)] == sorted(known)
    assert len(known) == 303
    for composite in (3215031751, 341550071728321, 2**67 - 1, int(SMALL.p) * int(SMALL.q)):
        assert not powers.is_prime(composite, rng=rng)
    assert powers.is_prime(2**127 - 1, rng=rng)


def test_numbers_below_a_limit_are_uniform() -> None:
    rng = InsecureSeededRng(8)
    drawn = [powers.below(7, rng=rng) for _ in range(7000)]
    assert all(abs(drawn.count(value) - 1000) < 150 for value in range(7))
    assert keys.SHORT_EXPONENT == 512
