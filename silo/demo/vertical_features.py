"""What the models of the vertical demos are given: each organisation prepares its own columns from its own rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from silo.protocols.vertical.linear.hidden import LEAST

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
_SAME = 1e-9


def prepare(model: str, raw: npt.NDArray[Any], train: Mask) -> npt.NDArray[Any]:
    """(rows, columns): for a linear model numbers of one scale, for boosting the columns as they are."""
    return linear(raw, train) if model == "linear" else raw


def linear(raw: npt.NDArray[Any], train: Mask) -> Floats:
    """Standardised numbers, and a column of 0 and 1 for each category but the first, by the rows of training.

    What does not vary, and what repeats an earlier column, is left out: it would add nothing, and count as a column. So
    is a category of a few rows: a gradient would tell their labels, and a fit refuses it.
    """
    kept: list[Floats] = []
    for place in range(raw.shape[1]):
        for column in _numbers(raw[:, place], train):
            mean, deviation = column[train].mean(), column[train].std()
            if deviation <= _SAME * max(abs(mean), 1.0) or _rare(column[train]):
                continue
            scaled = (column - mean) / deviation
            if not any(abs(abs(float(scaled[train] @ one[train])) / train.sum() - 1) < _SAME for one in kept):
                kept.append(scaled)
    return np.column_stack(kept) if kept else np.zeros((len(raw), 0))


def _rare(column: Floats) -> bool:
    return len(column) - int(np.unique(column, return_counts=True)[1].max()) < LEAST


def ordinal(raw: npt.NDArray[Any], train: Mask) -> tuple[Floats, list[int]]:
    """Categories as whole numbers, and the places of these columns: how scikit-learn's boosting takes them."""
    found, categorical = np.empty(raw.shape), []
    for place in range(raw.shape[1]):
        column = raw[:, place]
        if not _is_text(column):
            found[:, place] = column.astype(np.float64)
            continue
        categorical.append(place)
        known = {one: number for number, one in enumerate(_categories(column, train))}
        found[:, place] = [known.get(one, np.nan) for one in column]
    return found, categorical


def _numbers(column: npt.NDArray[Any], train: Mask) -> list[Floats]:
    if not _is_text(column):
        return [column.astype(np.float64)]
    return [(column == one).astype(np.float64) for one in _categories(column, train)[1:]]


def _categories(column: npt.NDArray[Any], train: Mask) -> list[str]:
    return sorted({str(one) for one in column[train]})


def _is_text(column: npt.NDArray[Any]) -> bool:
    return column.dtype == object and any(isinstance(one, str) for one in column)
