"""What members hold of the same rows: the same in every process."""

from __future__ import annotations

from typing import Any

import numpy as np

COLUMNS = 6


def table(names: tuple[str, ...], me: str, rows: int) -> tuple[Any, Any]:
    """A member's columns, and the labels, which the first member by name has."""
    draw = np.random.default_rng(8)
    x = draw.normal(size=(rows, COLUMNS * len(names)))
    y = (x @ draw.uniform(-1, 1, x.shape[1]) + draw.logistic(size=rows) > 0).astype(int)
    at = COLUMNS * names.index(me)
    return x[:, at : at + COLUMNS], y if me == names[0] else None
