"""What the joint models are compared with: the label party alone, and one table of all columns, in the clear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from silo.demo import vertical_data, vertical_features
from silo.demo.vertical_data import People
from silo.demo.vertical_models import LINEAR, plain

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """Scores of the same test rows: `labels` (rows,), and for each kind of model those of both comparisons."""

    ids: tuple[str, ...]
    labels: npt.NDArray[Any]
    local: dict[str, Floats]
    pooled: dict[str, Floats]


def compare(people: People, models: tuple[str, ...], setting: str) -> Compared:
    """Fit scikit-learn's models on the rows that all have, cut into training and test as the members do."""
    common = people.common()
    held_out = np.array([vertical_data.is_test(one) for one in common], bool)
    raws, labels = [], np.zeros(len(common), int)
    for one in people.holdings:
        own = one.table.text(vertical_data.ID)
        place = {identifier: at for at, identifier in enumerate(own)}
        order = [place[identifier] for identifier in common]
        names = [name for name in one.table.names if name not in (vertical_data.ID, vertical_data.LABEL)]
        raws.append(one.table.matrix(names)[order])
        if one.labelled:
            labels = one.table.matrix([vertical_data.LABEL])[order, 0].astype(int)
    local: dict[str, Floats] = {}
    pooled: dict[str, Floats] = {}
    for kind in models:
        local[kind] = _scores(kind, raws[:1], labels, held_out, setting)
        pooled[kind] = _scores(kind, raws, labels, held_out, setting)
    ids = tuple(np.array(common)[held_out].tolist())
    return Compared(ids, labels[held_out], local, pooled)


def _scores(
    kind: str,
    raws: list[npt.NDArray[Any]],
    y: npt.NDArray[Any],
    held_out: npt.NDArray[np.bool_],
    setting: str,
) -> Floats:
    categorical: list[int] = []
    if kind == LINEAR:
        x = np.hstack([vertical_features.linear(raw, ~held_out) for raw in raws])
    else:
        parts: list[Floats] = []
        for raw in raws:
            found, own = vertical_features.ordinal(raw, ~held_out)
            categorical += [sum(part.shape[1] for part in parts) + place for place in own]
            parts.append(found)
        x = np.hstack(parts)
    model = plain(kind, x[~held_out], y[~held_out], categorical=categorical, setting=setting)
    scores: Floats = model.decision_function(x[held_out])
    return scores
