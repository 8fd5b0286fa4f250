"""The same network in one process: what split training is measured against."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from silo.errors import ParameterError
from silo.protocols.split.schedule import Schedule
from silo.protocols.split.wire import Rows
from silo.vertical.splitting import modules
from silo.vertical.splitting.building import require_logits
from silo.vertical.splitting.part import Maker, Part, backward, tensor_of
from silo.vertical.splitting.residuals import Labels, loss_of

WHO = "the table"


def network(named: Mapping[str, nn.Module | None]) -> nn.Sequential:
    """Bottom, middle and top, as many as there are, one after the other."""
    found = [one for name in ("bottom", "middle", "top") if (one := named.get(name)) is not None]
    if not found:
        raise ParameterError("a network needs a module: pass bottom, top, or both")
    return nn.Sequential(*found)


def train(
    named: Mapping[str, nn.Module | None],
    make: Maker,
    x: Rows,
    labels: Labels,
    classes: int,
    schedule: Schedule,
    epochs: int,
) -> tuple[Part, int]:
    """Train a copy of the modules on the mean loss of each batch; the part, and its logits. Raises `ParameterError`."""
    part = Part({"network": network(named)}, make)
    whole = part.modules["network"]
    logits = modules.width_of(whole, x, "whole", WHO)
    require_logits(logits, classes, WHO)
    targets = torch.from_numpy(labels)
    part.train()
    for epoch in range(epochs):
        for batch in schedule.batches(epoch):
            for places in batch:
                made = modules.outputs(whole, tensor_of(x[places], whole))
                backward(loss_of(made, targets[places]))
            part.step(sum(map(len, batch)))
    return part, logits
