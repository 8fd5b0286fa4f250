"""The end of a fit with `finish`: the label party's modules learn on by themselves."""

from __future__ import annotations

import numpy as np
import torch

from silo.protocols.split.schedule import Schedule
from silo.protocols.split.wire import Rows
from silo.vertical.splitting.part import Part
from silo.vertical.splitting.quiet import Quiet
from silo.vertical.splitting.residuals import Labels


def finish(real: Part, x: Rows | None, labels: Labels, came: Rows, schedule: Schedule, epochs: int) -> int:
    """Train them on activations that no longer move; nothing leaves, no error either.

    Returns how many batches gave no numbers and were left out.
    """
    quiet = Quiet(real, x, torch.from_numpy(labels))
    for epoch in range(epochs):
        real.begin(epoch)
        for batch in schedule.batches(epoch):
            places = np.concatenate(batch)
            quiet.learn(places, came[places])
            quiet.step(len(places))
    return quiet.lost
