"""Products for each bin: joined features, parts, packing; on plain numbers modulo a prime."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from silo.crypto import cells, powers

PRIME = 2**61 - 1
WIDTH = 8


def numbers(n: int, seed: int) -> list[int]:
    return [int(one) for one in np.random.default_rng(seed).integers(1, PRIME, n)]


def written(values: list[int]) -> bytes:
    return cells.write(values, WIDTH)


def made(values: list[int], codes: Any, bins: list[int], parts: int) -> list[int]:
    todo = cells.jobs(written(values), WIDTH, PRIME, codes, bins, parts)
    assert 1 <= len(todo) <= parts
    raw = cells.assembled([cells.multiply_part(job) for job in todo], todo, WIDTH)
    return [int(one) for one in cells.read(raw, WIDTH)]


def plainly(values: list[int], codes: Any, bins: list[int]) -> list[int]:
    found: list[int] = []
    for feature, count in enumerate(bins):
        sums = [1] * count
        for value, code in zip(values, codes[:, feature].tolist(), strict=True):
            sums[code] = sums[code] * value % PRIME
        found += sums
    return found


@given(
    st.integers(0, 400),
    st.lists(st.integers(1, 70), min_size=1, max_size=7),
    st.floats(0, 1),
    st.integers(1, 4),
    st.integers(0, 2**31),
)
def test_products_are_those_of_every_row(n: int, bins: list[int], skew: float, parts: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = np.stack(
        [np.where(rng.random(n) < skew, count - 1, rng.integers(0, count, n)) for count in bins], axis=1
    ).astype(np.uint8)
    values = numbers(n, seed)
    assert made(values, codes, bins, parts) == plainly(values, codes, bins)


def test_the_work_of_a_pair_is_counted() -> None:
    rng = np.random.default_rng(3)
    codes = np.stack([rng.integers(0, 2, 4000), rng.integers(0, 200, 4000)], axis=1).astype(np.uint8)
    (cluster,) = cells.plan(codes, [2, 200])
    assert cluster.cells == 400
    assert cluster.work() == (4000 - 400) + (400 - 2) + (400 - 200)


def test_joining_saves_multiplications() -> None:
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 32, (20_000, 8)).astype(np.uint8)
    found = cells.plan(codes, [32] * 8)
    assert [cluster.cells for cluster in found] == [1024] * 4
    assert sum(cluster.work() for cluster in found) < 0.6 * 8 * 20_000
    few = cells.plan(codes[:20], [32] * 8)
    assert sum(cluster.work() for cluster in few) <= sum(
        20 - len(set(column)) for column in codes[:20].T.tolist()
    )
    assert sorted(leaf.feature for cluster in few for leaf in cluster.leaves()) == list(range(8))


def test_several_plaintexts_in_one() -> None:
    values = [powers.number(pow(3, one, PRIME)) for one in (1, 2, 3, 4, 0)]
    found = cells.folded(values, 2, 10, powers.number(PRIME))
    assert found == [pow(3, 1 + 2 * 1024, PRIME), pow(3, 3 + 4 * 1024, PRIME), 1]
    assert cells.pieces(b"abcdefg", 2, 2) == [b"abcd", b"efg"]
    assert cells.pieces(b"", 2, 2) == []
