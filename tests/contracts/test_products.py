"""What every scheme of products must do alike: exact, hidden by fresh masks, and strict about what it is given."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silo.crypto.errors import ParameterError, StateReused
from silo.crypto.lattice.parameters import DEGREE, MODULUS, PRIMES
from silo.crypto.lattice.products import LatticeMultiplier, LatticeOwner
from silo.crypto.lattice.residues import COEFFICIENT_BYTES, POLYNOMIAL_BYTES
from silo.crypto.paillier import keys
from silo.crypto.paillier.inner import PaillierMultiplier, PaillierOwner
from silo.crypto.products import MAX_COLUMNS, TAG_BYTES, Integers, Multiplier, Owner, Terms
from silo.crypto.rng import InsecureSeededRng

RNG = InsecureSeededRng(1)
SMALL = Terms(9, 8, 11)


@lru_cache(maxsize=2)
def paillier_key(seed: int) -> keys.PrivateKey:
    return keys.generate(2048, rng=InsecureSeededRng(seed))


class Scheme:
    """How a scheme's two roles are made."""

    def __init__(self, owner: Callable[[Terms, int], Owner], multiplier: Callable[..., Multiplier]) -> None:
        self.owner, self.multiplier = owner, multiplier


SCHEMES = {
    "lattice": Scheme(
        lambda terms, seed: LatticeOwner.generate(terms, rng=InsecureSeededRng(seed)), LatticeMultiplier
    ),
    "paillier": Scheme(lambda terms, seed: PaillierOwner(terms, paillier_key(seed)), PaillierMultiplier),
}


@pytest.fixture(params=SCHEMES)
def scheme(request: pytest.FixtureRequest) -> Scheme:
    return SCHEMES[request.param]


def numbers(shape: Any, bits: int, seed: int) -> Integers:
    return np.asarray(np.random.default_rng(seed).integers(1 - (1 << bits), 1 << bits, shape))


def passed(owner: Owner, multiplier: Multiplier, values: Integers, columns: int) -> Integers:
    """One pass."""
    payload = owner.encrypt(values, rng=RNG)
    assert len(payload) == owner.payload_bytes == multiplier.payload_bytes
    reply = multiplier.products(payload, rng=RNG)
    assert len(reply.payload) == owner.reply_bytes(columns) == multiplier.reply_bytes
    opened = owner.decrypt(bytes(reply.payload), columns)
    assert len(opened) == columns
    assert owner.modulus == multiplier.modulus
    return reply.remove(opened)


@pytest.mark.parametrize("columns", [1, 3, 9])
@pytest.mark.parametrize("rows", [1, 2, 300])
def test_products_are_those_of_whole_numbers(scheme: Scheme, rows: int, columns: int) -> None:
    terms = Terms(rows, 8, 11)
    table = numbers((rows, columns), 11, 1)
    owner = scheme.owner(terms, 1)
    multiplier = scheme.multiplier(owner.public, table, terms)
    for seed in (2, 3):
        values = numbers(rows, 8, seed)
        found = passed(owner, multiplier, values, columns)
        assert found.dtype == np.int64
        assert found.tolist() == (values @ table).tolist()


@pytest.mark.parametrize("rows", [DEGREE - 1, DEGREE, DEGREE + 1, 30_000, 2**15, 2**15 + 1, 3 * 2**15 - 7])
def test_lattice_products_of_several_blocks_and_ciphertexts(rows: int) -> None:
    terms = Terms(rows, 8, 11)
    table, values = numbers((rows, 2), 11, 1), numbers(rows, 8, 2)
    owner = SCHEMES["lattice"].owner(terms, 1)
    found = passed(owner, LatticeMultiplier(owner.public, table, terms), values, 2)
    assert found.tolist() == (values @ table).tolist()


