"""What can be trained: anything that gives its parameters, takes parameters, and fits its own data.

`learner_of` accepts a `Learner`, a torch module, or plain parameters with an update function.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from silo.crypto import labels
from silo.crypto.errors import ParameterError

Parameters = dict[str, npt.NDArray[Any]]


@runtime_checkable
class Learner(Protocol):
    """A model on one party's own data."""

    def parameters(self) -> Parameters:
        """The float parameters, by name; a copy."""
        ...

    def load(self, parameters: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over parameters."""
        ...

    def fit(self, data: Any, *, epochs: int, learning_rate: float) -> float:
        """Train on the own data from the current parameters; return the weight, the number of rows."""
        ...


@dataclass(eq=False)
class Function:
    """Plain NumPy: `update(parameters, data) -> (new parameters, rows)`."""

    initial: Mapping[str, npt.NDArray[Any]]
    update: Callable[[Parameters, Any], tuple[Mapping[str, npt.NDArray[Any]], float]]

    def __post_init__(self) -> None:
        self._now: Parameters = {key: np.array(value, copy=True) for key, value in self.initial.items()}

    def parameters(self) -> Parameters:
        return {key: value.copy() for key, value in self._now.items()}

    def load(self, parameters: Mapping[str, npt.NDArray[Any]]) -> None:
        self._now = {key: np.array(value, copy=True) for key, value in parameters.items()}

    def fit(self, data: Any, *, epochs: int, learning_rate: float) -> float:
        rows = 0.0
        for _ in range(epochs):
            new, rows = self.update(self.parameters(), data)
            self.load(new)
        return rows


def learner_of(model: Any, loss: Any = None) -> Learner:
    """Wrap a model. Raises `ParameterError` for what cannot be trained."""
    if isinstance(model, Learner):
        return model
    if any(base.__module__.startswith("torch.nn") for base in type(model).__mro__):
        from silo.training.torch_learner import TorchLearner

        return TorchLearner(model, loss)
    raise ParameterError(
        f"a {type(model).__name__} cannot be trained: give a torch module, "
        "silo.Function(parameters, update), or an object with parameters(), load() and fit()"
    )


def digest(parameters: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """A digest of names, shapes, types and values; 32 bytes."""
    flat: list[bytes | str] = []
    for key in sorted(parameters):
        array = np.ascontiguousarray(parameters[key])
        flat += [key, f"{array.dtype.str}{array.shape}", hashlib.sha256(array.tobytes()).digest()]
    return hashlib.sha256(labels.bind(labels.MODEL, *flat)).digest()
