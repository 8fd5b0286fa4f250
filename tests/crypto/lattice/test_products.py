"""Products against Python's whole numbers; what the owner sees in the noise; the room that the noise has."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from silo.crypto.errors import ParameterError
from silo.crypto.lattice import constant, keys, ntt, products, residues, sampling
from silo.crypto.lattice.budget import HIDING_BITS, Budget
from silo.crypto.lattice.ntt import P, Words, columns
from silo.crypto.lattice.parameters import DEGREE, ERROR_BOUND, MODULUS, PRIMES
from silo.crypto.lattice.products import LatticeMultiplier, LatticeOwner
from silo.crypto.lattice.residues import COEFFICIENT_BYTES, POLYNOMIAL_BYTES
from silo.crypto.products import TAG_BYTES, Integers, Reply, Terms
from silo.crypto.rng import InsecureSeededRng
from tests.crypto.lattice import reference

RNG = InsecureSeededRng(1)
PRIME_COLUMNS = columns(P, 1)


def numbers(shape: Any, bits: int, seed: int) -> Integers:
    return np.asarray(np.random.default_rng(seed).integers(1 - (1 << bits), 1 << bits, shape))


def centred(value: int) -> int:
    return (value + MODULUS // 2) % MODULUS - MODULUS // 2


def whole(transformed: Words) -> list[int]:
    """The coefficients below Q of one transformed polynomial (4, N)."""
    found = ntt.inverse(np.ascontiguousarray(transformed)[None])[0]
    return [reference.lift(found[:, place].tolist()) for place in range(DEGREE)]


def secret(owner: LatticeOwner) -> list[int]:
    found = [centred(value) for value in whole(owner._secret.value[0])]
    assert set(found) == {-1, 0, 1}
    return found


def noises(owner: LatticeOwner, payload: Any, count: int) -> list[int]:
    """What the owner sees beside the masked products, with its secret key: one number a ciphertext."""
    body = bytes(payload)[TAG_BYTES:]
    total = products.ciphertexts(owner.terms, owner.budget) * count
    second = residues.unpack(body[: total * POLYNOMIAL_BYTES], total)
    parts = constant.lifted(constant.of_product(second, owner._secret.value[0]))
    bits, found = owner.budget.plain_bits, []
    for place, part in enumerate(parts):
        at = total * POLYNOMIAL_BYTES + place * COEFFICIENT_BYTES
        phase = (int.from_bytes(body[at : at + COEFFICIENT_BYTES], "little") + part) % MODULUS
        found.append(centred(phase - reference.rounded(reference.decoded(phase, bits), bits)))
    return found


def test_a_pass_is_that_of_the_scheme() -> None:
    """Every step again in Python's whole numbers, with schoolbook products."""
    terms = Terms(40, 8, 11)
    owner, budget = LatticeOwner.generate(terms, rng=RNG), Budget.of(terms)
    table, values = numbers((40, 2), 11, 3), numbers(40, 8, 4)
    key, shared = secret(owner), whole(keys.expand(owner.public[:32])[0])
    joint = whole(residues.unpack(owner.public[32:], 1)[0])
    for place in (0, 1, DEGREE - 1):
        assert abs(centred(joint[place] + coefficient(shared, key, place))) <= ERROR_BOUND
    payload = bytes(owner.encrypt(values, rng=RNG))
    a = whole(keys.expand(payload[TAG_BYTES : TAG_BYTES + 32])[0])
    body = payload[TAG_BYTES + 32 :]
    raws = [int.from_bytes(body[at : at + 13], "little") for at in range(0, len(body), 13)]
    c0 = [reference.lift([raw >> 26 * k & (1 << 26) - 1 for k in range(4)]) for raw in raws]
    for place in range(40):
        error = centred(
            c0[place]
            + coefficient(a, key, place)
            - reference.rounded(int(values[place]) % budget.modulus, budget.plain_bits)
        )
        assert abs(error) <= ERROR_BOUND
    multiplier = LatticeMultiplier(owner.public, table, terms)
    reply = multiplier.products(payload, rng=RNG)
    opened = owner.decrypt(reply.payload, 2)
    masks = reply._masks
    assert masks is not None
    raw = bytes(reply.payload)[TAG_BYTES:]
    turned = second(reply, 2)
    for column in range(2):
        c1 = whole(turned[column])
        tail = raw[2 * POLYNOMIAL_BYTES + 13 * column :][:13]
        phase = (int.from_bytes(tail, "little") + coefficient(c1, key, 0)) % MODULUS
        product = int(values @ table[:, column])
        masked = (product + masks[column]) % budget.modulus
        assert reference.decoded(phase, budget.plain_bits) == masked == opened[column]
        noise = centred(phase - reference.rounded(masked, budget.plain_bits))
        assert abs(noise) <= budget.worst + budget.flood
    assert reply.remove(opened).tolist() == (values @ table).tolist()


