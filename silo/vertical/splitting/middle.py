"""The compute partner's side of the work in the U-shape."""

from __future__ import annotations

from collections import deque

import numpy as np
import torch

from silo.protocols.split.wire import Rows
from silo.vertical.splitting.modules import outputs
from silo.vertical.splitting.part import Keep, Part, backward, rows_of, tensor_of


class Middle:
    """Its module, and a step of the optimiser a batch."""

    def __init__(self, part: Part, keep: Keep) -> None:
        self.part, self._module, self._keep = part, part.modules["middle"], keep
        self._waiting: deque[tuple[torch.Tensor, torch.Tensor]] = deque()

    def begin(self, epoch: int) -> None:
        self._waiting.clear()
        self.part.begin(epoch)

    def forward(self, activations: Rows) -> Rows:
        came = tensor_of(activations, self._module).requires_grad_()
        made = outputs(self._module, came)
        self._waiting.append((came, made))
        return rows_of(made)

    def backward(self, gradient: Rows) -> Rows:
        came, made = self._waiting.popleft()
        backward(made, torch.from_numpy(gradient).to(made))
        return np.zeros_like(rows_of(came)) if came.grad is None else rows_of(came.grad)

    def step(self, rows: int) -> None:
        self.part.step(rows)

    def end(self, epoch: int) -> None:
        self._keep(epoch + 1)
