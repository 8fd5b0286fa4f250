"""Products of many columns: exact, and no key opens more numbers than it can bear."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from silo.crypto.errors import ParameterError, StateReused
from silo.crypto.lattice.budget import Budget
from silo.crypto.lattice.grouped import EACH, GroupedMultiplier, GroupedOwner, groups
from silo.crypto.lattice.parameters import DEGREE
from silo.crypto.products import MAX_COLUMNS, Integers, Terms
from silo.crypto.rng import InsecureSeededRng

RNG = InsecureSeededRng(3)
TERMS = Terms(40, 8, 11)


def numbers(shape: tuple[int, ...], bits: int, seed: int) -> Integers:
    return np.asarray(np.random.default_rng(seed).integers(1 - (1 << bits), 1 << bits, shape))


def made(columns: int) -> tuple[GroupedOwner, GroupedMultiplier, Integers]:
    table = numbers((TERMS.rows, columns), 11, columns)
    owner = GroupedOwner.generate(TERMS, columns, rng=InsecureSeededRng(columns))
    return owner, GroupedMultiplier(owner.public, table, TERMS), table


@pytest.mark.parametrize("columns", [1, EACH, EACH + 1, 3 * EACH - 1])
def test_products_of_all_groups_are_exact_also_under_fresh_keys(columns: int) -> None:
    owner, multiplier, table = made(columns)
    for seed in range(2):
        values = numbers((TERMS.rows,), 8, seed)
        payload = owner.encrypt(values, rng=RNG)
        assert len(payload) == owner.payload_bytes == multiplier.payload_bytes
        reply = multiplier.products(payload, rng=RNG)
        assert len(reply.payload) == owner.reply_bytes(columns) == multiplier.reply_bytes
        opened = owner.decrypt(reply.payload, columns)
        assert np.array_equal(reply.remove(opened), values @ table)
        with pytest.raises(StateReused):
            reply.remove(opened)
        before = owner.public
        owner = owner.renewed(rng=RNG)
        assert not set(_keys(before)) & set(_keys(owner.public))
        multiplier.rekey(owner.public)


def _keys(public: bytes) -> list[bytes]:
    size = len(GroupedOwner.generate(TERMS, 1, rng=RNG).public)
    return [public[at : at + size] for at in range(0, len(public), size)]


@pytest.mark.parametrize("columns", [1, 100, MAX_COLUMNS])
def test_no_key_opens_more_than_a_tenth_of_what_it_is(columns: int) -> None:
    parts = groups(columns)
    assert [place for part in parts for place in range(part.start, part.stop)] == list(range(columns))
    widest = max(part.stop - part.start for part in parts)
    for rows in (1, 4096, 1 << 15, 1 << 20):
        opened = widest * Budget.of(Terms(rows, 8, 11)).plain_bits
        assert opened <= DEGREE * np.log2(3) / 10


def test_keys_differ_between_groups_and_a_group_opens_its_own_only() -> None:
    owner, multiplier, _ = made(2 * EACH)
    first, second = _keys(owner.public)
    assert first != second
    reply = multiplier.products(owner.encrypt(numbers((TERMS.rows,), 8, 1), rng=RNG), rng=RNG)
    raw, half = bytes(reply.payload), len(bytes(reply.payload)) // 2
    with pytest.raises(ParameterError, match="another key"):
        owner.decrypt(raw[half:] + raw[:half], 2 * EACH)


def test_what_has_another_length_is_refused() -> None:
    owner, multiplier, table = made(EACH + 1)
    payload = bytes(owner.encrypt(numbers((TERMS.rows,), 8, 1), rng=RNG))
    for bad in (payload[:-1], payload + b"\0", b""):
        with pytest.raises(ParameterError, match="bytes, not"):
            multiplier.products(bad, rng=RNG)
    reply = multiplier.products(payload, rng=RNG)
    with pytest.raises(ParameterError, match="bytes, not"):
        owner.decrypt(bytes(reply.payload)[:-1], EACH + 1)
    with pytest.raises(ParameterError, match="for 17 columns, not for 16"):
        owner.decrypt(reply.payload, EACH)
    with pytest.raises(ParameterError, match="were to be opened"):
        reply.remove([0] * EACH)
    for bad in (owner.public[:-1], _keys(owner.public)[0]):
        with pytest.raises(ParameterError, match="bytes, not"):
            GroupedMultiplier(bad, table, TERMS)
        with pytest.raises(ParameterError, match="bytes, not"):
            multiplier.rekey(bad)
    with pytest.raises(ParameterError, match="1 to 4096 columns"):
        GroupedOwner.generate(TERMS, 0, rng=RNG)


def test_secrets_hide_and_do_not_travel() -> None:
    owner, multiplier, _ = made(1)
    reply = multiplier.products(owner.encrypt(numbers((TERMS.rows,), 8, 1), rng=RNG), rng=RNG)
    for secret in (owner, multiplier, reply):
        assert "redacted" in repr(secret)
        with pytest.raises(TypeError):
            pickle.dumps(secret)
