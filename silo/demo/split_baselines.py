"""What the split network is compared with, without noise: the label party alone, and all columns in one process."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from silo.demo import split_models, vertical_data, vertical_features
from silo.demo.split_models import Joined, Network
from silo.demo.vertical_baselines import Compared, Floats
from silo.demo.vertical_data import People
from silo.vertical import SplitNetwork


def compare(people: People, network: Network) -> Compared:
    """Train the same network twice in this process; `people` have the same rows in the same order."""
    torch.set_num_threads(1)
    ids = people.holdings[0].table.text(vertical_data.ID)
    held_out = np.array([vertical_data.is_test(one) for one in ids], bool)
    labels = people.holdings[0].table.matrix([vertical_data.LABEL])[:, 0].astype(int)
    parts = []
    for one in people.holdings:
        names = [name for name in one.table.names if name not in (vertical_data.ID, vertical_data.LABEL)]
        parts.append(vertical_features.linear(one.table.matrix(names), ~held_out))
    columns = [part.shape[1] for part in parts]
    alone = network.bottom(0, columns[0], len(parts)), network.top(alone=True)
    joined = Joined(network, columns), network.top()
    return Compared(
        tuple(np.array(ids)[held_out].tolist()),
        labels[held_out],
        {split_models.NAME: _scores(parts[0], labels, held_out, alone, network)},
        {split_models.NAME: _scores(np.hstack(parts), labels, held_out, joined, network)},
    )


def _scores(
    x: Floats,
    y: npt.NDArray[Any],
    held_out: npt.NDArray[np.bool_],
    modules: tuple[nn.Module, nn.Module],
    network: Network,
) -> Floats:
    bottom, top = modules
    given = {**network.options(), "finish": 0}
    model = SplitNetwork(bottom=bottom, top=top, **given).fit(x[~held_out], y[~held_out])
    found = model.decision_function(x[held_out])
    return np.zeros(0) if found is None else found
