"""The transform, the residues on the wire, the samplers: against slow and obvious ones."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from silo.crypto.errors import ParameterError
from silo.crypto.lattice import ntt, parameters, residues, sampling, vector
from silo.crypto.lattice.ntt import Factor, P, columns
from silo.crypto.lattice.parameters import DEGREE, MODULUS, PRIMES
from silo.crypto.powers import is_prime
from silo.crypto.prg import Keystream
from silo.crypto.rng import InsecureSeededRng
from silo.crypto.secret import Secret
from tests.crypto.lattice import reference

PRIME_COLUMNS = columns(P, 1)


def stream(seed: int = 1) -> Keystream:
    return Keystream(Secret(InsecureSeededRng(seed).bytes(32)))


def drawn(rows: int, seed: int = 1) -> Any:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, prime, (rows, DEGREE), dtype=np.uint64) for prime in PRIMES], axis=1)


def times(a: Any, b: Any) -> Any:
    """The product of two rows of polynomials."""
    turned = ntt.below(
        ntt.times(ntt.forward(a), Factor(ntt.forward(b), PRIME_COLUMNS), PRIME_COLUMNS), PRIME_COLUMNS
    )
    return ntt.inverse(turned)


def test_the_primes_are_the_largest_that_will_do() -> None:
    rng = InsecureSeededRng(1)
    fit = [k * 2 * DEGREE + 1 for k in range((1 << 26) // (2 * DEGREE), 0, -1)]
    assert tuple(value for value in fit[:200] if value < 1 << 26 and is_prime(value, rng=rng))[:4] == PRIMES
    assert math.prod(PRIMES) == MODULUS
    assert MODULUS.bit_length() == 104


def test_the_transform_and_its_inverse() -> None:
    x = drawn(3)
    x[0, :, :] = 0
    x[1, :, :] = (P - 1)[:, None]
    turned = ntt.forward(x)
    assert (turned < PRIME_COLUMNS).all()
    assert np.array_equal(ntt.inverse(turned), x)


def test_products_are_negacyclic() -> None:
    rng = np.random.default_rng(2)
    a, b = np.zeros((1, 4, DEGREE), np.uint64), np.zeros((1, 4, DEGREE), np.uint64)
    for polynomial in (a, b):
        for place in rng.choice(DEGREE, 40, replace=False):
            polynomial[0, :, place] = rng.integers(0, min(PRIMES))
    found = times(a, b)
    for place, prime in enumerate(PRIMES):
        right = reference.product(a[0, place].tolist(), b[0, place].tolist(), prime)
        assert found[0, place].tolist() == right
    x = np.zeros((1, 4, DEGREE), np.uint64)
    x[0, :, 1] = 1
    last = np.zeros_like(x)
    last[0, :, DEGREE - 1] = 1
    turned = times(x, last)  # x^N = -1
    assert (turned[0, :, 0] == P - 1).all()
    assert not turned[0, :, 1:].any()


def test_full_products_at_the_edges() -> None:
    full = np.broadcast_to(PRIME_COLUMNS - 1, (1, 4, DEGREE)).copy()
    found = times(full, full)
    # (-sum x^i)^2: the coefficient k has k + 1 products of one sign and N - k - 1 of the other
    right = [(2 * (k + 1) - DEGREE) for k in range(DEGREE)]
    for place, prime in enumerate(PRIMES):
        assert found[0, place].tolist() == [value % prime for value in right]


def test_residues_travel_in_13_bytes() -> None:
    x = drawn(2)
    x[0, :, 0], x[0, :, 1] = 0, P - 1
    raw = np.empty(2 * residues.POLYNOMIAL_BYTES, np.uint8)
    residues.pack(x, raw)
    assert np.array_equal(residues.unpack(raw.tobytes(), 2), x)
    whole = int.from_bytes(raw[13 * 7 : 13 * 8].tobytes(), "little")
    assert [whole >> 26 * place & (1 << 26) - 1 for place in range(4)] == x[0, :, 7].tolist()
    for bad in (raw[:-1], np.append(raw, 0), raw[: residues.POLYNOMIAL_BYTES]):
        with pytest.raises(ParameterError, match="take"):
            residues.unpack(bad.tobytes(), 2)
    for place in range(4):
        broken = x.copy()
        broken[1, place, 9] = P[place]
        residues.pack(broken, raw)
        with pytest.raises(ParameterError, match="beyond its modulus"):
            residues.unpack(raw.tobytes(), 2)


def test_samples_have_their_distributions() -> None:
    count = 50 * DEGREE
    third = Counter(sampling.ternary(50, stream()).reshape(-1).tolist())
    assert set(third) == {-1, 0, 1}
    assert all(abs(times_ - count / 3) < 6 * math.sqrt(count) for times_ in third.values())
    error = sampling.errors(50, stream(2)).reshape(-1)
    assert np.abs(error).max() <= parameters.ERROR_BOUND
    assert abs(error.mean()) < 0.05
    assert error.var() == pytest.approx(12, rel=0.02)
    even = sampling.uniform(stream(3))
    for place, prime in enumerate(PRIMES):
        assert even[0, place].max() < prime
        assert even[0, place].mean() == pytest.approx(prime / 2, rel=0.05)
    flood = sampling.flood(2, stream(4))
    numbers = [reference.lift(flood[0, :, at].tolist()) for at in range(200)]
    signed = [n - MODULUS if n > MODULUS // 2 else n for n in numbers]
    assert all(-(1 << 61) <= n < 1 << 61 for n in signed)
    assert max(signed) > 1 << 60
    assert min(signed) < -(1 << 60)


def test_small_numbers_become_residues() -> None:
    small = np.array([[-24, -1, 0, 1, 24] + [0] * (DEGREE - 5)], np.int64)
    found = sampling.residues(small)
    for place, prime in enumerate(PRIMES):
        assert found[0, place, :5].tolist() == [prime - 24, prime - 1, 0, 1, 24]


@pytest.mark.parametrize("bits", [16, 24, 32])
def test_messages_are_scaled_without_a_fraction(bits: int) -> None:
    edge = [0, 1, 2, (1 << bits) - 1, (1 << bits) - 2, 1 << bits - 1, (1 << bits - 1) - 1, 12345]
    plain = np.zeros((1, DEGREE), np.uint64)
    plain[0, : len(edge)] = edge
    found = vector.scaled(plain, bits)
    for place, message in enumerate(edge):
        assert reference.lift(found[0, :, place].tolist()) == reference.rounded(message, bits)


def test_what_does_not_fit_the_noise_is_refused() -> None:
    assert parameters.most_parties(32) >= 256
    assert parameters.most_parties(16) == parameters.most_parties(24) == 1024
    with pytest.raises(ParameterError, match="not 40"):
        parameters.most_parties(40)
    with pytest.raises(ParameterError, match="at most"):
        parameters.require(32, parameters.most_parties(32) + 1)
    # The noise of 32 parties is far below what it is flooded with.
    assert parameters.flooding_bits(32, 32) > 30
    assert parameters.largest_fraction(32, 32, 32) < 0.2
