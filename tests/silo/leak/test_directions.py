"""In how many directions gradients point: exact where there are few, also after rounding."""

from __future__ import annotations

import numpy as np
import pytest

from silo.leak.directions import ROUNDED, outside


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
