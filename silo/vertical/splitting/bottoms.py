"""A host's side of the work: its bottom module, shown as it is; and how activations get their noise."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import torch
from torch import nn

from silo.crypto.gaussian import gaussian, grid, round_to
from silo.crypto.rng import Rng
from silo.protocols.split import words
from silo.protocols.split.schedule import Places
from silo.protocols.split.wire import Rows
from silo.vertical.splitting.decorrelation import Decorrelation
from silo.vertical.splitting.modules import outputs
from silo.vertical.splitting.noise import NoisePlan
from silo.vertical.splitting.part import Keep, Part, backward, rows_of, tensor_of
from silo.vertical.splitting.watching import Guard


class Bottom:
    """Activations as they are, and a step of the optimiser a batch."""

    def __init__(self, part: Part, x: Rows, keep: Keep, extra: Decorrelation | None = None) -> None:
        self.part, self._module = part, part.modules["bottom"]
        self._x, self._keep, self._extra = x, keep, extra
        self._waiting: deque[tuple[torch.Tensor, torch.Tensor]] = deque()
        self.guard = Guard()

    def begin(self, epoch: int) -> None:
        self._waiting.clear()
        self.guard.begin()
        self.part.begin(epoch)

    def forward(self, places: Places) -> Rows:
        own = tensor_of(self._x[places], self._module)
        made = outputs(self._module, own)
        self._waiting.append((own, made))
        return rows_of(made)

    def backward(self, gradient: Rows) -> None:
        self.guard.came(gradient)
        own, made = self._waiting.popleft()
        if made.requires_grad:
            extra = () if self._extra is None else (self._extra.penalty(own, made),)
            backward(made, torch.from_numpy(gradient).to(made), *extra)

    def step(self, rows: int) -> None:
        self.guard.require()
        self.part.step(rows)

    def end(self, epoch: int) -> None:
        self._keep(epoch + 1)

    def close(self) -> None:
        """Nothing is left on the module."""


def noised(made: Rows, plan: NoisePlan, most: float | None, *, rng: Rng) -> Rows:
    """Rows cut to the clip, with noise drawn for each number; `most` is the largest that can travel.

    A row that is not finite counts as zero, for it would show itself through any noise, and so would an error. The
    token of its event was used.
    """
    wide = np.where(np.isfinite(made).all(axis=1, keepdims=True), made, 0.0).astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    wide *= np.minimum(1.0, plan.clip / np.maximum(norms, 1e-300))
    std = plan.noise_multiplier * plan.clip
    found: Any = round_to(wide, grid(std)) + gaussian(wide.size, std, rng=rng).reshape(wide.shape)
    if most is not None:
        found = np.clip(found, -most, most)
    return np.asarray(found, np.float32)


def largest(hosts: int) -> float | None:
    """The largest activation that can travel among so many hosts."""
    return words.LARGEST if hosts > 1 else None


def scored(module: nn.Module, x: Rows) -> Rows:
    """Activations out of training."""
    with torch.no_grad():
        return rows_of(outputs(module, tensor_of(x, module)))
