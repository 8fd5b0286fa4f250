"""Which rows a tree sees, and which are held out, from a seed by which a resumed training draws the same.

Only the label party has the seed.

Row i of drawing t has word t n + i of one keystream. GOSS is Ke et al., "LightGBM" (NeurIPS 2017), algorithm 2: the
fraction `top` of the rows with the largest gradients, and of the others each with probability rest / (1 - top),
weighted by the inverse. Deviation: the others are drawn one by one, so that their number varies; with several
classes a row's size is the sum of its gradients' sizes.

The others hold what they are told against what was agreed (`check_held_out`, `check`): which rows a label party
chooses is its own word, how many are not.

What the others learn: which rows are in a tree's sample. Under GOSS they are more often those with large gradients,
that is, those that the model still gets wrong: who must not learn it takes `subsample`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.crypto.prg import Keystream
from silo.crypto.secret import Secret
from silo.protocols.vertical.boosting.gradients import Table
from silo.protocols.vertical.boosting.parameters import Terms

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
"""Whether each row is meant."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows, ascending, and what each one's gradient is multiplied by."""

    rows: Rows
    weights: npt.NDArray[np.float64]


def held_out(strata: Rows, fraction: float, seed: Secret) -> Rows:
    """Rows for early stopping, ascending: of each stratum (a class) the same fraction, and never all rows."""
    words = _words(seed, 0, len(strata))
    found = [np.empty(0, np.int64)]
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        count = min(round(fraction * len(rows)), len(rows) - 1)
        found.append(rows[np.argsort(words[rows], kind="stable")[:count]])
    return np.sort(np.concatenate(found))


def drawn(rows: Rows, gradients: Table, terms: Terms, iteration: int, seed: Secret, count: int) -> Sample:
    """The sample of one iteration (from 0) out of `rows` of `count`; `gradients` are those of `rows`."""
    ones = np.ones(len(rows))
    if terms.goss is None and terms.subsample == 1:
        return Sample(rows, ones)
    words = _words(seed, 1 + iteration, count)[rows]
    if terms.goss is None:
        kept = words < _bound(terms.subsample)
        return Sample(rows[kept], ones[kept])
    top, rest = terms.goss.top, terms.goss.rest
    sizes = np.abs(gradients).sum(axis=1)
    first = np.argsort(-sizes, kind="stable")[: round(top * len(rows))]
    large = np.zeros(len(rows), bool)
    large[first] = True
    kept = large | (words < _bound(rest / (1 - top)))
    weights = np.where(large, 1.0, (1 - top) / rest)
    return Sample(rows[kept], weights[kept])


def check_held_out(training: Mask, terms: Terms, groups: int) -> None:
    """Raise `ParameterError` unless as many rows are held out as was agreed, to one for each class."""
    held, expected = len(training) - int(training.sum()), terms.held_out * len(training)
    if abs(held - expected) > (max(groups, 2) if terms.held_out else 0):
        raise ParameterError(f"it holds out {held} of {len(training)} rows, and {expected:.0f} were agreed")


def check(sample: Mask, training: Mask, terms: Terms) -> None:
    """Raise `ParameterError` for a sample that is not what was agreed.

    Without sampling it is all rows that are trained on. Drawn ones are as many as agreed up to chance: fewer than this
    bound come with a probability of less than 2^-45 (Chernoff).
    """
    if (sample & ~training).any():
        raise ParameterError("it puts rows into a sample that are not trained on")
    found, rows = int(sample.sum()), int(training.sum())
    if terms.goss is None and terms.subsample == 1:
        if found != rows:
            raise ParameterError(f"its sample has {found} of {rows} rows, and no sampling was agreed")
        return
    certain = round(terms.goss.top * rows) if terms.goss else 0
    drawn = rows * (terms.goss.rest if terms.goss else terms.subsample) - 1
    least = certain + max(0, math.floor(drawn - 8 * math.sqrt(max(drawn, 0.0))))
    if found < least:
        raise ParameterError(f"its sample has {found} of {rows} rows, and at least {least} were agreed")


def _bound(probability: float) -> np.uint64:
    return np.uint64(min(int(probability * 2.0**64), 2**64 - 1))


def _words(seed: Secret, drawing: int, count: int) -> npt.NDArray[np.uint64]:
    words = np.empty(count, np.uint64)
    Keystream(seed, offset=8 * drawing * count).fill(words)
    return words