@pytest.mark.parametrize(
    ("value_bits", "column_bits"), [(1, 1), (8, 11), (11, 8), (14, 11), (16, 15), (1, 24)]
)
def test_products_at_the_bound_of_the_terms(scheme: Scheme, value_bits: int, column_bits: int) -> None:
    terms = Terms(50, value_bits, column_bits)
    values = np.full(50, (1 << value_bits) - 1, np.int64)
    values[::2] *= -1
    one = np.sign(values) * ((1 << column_bits) - 1)
    table = np.stack([one, -one, np.abs(one), 0 * one], axis=1)
    owner = scheme.owner(terms, 1)
    found = passed(owner, scheme.multiplier(owner.public, table, terms), values, 4)
    assert found.tolist() == [terms.bound, -terms.bound, 0, 0]


@pytest.mark.parametrize("rows", [2**15, 2**15 + 3])
def test_lattice_products_at_the_bound_of_many_rows(rows: int) -> None:
    terms = Terms(rows, 8, 11)
    values = np.full(rows, -255, np.int64)
    table = np.full((rows, 2), 2047, np.int64)
    table[:, 1] *= -1
    owner = SCHEMES["lattice"].owner(terms, 1)
    found = passed(owner, SCHEMES["lattice"].multiplier(owner.public, table, terms), values, 2)
    assert found.tolist() == [-terms.bound, terms.bound]


_SIDES = st.one_of(st.integers(-255, 255), st.sampled_from([-255, 255, 0]))
_CELLS = st.one_of(st.integers(-2047, 2047), st.sampled_from([-2047, 2047, 0]))


@given(st.lists(st.tuples(_SIDES, _CELLS, _CELLS), min_size=1, max_size=6))
@settings(max_examples=20, deadline=None)
@pytest.mark.parametrize("name", SCHEMES)
def test_any_small_numbers(name: str, rows: list[tuple[int, int, int]]) -> None:
    terms = Terms(len(rows), 8, 11)
    whole = np.array(rows, np.int64)
    owner = SCHEMES[name].owner(terms, 1)
    multiplier = SCHEMES[name].multiplier(owner.public, whole[:, 1:], terms)
    assert passed(owner, multiplier, whole[:, 0], 2).tolist() == (whole[:, 0] @ whole[:, 1:]).tolist()


def small(scheme: Scheme, columns: int = 2, terms: Terms = SMALL) -> tuple[Owner, Multiplier, bytes]:
    owner = scheme.owner(terms, 1)
    multiplier = scheme.multiplier(owner.public, numbers((terms.rows, columns), 11, 5), terms)
    return owner, multiplier, bytes(owner.encrypt(numbers(terms.rows, 8, 6), rng=RNG))


