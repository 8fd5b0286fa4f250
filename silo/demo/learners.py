"""The two models that the demo trains, and how they predict. Both are deterministic, given the rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.demo.settings import Settings
from silo.training.learner import Learner, Parameters
from silo.training.linear import LogisticRegression

if TYPE_CHECKING:
    import torch

MODELS: Final = ("logistic", "mlp")
_START: Final = 2017


def make(model: str, features: int, settings: Settings) -> Learner:
    """A fresh model; every hospital makes the same one. Raises `ParameterError`."""
    if model == "logistic":
        return LogisticRegression(features, penalty=settings.penalty)
    if model == "mlp":
        return Perceptron(features, settings)
    raise ParameterError(f"there is no model {model!r}: choose {' or '.join(MODELS)}")


def predict(learner: Learner, x: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The likelier label of each row, 0 or 1; shape (rows,)."""
    if not isinstance(learner, LogisticRegression | Perceptron):
        raise ParameterError(f"a {type(learner).__name__} predicts no labels")
    return np.asarray(learner.predict_proba(x) > 0.5, np.float64)


class Perceptron:
    """One hidden layer of tanh units in torch, in float64: full-batch gradient descent with an L2 penalty.

    The first weights come from a generator with a public seed: they are part of what the hospitals agree on.
    Nothing else is random, so that a run can be repeated without masks.
    """

    def __init__(self, features: int, settings: Settings) -> None:
        try:
            import torch
        except ImportError:
            raise ParameterError(
                "the model mlp needs torch: run `pip install '.[torch]'` in Silo's source folder"
            ) from None

        self._torch = torch
        self._settings = settings
        public = torch.Generator().manual_seed(_START)
        shapes = {"hidden": (features, settings.hidden), "output": (settings.hidden, 1)}
        self._tensors: dict[str, torch.Tensor] = {}
        for layer, shape in shapes.items():
            start = torch.randn(shape, generator=public, dtype=torch.float64) / shape[0] ** 0.5
            self._tensors[f"{layer}.weight"] = start
            self._tensors[f"{layer}.bias"] = torch.zeros(shape[1], dtype=torch.float64)

    def parameters(self) -> Parameters:
        return {key: value.detach().numpy().copy() for key, value in self._tensors.items()}

    def load(self, parameters: Mapping[str, npt.NDArray[Any]]) -> None:
        self._tensors = {
            key: self._torch.tensor(parameters[key], dtype=self._torch.float64) for key in self._tensors
        }

    def fit(self, data: tuple[Any, Any], *, epochs: int, learning_rate: float) -> float:
        """Train; returns the number of rows."""
        torch = self._torch
        x, y = (torch.tensor(np.asarray(part), dtype=torch.float64) for part in data)
        # So few numbers are done sooner by one thread, above all where four hospitals share a machine.
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            self._descend(x, y, epochs, learning_rate)
        finally:
            torch.set_num_threads(threads)
        return float(len(x))

    def _descend(self, x: torch.Tensor, y: torch.Tensor, epochs: int, learning_rate: float) -> None:
        torch, penalty = self._torch, self._settings.penalty
        for _ in range(epochs):
            tensors = {key: value.requires_grad_() for key, value in self._tensors.items()}
            margin = self._margin(tensors, x)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(margin, y)
            loss = loss + 0.5 * penalty * sum(
                value.square().sum() for key, value in tensors.items() if key.endswith("weight")
            )
            slopes = torch.autograd.grad(loss, list(tensors.values()))
            self._tensors = {
                key: (value - learning_rate * slope).detach()
                for (key, value), slope in zip(tensors.items(), slopes, strict=True)
            }

    def predict_proba(self, x: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """The probability of class 1; shape (rows,)."""
        margin = self._margin(self._tensors, self._torch.tensor(np.asarray(x), dtype=self._torch.float64))
        return np.asarray(self._torch.sigmoid(margin).numpy())

    def _margin(self, tensors: Mapping[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        units = self._torch.tanh(x @ tensors["hidden.weight"] + tensors["hidden.bias"])
        return (units @ tensors["output.weight"] + tensors["output.bias"])[:, 0]
