"""What of a host's columns a linear model cannot keep, seen by the host beforehand.

A gradient is a sum of residuals, times the column: where all rows but a few have one value, it tells the residuals of
those few, and their labels. A column that follows from the others hides nothing beside them. Of a table of nothing but
two-valued columns the scores along one direction take so few values that each row can be taken apart by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from silo.crypto.errors import ParameterError
from silo.protocols.vertical.linear.families import Floats

LEAST: Final = 10
"""Rows that have another value than the most frequent one, at least, in a column that does not stand still."""


def require_spread(x: Floats, names: Sequence[str], who: str) -> None:
    """Refuse a column in which only a few rows differ from all others, and a table of two-valued columns.

    Raises `ParameterError`, naming the first column or the table.
    """
    most = 0
    for name, column in zip(names, x.T, strict=True):
        counts = np.unique(column, return_counts=True)[1]
        most = max(most, len(counts))
        apart = len(column) - int(counts.max())
        if 0 < apart < LEAST:
            raise ParameterError(
                f"{who}: in column {name} only {apart} rows differ from its most frequent value, and its gradient "
                f"would tell their labels: at least {LEAST} are needed, so drop the column or merge the category"
            )
    if most < 3:
        raise ParameterError(
            f"{who}: all columns have two values, as yes and no, and can be read from the scores of one pass: bring a "
            "column of measured numbers beside them, or fit by boosting"
        )


def independent(x: Floats, *, centred: bool) -> int:
    """How many of the columns do not follow from the others (and from the intercept, where there is one)."""
    apart = x - x.mean(axis=0) if centred else x
    length = np.sqrt((apart**2).sum(axis=0))
    scale = np.abs(x).max(axis=0) * np.sqrt(len(x))
    standing = length <= 1e-12 * scale
    kept = apart[:, ~standing] / length[~standing]
    return int(np.linalg.matrix_rank(kept, tol=1e-8)) if kept.size else 0
