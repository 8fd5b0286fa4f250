"""Modules of one party that move together, and all that is needed to go on with them later."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from silo.errors import ParameterError
from silo.protocols.split.wire import Rows

Maker = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
Keep = Callable[[int], None]
"""Told how many epochs are done."""
Arrays = dict[str, npt.NDArray[Any]]


class Part:
    """Copies of modules under one optimiser; gradients are summed over rows until `step`."""

    def __init__(self, modules: Mapping[str, nn.Module | None], make: Maker) -> None:
        # In one go, so that weights that modules share stay shared.
        self.modules = copy.deepcopy({name: one for name, one in modules.items() if one is not None})
        every = {id(p): p for one in self.modules.values() for p in one.parameters() if p.requires_grad}
        trained = list(every.values())
        self.trained = trained
        self.optimizer = make(trained) if trained else None
        if trained and not isinstance(self.optimizer, torch.optim.Optimizer):
            raise ParameterError(
                f"optimizer= is a function that takes parameters and returns a torch optimizer, not a "
                f"{type(self.optimizer).__name__}"
            )
        self._rates = [] if self.optimizer is None else [one["lr"] for one in self.optimizer.param_groups]
        self.slowing = 0
        """Over how many epochs steps get smaller, so that noise averages out; 0 is never."""

    def train(self, on: bool = True) -> None:
        """Into training, or out of it."""
        for one in self.modules.values():
            one.train(on)

    def begin(self, epoch: int) -> None:
        """Into training, for an epoch from 0 on."""
        self.train()
        if self.slowing and self.optimizer is not None:
            for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
                group["lr"] = rate * (1 - epoch / self.slowing)

    def step(self, rows: int) -> None:
        """Move by the mean gradient of so many rows."""
        if self.optimizer is None:
            return
        gradients = [p.grad for p in self.trained if p.grad is not None]
        if gradients:
            torch._foreach_div_(gradients, rows)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def arrays(self) -> Arrays:
        """Parameters, buffers and the optimiser's state."""
        found: Arrays = {}
        for name, one in self.modules.items():
            for key, value in one.state_dict().items():
                if isinstance(value, torch.Tensor):
                    found[f"{name}|{key}"] = value.detach().cpu().numpy().copy()
        if self.optimizer is not None:
            for place, state in self.optimizer.state_dict()["state"].items():
                for key, value in state.items():
                    if value is not None:
                        found[f"optimizer|{place}|{key}"] = _array(value)
        return found

    def load(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take `arrays` back. Raises `ParameterError` for those of other modules."""
        with torch.no_grad():
            for name, one in self.modules.items():
                state = one.state_dict()
                for key, value in state.items():
                    if not isinstance(value, torch.Tensor):
                        continue
                    kept = arrays.get(f"{name}|{key}")
                    if kept is None or kept.shape != tuple(value.shape):
                        there = "missing" if kept is None else kept.shape
                        raise ParameterError(
                            f"what was kept is of another {name} module: {key} is {there} there, and "
                            f"{tuple(value.shape)} here"
                        )
                    value.copy_(torch.from_numpy(kept))
        if self.optimizer is not None:
            self._load_optimizer(arrays, self.optimizer)

    def _load_optimizer(
        self, arrays: Mapping[str, npt.NDArray[Any]], optimizer: torch.optim.Optimizer
    ) -> None:
        state: dict[int, dict[str, Any]] = {}
        for name, kept in arrays.items():
            kind, _, rest = name.partition("|")
            if kind != "optimizer":
                continue
            place, _, key = rest.partition("|")
            if not place.isdecimal() or int(place) >= len(self.trained):
                raise ParameterError("what was kept is of another optimizer: begin again without it")
            state.setdefault(int(place), {})[key] = torch.from_numpy(kept.copy())
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": groups})


def _array(value: Any) -> npt.NDArray[Any]:
    return value.detach().cpu().numpy().copy() if isinstance(value, torch.Tensor) else np.asarray(value)


def rows_of(output: torch.Tensor) -> Rows:
    """What a module gave, as it may travel: (rows, width) float32."""
    return np.ascontiguousarray(output.detach().to("cpu", torch.float32).numpy())


def tensor_of(rows: npt.NDArray[Any], like: nn.Module | None) -> torch.Tensor:
    """Rows on the device and in the type of a module's parameters; float32 where it has none."""
    first = next(iter(like.parameters()), None) if like is not None else None
    found = torch.from_numpy(np.ascontiguousarray(rows))
    if first is None:
        return found.to(torch.float32)
    return found.to(first.device, first.dtype if first.is_floating_point() else torch.float32)


def backward(made: torch.Tensor, gradient: torch.Tensor | None = None, *losses: torch.Tensor) -> None:
    """Add to the gradients of what `made`, and further losses, were worked out from."""
    torch.autograd.backward((made, *losses), (gradient, *(None for _ in losses)))


def headed(head: str, arrays: Arrays) -> Arrays:
    """`arrays` under names that begin with `head`."""
    return {f"{head}|{key}": value for key, value in arrays.items()}


def under(head: str, arrays: Arrays) -> Arrays:
    """Those of `arrays` that `headed` named, by their own names."""
    return {key.partition("|")[2]: value for key, value in arrays.items() if key.startswith(f"{head}|")}