def test_masks_are_uniform_and_fresh(scheme: Scheme) -> None:
    columns = 64
    owner, multiplier, payload = small(scheme, columns)
    seen = [owner.decrypt(multiplier.products(payload, rng=RNG).payload, columns) for _ in range(2)]
    eighths = [0] * 8
    for number in seen[0] + seen[1]:
        assert 0 <= number < owner.modulus
        eighths[8 * number // owner.modulus] += 1
    # 16 are expected, with a deviation of 3.7.
    assert min(eighths) >= 1
    assert max(eighths) <= 36
    if owner.modulus >> 60:
        assert len({*seen[0], *seen[1]}) == 2 * columns
    assert sum(one == other for one, other in zip(*seen, strict=True)) <= 1


def test_what_was_changed_after_it_was_given_does_not_matter(scheme: Scheme) -> None:
    owner = scheme.owner(SMALL, 1)
    values = numbers(9, 8, 2)
    for table in (np.ascontiguousarray(numbers((9, 2), 11, 3)), np.asfortranarray(numbers((9, 2), 11, 3))):
        right = (values @ table).tolist()
        multiplier = scheme.multiplier(owner.public, table, SMALL)
        table[:] = 0
        assert passed(owner, multiplier, values, 2).tolist() == right


def test_payloads_that_are_none_are_refused(scheme: Scheme) -> None:
    _, multiplier, payload = small(scheme)
    other = scheme.owner(SMALL, 2)
    like = scheme.owner(Terms(9, 7, 11), 1)
    bad = [
        b"",
        payload[:-1],
        payload + b"\0",
        payload[1:],
        bytes(TAG_BYTES) + payload[TAG_BYTES:],
        bytes(other.encrypt(numbers(9, 8, 6), rng=RNG)),
        bytes(like.encrypt(numbers(9, 7, 6), rng=RNG)),
        bytes(multiplier.products(payload, rng=RNG).payload),
        payload[:-40] + b"\xff" * 40,
    ]
    for one in bad:
        with pytest.raises(ParameterError, match=r"bytes, not|another key|modulus|between 0"):
            multiplier.products(one, rng=RNG)


def test_replies_that_are_none_are_refused(scheme: Scheme) -> None:
    owner, multiplier, payload = small(scheme)
    reply = bytes(multiplier.products(payload, rng=RNG).payload)
    other = scheme.owner(SMALL, 2)
    foreign = bytes(small_of(scheme, other).payload)
    bad = [
        b"",
        reply[:-1],
        reply + b"\0",
        bytes(TAG_BYTES) + reply[TAG_BYTES:],
        payload,
        foreign,
        reply[:-40] + b"\xff" * 40,
    ]
    for one in bad:
        with pytest.raises(ParameterError, match=r"bytes, not|another key|modulus|between 0"):
            owner.decrypt(one, 2)
    for count in (1, 3):
        with pytest.raises(ParameterError, match="bytes, not"):
            owner.decrypt(reply, count)
    for count in (0, -1, MAX_COLUMNS + 1):
        with pytest.raises(ParameterError, match="columns"):
            owner.decrypt(reply, count)
    assert len(owner.decrypt(reply, 2)) == 2


def small_of(scheme: Scheme, owner: Owner) -> Any:
    multiplier = scheme.multiplier(owner.public, numbers((9, 2), 11, 5), SMALL)
    return multiplier.products(owner.encrypt(numbers(9, 8, 6), rng=RNG), rng=RNG)


def test_residues_beyond_their_primes_are_refused() -> None:
    owner, multiplier, payload = small(SCHEMES["lattice"])
    reply = bytes(multiplier.products(payload, rng=RNG).payload)
    for place, prime in enumerate(PRIMES):
        beyond = (prime << 26 * place).to_bytes(COEFFICIENT_BYTES, "little")
        with pytest.raises(ParameterError, match="beyond its modulus"):
            multiplier.products(payload[:-COEFFICIENT_BYTES] + beyond, rng=RNG)
        at = TAG_BYTES + 2 * POLYNOMIAL_BYTES - COEFFICIENT_BYTES
        with pytest.raises(ParameterError, match="beyond its modulus"):
            owner.decrypt(reply[:at] + beyond + reply[at + COEFFICIENT_BYTES :], 2)
    for number in (MODULUS, (1 << 8 * COEFFICIENT_BYTES) - 1):
        with pytest.raises(ParameterError, match="beyond its modulus"):
            owner.decrypt(reply[:-COEFFICIENT_BYTES] + number.to_bytes(COEFFICIENT_BYTES, "little"), 2)
    with pytest.raises(ParameterError, match="transparent"):
        owner.decrypt(reply[:TAG_BYTES] + bytes(POLYNOMIAL_BYTES) + reply[TAG_BYTES + POLYNOMIAL_BYTES :], 2)


def test_keys_that_are_none_are_refused(scheme: Scheme) -> None:
    public, table = scheme.owner(SMALL, 1).public, numbers((9, 2), 11, 5)
    other = scheme.owner(SMALL, 2).public
    for bad in (
        b"",
        public[:-1],
        public + b"\0",
        public[:40] + b"\xff" * (len(public) - 40),
        bytes(len(public)),
    ):
        with pytest.raises(ParameterError):
            scheme.multiplier(bad, table, SMALL)
    assert len(public) == len(other)
    if scheme is SCHEMES["paillier"]:
        half = 2 + 3 * 256
        with pytest.raises(ParameterError, match="proof does not hold"):
            scheme.multiplier(public[:half] + other[half:], table, SMALL)
    else:
        with pytest.raises(ParameterError, match="all zeros"):
            scheme.multiplier(public[:32] + bytes(len(public) - 32), table, SMALL)


def test_an_owner_goes_on_under_a_fresh_key_where_a_scheme_needs_one(scheme: Scheme) -> None:
    values, table = numbers((9,), 8, 6), numbers((9, 3), 11, 7)
    owner = scheme.owner(SMALL, 1)
    multiplier = scheme.multiplier(owner.public, table, SMALL)
    old = owner.encrypt(values, rng=RNG)
    fresh = owner.renewed(rng=RNG)
    assert (fresh.public == owner.public) == isinstance(owner, PaillierOwner)
    multiplier.rekey(fresh.public)
    assert (passed(fresh, multiplier, values, 3) == values @ table).all()
    if fresh.public != owner.public:
        with pytest.raises(ParameterError, match="another key"):
            multiplier.products(old, rng=RNG)
    with pytest.raises(ParameterError):
        multiplier.rekey(fresh.public[:-1])
    assert (passed(fresh, multiplier, values, 3) == values @ table).all()


def test_values_and_columns_beyond_the_terms_are_refused(scheme: Scheme) -> None:
    owner = scheme.owner(SMALL, 1)
    values: Any
    table: Any
    for bad in (256, -256, np.iinfo(np.int64).min):
        values = np.zeros(9, np.int64)
        values[4] = bad
        with pytest.raises(ParameterError, match="8 bits"):
            owner.encrypt(values, rng=RNG)
    for values in (np.zeros(8, np.int64), np.zeros((9, 1), np.int64), np.zeros(9, np.int32), np.zeros(9)):
        with pytest.raises(ParameterError, match="values are 9"):
            owner.encrypt(values, rng=RNG)
    for bad in (2048, -2048, np.iinfo(np.int64).min):
        table = np.zeros((9, 2), np.int64)
        table[8, 1] = bad
        with pytest.raises(ParameterError, match="11 bits"):
            scheme.multiplier(owner.public, table, SMALL)
    for table in (
        np.zeros((8, 2), np.int64),
        np.zeros(9, np.int64),
        np.zeros((9, 2)),
        np.zeros((9, 0), np.int64),
    ):
        with pytest.raises(ParameterError, match="columns"):
            scheme.multiplier(owner.public, table, SMALL)


def test_masks_come_off_once_and_only_from_what_they_hide(scheme: Scheme) -> None:
    owner, multiplier, payload = small(scheme)
    reply = multiplier.products(payload, rng=RNG)
    opened = owner.decrypt(reply.payload, 2)
    for bad in ([], opened[:1], [*opened, 0]):
        with pytest.raises(ParameterError, match="2 numbers"):
            reply.remove(bad)
    for beyond in (-1, owner.modulus):
        with pytest.raises(ParameterError, match="below the modulus"):
            reply.remove([opened[0], beyond])
    right = numbers(9, 8, 6) @ numbers((9, 2), 11, 5)
    for product in (SMALL.bound + 1, -SMALL.bound - 1):
        with pytest.raises(ParameterError, match="beyond the"):
            reply.remove([(opened[0] + product - int(right[0])) % owner.modulus, opened[1]])
    with pytest.raises(TypeError):
        reply.remove([0.5, 0.5])  # type: ignore[list-item]
    assert reply.remove(opened).tolist() == right.tolist()
    with pytest.raises(StateReused):
        reply.remove(opened)


def test_secrets_hide_and_do_not_travel(scheme: Scheme) -> None:
    owner, multiplier, payload = small(scheme)
    reply = multiplier.products(payload, rng=RNG)
    for secret in (owner, multiplier, reply):
        assert "redacted" in repr(secret)
        assert len(repr(secret)) < 80
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(secret)


def test_terms_are_checked() -> None:
    assert Terms(2**15, 8, 11).bound == 2**15 * 255 * 2047 < 2**34
    for bad in ((0, 8, 11), (2**24 + 1, 8, 11), (9, 0, 11), (9, 33, 11), (9, 8, 0), (9, 8, 33)):
        with pytest.raises(ParameterError):
            Terms(*bad)
    with pytest.raises(ParameterError, match="at most 63"):
        Terms(2**20, 32, 32)
