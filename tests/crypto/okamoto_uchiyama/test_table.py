"""The table of powers modulo p^2 goes with the key that it was made for."""

from __future__ import annotations

import gc

import numpy as np

from silo.crypto.histograms import Terms
from silo.crypto.okamoto_uchiyama import histograms, keys, many_powers
from silo.crypto.rng import InsecureSeededRng


def tables_of(square: int) -> int:
    """How many tables modulo p^2 there are in this process."""
    gc.collect()
    # Not isinstance: other libraries' proxies would be asked for their class, and may be dead.
    found = [one for one in gc.get_objects() if type(one) is many_powers.Table]
    return sum(one._modulus == square for one in found)


def test_nothing_that_tells_the_factors_outlives_the_owner() -> None:
    rng = InsecureSeededRng(8)
    key = keys.insecure_small_key(512, rng=rng)
    square, terms = int(key.square), Terms(8, (2**10, 2**10))
    values = np.array([[3, 4], [-5, 6]], np.int64)
    owner, adder = histograms.Owner(key, terms), histograms.Adder(key.public, terms)
    for _ in range(2):
        rows = owner.encrypt(values, rng=rng)
        sums = adder.sums(rows, np.arange(2), np.zeros((2, 1), np.uint8), [1], rng=rng)
        assert owner.decrypt(sums, 1).tolist() == [[-2, 10]]
        assert tables_of(square) == 1, "it is made once for a key"
    del owner
    assert tables_of(square) == 0
