"""Any torch module as a `Learner`: SGD on the party's own data, float parameters and buffers travel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy.typing as npt
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from silo.training.learner import Parameters

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
_BATCH = 64


class TorchLearner:
    """`data` is a DataLoader, or a pair of tensors or arrays (x, y); the loss is cross-entropy by default."""

    def __init__(self, module: nn.Module, loss: Loss | None = None) -> None:
        self.module = module
        self.loss: Loss = loss or nn.functional.cross_entropy

    def parameters(self) -> Parameters:
        state = self.module.state_dict()
        return {k: v.detach().cpu().numpy().copy() for k, v in state.items() if v.is_floating_point()}

    def load(self, parameters: Mapping[str, npt.NDArray[Any]]) -> None:
        state = self.module.state_dict()
        for key, value in parameters.items():
            state[key].copy_(torch.as_tensor(value, dtype=state[key].dtype))

    def fit(self, data: Any, *, epochs: int, learning_rate: float) -> float:
        loader: Iterable[Any] = data
        if isinstance(data, tuple):
            tensors = [torch.as_tensor(part) for part in data]
            loader = DataLoader(TensorDataset(*tensors), batch_size=_BATCH, shuffle=True)
        optimizer = torch.optim.SGD(self.module.parameters(), lr=learning_rate)
        device = next(self.module.parameters()).device
        self.module.train()
        rows = 0
        for _ in range(epochs):
            rows = 0
            for x, y in loader:
                optimizer.zero_grad()
                self.loss(self.module(x.to(device)), y.to(device)).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                rows += len(x)
        return float(rows)
