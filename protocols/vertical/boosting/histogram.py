"""Integer histograms of a member's own columns: the sum of g, the sum of h and the number of rows in each bin.

Sums are taken in float64, which holds them exactly: 2^24 rows of 2^20 make 2^44.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from silo.protocols.vertical.boosting.columns import Columns
from silo.protocols.vertical.boosting.gradients import Words
from silo.protocols.vertical.boosting.sampling import Rows

CHANNELS: Final = 3
"""g, h and the number of rows."""


def sums(columns: Columns, rows: Rows, words: Words) -> Words:
    """The histogram, (codes of all columns, 3), of `rows`, whose (g, h) are `words`, (len(rows), 2)."""
    shape = columns.shape
    out = np.empty((shape.width, CHANNELS), np.int64)
    weights = np.ascontiguousarray(words.T.astype(np.float64))
    every = len(rows) == columns.rows
    at = 0
    for codes, width in zip(columns.codes, shape.widths, strict=True):
        places = (codes if every else codes[rows]).astype(np.intp)
        part = out[at : at + width]
        part[:, 0] = np.bincount(places, weights[0], width)
        part[:, 1] = np.bincount(places, weights[1], width)
        part[:, 2] = np.bincount(places, minlength=width)
        at += width
    return out


def counts(columns: Columns, rows: Rows) -> npt.NDArray[np.int64]:
    """The number of `rows` at each code, (codes of all columns,)."""
    widths = columns.shape.widths
    parts = [np.bincount(c[rows], minlength=w) for c, w in zip(columns.codes, widths, strict=True)]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
