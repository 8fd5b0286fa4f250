"""In how many directions gradients point: exact where there are few, also after rounding."""

from __future__ import annotations

import numpy as np
import pytest

from silo.leak.rank import ROUNDED, outside


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("width", [16, 1024])
def test_what_has_few_directions_has_nothing_outside(rank: int, width: int) -> None:
    draw = np.random.default_rng(rank)
    rows = draw.normal(size=(300, rank)) @ draw.normal(size=(rank, width))
    assert outside(rows, rank) < 1e-12
    assert outside(rows, rank + 1) < 1e-12
    assert outside(rows.astype(np.float32), rank) < ROUNDED / 1000
    assert (
        outside((1e-43 * rows).astype(np.float32), rank) == 0
    )  # what rounding left of them has no direction


def test_what_has_more_shows() -> None:
    draw = np.random.default_rng(1)
    assert outside(draw.normal(size=(300, 16)), 1) > 0.8
    three = draw.normal(size=(300, 3)) @ draw.normal(size=(3, 16))
    assert outside(three, 2) > ROUNDED


def test_edges() -> None:
    assert outside(np.zeros((5, 3)), 1) == 0
    assert outside(np.ones((5, 3)), 0) == 1
    assert outside(np.random.default_rng(1).normal(size=(5, 3)), 9) < 1e-12


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_unlike_sizes_of_rows_and_columns_are_no_directions(classes: int) -> None:
    draw = np.random.default_rng(classes)
    residuals = draw.normal(size=(512, classes)) * np.exp(4 * draw.normal(size=(512, 1)))
    weights = draw.normal(size=(classes, 32)) * np.exp(4 * draw.normal(size=(1, 32)))
    made = residuals.astype(np.float32) @ weights.astype(np.float32)
    made[::7], made[:, 5] = 0, 0
    assert outside(made, classes) < ROUNDED / 1000


def heavy(kind: str, size: float) -> np.ndarray:
    """A batch in all directions, with huge numbers where a bottom may not learn from them."""
    draw = np.random.default_rng(2)
    rows = draw.normal(size=(256, 16))
    if kind == "one":
        rows[3, 2] = size
    elif kind == "a unit":
        rows[:, 5] = size * np.where(draw.random(256) < 0.5, 1, -1)
    elif kind == "one a row":
        rows[np.arange(256), draw.integers(0, 16, 256)] = size
    elif kind == "many rows":
        rows[:200, :8] = size * np.outer(draw.normal(size=200), draw.normal(size=8))
    else:
        rows[:4, :8], rows[4:, 0] = size, size
    return rows.astype(np.float32)


@pytest.mark.parametrize("size", [1.0, 1e5, 1e15, 1e30])
@pytest.mark.parametrize("kind", ["one", "a unit", "one a row", "many rows", "a cross"])
def test_huge_numbers_hide_no_directions(kind: str, size: float) -> None:
    assert outside(heavy(kind, size), 2) > 0.1
