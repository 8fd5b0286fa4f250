"""Paillier's products beyond the contract: parts for processes, fresh randomness, and what is no ciphertext or key."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from silo.crypto import powers
from silo.crypto.errors import DecryptionFailed, ParameterError
from silo.crypto.paillier import keys, subgroup, vector
from silo.crypto.paillier.inner import PaillierMultiplier, PaillierOwner
from silo.crypto.products import TAG_BYTES, Integers, Terms
from silo.crypto.rng import InsecureSeededRng

KEY = keys.generate(2048, rng=InsecureSeededRng(1))
RNG = InsecureSeededRng(1)
SMALL = Terms(9, 8, 11)


def numbers(shape: Any, bits: int, seed: int) -> Integers:
    return np.asarray(np.random.default_rng(seed).integers(1 - (1 << bits), 1 << bits, shape))


def passed(owner: PaillierOwner, multiplier: PaillierMultiplier, values: Integers, columns: int) -> Integers:
    """One pass."""
    reply = multiplier.products(owner.encrypt(values, rng=RNG), rng=RNG)
    return reply.remove(owner.decrypt(reply.payload, columns))


def small() -> tuple[PaillierOwner, PaillierMultiplier, bytes]:
    owner = PaillierOwner(SMALL, KEY)
    multiplier = PaillierMultiplier(owner.public, numbers((9, 2), 11, 5), SMALL)
    return owner, multiplier, bytes(owner.encrypt(numbers(9, 8, 6), rng=RNG))


def test_paillier_products_of_several_parts() -> None:
    terms = Terms(1100, 8, 11)
    table, values = numbers((1100, 2), 11, 1), numbers(1100, 8, 2)
    table[:600, 1] = 0
    parts: list[Any] = []

    def run(work: Callable[[Any], bytes], jobs: Iterable[Any]) -> Iterable[bytes]:
        for job in jobs:
            parts.append(pickle.loads(pickle.dumps(job)))
            yield work(parts[-1])

    owner = PaillierOwner(terms, KEY, parts=2, run=run)
    multiplier = PaillierMultiplier(owner.public, table, terms, parts=2, run=run)
    assert passed(owner, multiplier, values, 2).tolist() == (values @ table).tolist()
    assert len(parts) == 4


def test_paillier_replies_are_rerandomised() -> None:
    """What is left of a reply without its message differs from reply to reply, and is no function of the columns."""
    owner, multiplier, payload = small()
    n, size = owner.modulus, KEY.public.ciphertext_bytes
    left = set()
    for _ in range(2):
        reply = multiplier.products(payload, rng=RNG).payload
        for place, message in enumerate(owner.decrypt(reply, 2)):
            at = TAG_BYTES + place * size
            cipher = int.from_bytes(reply[at : at + size], "little")
            left.add(cipher * (1 - message * n) % n**2)
    assert len(left) == 4


def test_non_units_are_refused() -> None:
    owner, multiplier, payload = small()
    reply = bytes(multiplier.products(payload, rng=RNG).payload)
    size = KEY.public.ciphertext_bytes
    for number in (0, int(KEY.p), int(KEY.public.n), int(KEY.public.square)):
        bad = number.to_bytes(size, "little")
        with pytest.raises(ParameterError, match=r"not a unit|between 0 and n\^2"):
            multiplier.products(payload[:-size] + bad, rng=RNG)
        with pytest.raises(ParameterError, match=r"not a unit|between 0 and n\^2"):
            owner.decrypt(reply[:-size] + bad, 2)


def test_a_number_that_no_masked_product_holds_is_not_opened() -> None:
    """Many values side by side in one plaintext would be opened all at once."""
    owner, multiplier, payload = small()
    size, n = KEY.public.ciphertext_bytes, int(KEY.public.n)
    assert owner.modulus < 1 << 110 < n
    rows = vector.read(payload[TAG_BYTES:], KEY.public, SMALL.rows)
    packed = powers.product((pow(row, 1 << 30 * at, n * n) for at, row in enumerate(rows)), n * n)
    reply = bytes(multiplier.products(payload, rng=RNG).payload)
    with pytest.raises(DecryptionFailed, match="no masked product"):
        owner.decrypt(reply[:-size] + int(packed).to_bytes(size, "little"), 2)


def test_a_key_of_a_small_subgroup_is_refused() -> None:
    with pytest.raises(ParameterError, match="small subgroup"):
        PaillierOwner(SMALL, subgroup.insecure_small_key(512, 96, rng=InsecureSeededRng(4)))


def test_a_fresh_paillier_key_serves() -> None:
    owner = PaillierOwner.generate(Terms(1, 8, 11), 2048, rng=InsecureSeededRng(9))
    multiplier = PaillierMultiplier(owner.public, np.array([[-3]]), Terms(1, 8, 11))
    assert passed(owner, multiplier, np.array([7]), 1).tolist() == [-21]