def coefficient(one: list[int], other: list[int], place: int) -> int:
    """One coefficient of a product modulo x^N + 1."""
    return sum(
        one[j] * (other[place - j] if j <= place else -other[DEGREE + place - j]) for j in range(DEGREE)
    )


@pytest.mark.parametrize("bits", [2, 23, 35, 47, 62])
def test_signed_values_are_scaled_exactly(bits: int) -> None:
    most = min(1 << bits - 1, 1 << 32) - 1
    edge = [0, 1, -1, most, -most, most // 3, -(most // 3), most // 2]
    plain = np.zeros((1, DEGREE), np.int64)
    plain[0, : len(edge)] = edge
    found = products._scaled(plain, bits)
    assert (found < PRIME_COLUMNS).all()
    for place, message in enumerate(edge):
        right = reference.rounded(message, bits) % MODULUS
        assert (
            reference.lift(found[0, :, place].tolist()) == right == constant.scaled(message, bits) % MODULUS
        )


def test_constant_coefficients_of_products() -> None:
    full = np.broadcast_to(PRIME_COLUMNS - 1, (2, 4, DEGREE)).astype(np.uint64)
    # Every residue at its largest: 4096 products of 52 bits just fit 64 bits.
    by_hand = [DEGREE * (prime - 1) ** 2 % prime * pow(DEGREE, -1, prime) % prime for prime in PRIMES]
    assert constant.of_product(full, full[0]).tolist() == [by_hand, by_hand]
    assert DEGREE * (max(PRIMES) - 1) ** 2 < 1 << 64
    one, other = np.zeros((2, 1, 4, DEGREE), np.uint64)
    one[0, :, 0], one[0, :, 5], other[0, :, 0], other[0, :, DEGREE - 5] = 3, 7, 11, 13
    found = constant.of_product(ntt.forward(one), ntt.forward(other)[0])
    assert constant.lifted(found) == [(33 - 91) % MODULUS]


def test_what_fits_and_what_does_not() -> None:
    """The figures of the docstring."""
    for rows, bits, chunk, distance in (
        (4096, 32, 1 << 15, 48.9),
        (1 << 15, 35, 1 << 15, 43.5),
        (1 << 17, 37, 1 << 15, 41.5),
        (1 << 20, 40, 1 << 13, 40.1),
    ):
        budget = Budget.of(Terms(rows, 8, 11))
        assert (budget.plain_bits, budget.chunk) == (bits, chunk)
        assert distance < budget.distance_bits < distance + 0.1
        assert budget.noise << HIDING_BITS <= 2 * budget.flood
        assert 2 * (budget.worst + budget.flood) * budget.modulus < MODULUS
        assert budget.modulus > 2 * Terms(rows, 8, 11).bound
    with pytest.raises(ParameterError, match=r"2097152 rows.* plaintext of 41 bits.*noise of 24 bits"):
        Budget.of(Terms(1 << 21, 8, 11))
    with pytest.raises(ParameterError, match="32768 rows"):
        LatticeOwner.generate(Terms(1 << 15, 8, 14), rng=RNG)
    with pytest.raises(ParameterError, match="need a plaintext of 60 bits"):
        LatticeMultiplier(b"", np.zeros((1, 1), np.int64), Terms(1, 30, 29))


def test_sums_of_coefficients_fit_for_all_terms_that_fit() -> None:
    for rows in [1, 5, 4096, 10_000, 1 << 15, 1 << 24]:
        for value_bits in (1, 4, 8, 20):
            for column_bits in range(1, 33):
                try:
                    terms = Terms(rows, value_bits, column_bits)
                    budget = Budget.of(terms)
                except ParameterError:
                    continue
                assert min(rows, budget.chunk) << column_bits < 1 << 33
                assert budget.plain_bits <= 63


def replies(table: Integers, passes: int) -> tuple[LatticeOwner, list[int]]:
    """The noises of all columns in some passes over the same values."""
    rows, count = table.shape
    owner = LatticeOwner.generate(Terms(rows, 8, 11), rng=InsecureSeededRng(3))
    multiplier = LatticeMultiplier(owner.public, table, owner.terms)
    found: list[int] = []
    for _ in range(passes):
        payload = owner.encrypt(np.full(rows, 200, np.int64), rng=RNG)
        found += noises(owner, multiplier.products(payload, rng=RNG).payload, count)
    return owner, found


def apart(one: list[int], other: list[int]) -> float:
    """The statistic of Kolmogorov and Smirnov."""
    edges = sorted([*one, *other])
    a = np.searchsorted(np.array(sorted(one), object), np.array(edges, object), side="right")
    b = np.searchsorted(np.array(sorted(other), object), np.array(edges, object), side="right")
    return float(np.abs(a / len(one) - b / len(other)).max())


ZERO = np.zeros((DEGREE, 64), np.int64)
FULL = np.full((DEGREE, 64), 2047, np.int64)


def test_the_noise_tells_nothing_of_the_columns() -> None:
    owner, none = replies(ZERO, 5)
    _, most = replies(FULL, 5)
    limit = 1.95 * math.sqrt(2 / len(none))  # exceeded by chance in one of a thousand
    assert apart(none, most) < limit
    for found in (none, most):
        spread = [noise / owner.budget.flood for noise in found]
        assert max(map(abs, spread)) <= 1.0000001
        assert np.std(spread) == pytest.approx(1 / math.sqrt(3), rel=0.1)


def test_without_the_flood_the_columns_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: with the flood taken away the owner tells the columns apart at once."""
    real = products._below

    def unflooded(limit: int, rng: Any) -> int:
        return limit // 2 if limit % 2 else real(limit, rng)

    monkeypatch.setattr(products, "_below", unflooded)
    owner, none = replies(ZERO, 2)
    _, most = replies(FULL, 2)
    assert apart(none, most) > 0.9
    # What the flood hides is within the bound it is measured by, which is not far too large either.
    assert max(map(abs, none + most)) <= owner.budget.noise
    assert max(map(abs, most)) > owner.budget.noise / 64


def test_replies_are_rerandomised() -> None:
    """The second polynomial of a reply is not the sum of a f, nor near it: the owner knows a, and would find f."""
    terms = Terms(DEGREE + 9, 8, 11)
    owner = LatticeOwner.generate(terms, rng=RNG)
    multiplier = LatticeMultiplier(owner.public, numbers((terms.rows, 3), 11, 5), terms)
    payload = bytes(owner.encrypt(numbers(terms.rows, 8, 6), rng=RNG))
    a = products._expand(payload[TAG_BYTES : TAG_BYTES + 32], 2)
    bare = (multiplier._factors.astype(np.uint64) * a % PRIME_COLUMNS).sum(axis=1) % PRIME_COLUMNS
    seen = [second(multiplier.products(payload, rng=RNG), 3) for _ in range(2)]
    for one, other in ((seen[0], bare), (seen[1], bare), (seen[0], seen[1]), (seen[0], seen[0][::-1])):
        difference = (one + PRIME_COLUMNS - other) % PRIME_COLUMNS
        for column in (0, 2):
            far = [abs(centred(value)) for value in whole(difference[column])[:200]]
            assert min(far) > MODULUS >> 24
            assert max(far) > MODULUS // 3
    # Nor is it a multiple of the key's a by something small, which anybody who guesses f could check.
    common = multiplier._public.common.value[0]
    inverse = [[pow(int(one), -1, prime) for one in row] for row, prime in zip(common, PRIMES, strict=True)]
    quotient = (seen[0] + PRIME_COLUMNS - bare) % PRIME_COLUMNS * np.array(inverse, np.uint64) % PRIME_COLUMNS
    assert max(abs(centred(value)) for value in whole(quotient[0])[:200]) > MODULUS // 3


def second(reply: Reply, count: int) -> Words:
    return residues.unpack(bytes(reply.payload)[TAG_BYTES : TAG_BYTES + count * POLYNOMIAL_BYTES], count)


@pytest.mark.parametrize("edge", [0, 1])
def test_the_worst_noise_still_decrypts(edge: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every error at its bound and of the sign of its column, and the flood at its edge."""
    rows = 1 << 15
    terms = Terms(rows, 8, 11)
    sign = 1 if edge else -1
    worst = np.full((8, DEGREE), sign * ERROR_BOUND, np.int64)
    monkeypatch.setattr(sampling, "errors", lambda count, stream: worst[:count])
    real = products._below

    def edged(limit: int, rng: Any) -> int:
        return (limit - 1) * edge if limit % 2 else real(limit, rng)

    monkeypatch.setattr(products, "_below", edged)
    values = largest_rounding(Budget.of(terms).plain_bits, sign)
    table = np.full((rows, 1), 2047, np.int64)
    owner = LatticeOwner.generate(terms, rng=RNG)
    reply = LatticeMultiplier(owner.public, table, terms).products(
        owner.encrypt(np.full(rows, values, np.int64), rng=RNG), rng=RNG
    )
    (found,) = noises(owner, reply.payload, 1)
    beside = sign * found - owner.budget.flood
    assert 0.98 * owner.budget.worst < beside <= owner.budget.worst
    assert reply.remove(owner.decrypt(reply.payload, 1)).tolist() == [rows * values * 2047]


def largest_rounding(bits: int, sign: int) -> int:
    """A value of 8 bits whose scaling is rounded the most, and up or down."""
    t = 1 << bits
    return max(range(-255, 256), key=lambda m: sign * (reference.rounded(m, bits) * t - MODULUS * m))
