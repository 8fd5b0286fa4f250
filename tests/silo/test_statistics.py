"""The pooled mean and standard deviation through the secure sum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import silo
from silo.crypto.errors import ParameterError
from silo.session import Session
from silo.simulation import simulate


def table(size: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    columns = [
        rng.normal(50, 9, size),
        rng.uniform(100, 600, size),
        np.full(size, 3.5),
        rng.normal(1e6, 2.0, size),
        rng.normal(0, 1e-7, size),
        np.zeros(size),
    ]
    return np.column_stack(columns)


@pytest.mark.parametrize("clip", [1.0, 0.25, 64.0])
def test_it_equals_the_pooled_table(clip: float) -> None:
    tables = [table(size, seed) for seed, size in enumerate((300, 12, 77, 1))]

    def party(session: Session, rows: Any) -> Any:
        return silo.moments(session, rows), silo.standardize(session, rows)

    pooled = np.concatenate(tables)
    found = simulate(4, party, tables, rows=400, clip=clip)
    want_mean, want_std = pooled.mean(axis=0), pooled.std(axis=0)
    want_std[2] = 0.0
    for (moments, rows), own in zip(found.values(), tables, strict=True):
        assert np.allclose(moments.mean, want_mean, rtol=1e-5, atol=1e-9)
        assert np.allclose(moments.std[[0, 1, 4]], want_std[[0, 1, 4]], rtol=1e-4)
        assert moments.std[2] == moments.std[5] == 0.0
        assert np.allclose(
            rows[:, [0, 1]], ((own - want_mean) / np.where(want_std, want_std, 1))[:, [0, 1]], atol=1e-3
        )
        assert np.all(np.abs(rows[:, [2, 5]]) < 1e-3)


def test_a_member_without_rows_takes_part() -> None:
    tables = [table(50, 1), table(0, 2), table(50, 3)]
    found = simulate(3, lambda s, rows: silo.moments(s, rows).mean, tables, rows=100)
    assert np.allclose(found["party-2"][:2], np.concatenate(tables).mean(axis=0)[:2], rtol=1e-5)


def test_what_is_no_table_is_refused_by_its_cell() -> None:
    hole = np.ones((4, 2))
    hole[3, 1] = np.nan
    with pytest.raises(ParameterError, match="row 3, column 1 is nan"):
        simulate(3, lambda s: silo.standardize(s, hole))
    with pytest.raises(ParameterError, match="rows and columns"):
        simulate(3, lambda s: silo.standardize(s, np.ones(3)))
