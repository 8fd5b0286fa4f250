"""Logistic regression in plain NumPy, the smallest model worth federating."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from silo.training.learner import Parameters

Array = npt.NDArray[Any]


class LogisticRegression:
    """Binary, full-batch gradient descent with an L2 penalty per row (`penalty`, on the weights only)."""

    def __init__(self, features: int, *, penalty: float = 0.0) -> None:
        self.penalty = penalty
        self._weights: Parameters = {"weight": np.zeros(features), "bias": np.zeros(1)}

    def parameters(self) -> Parameters:
        return {key: value.copy() for key, value in self._weights.items()}

    def load(self, parameters: Mapping[str, Array]) -> None:
        self._weights = {key: np.array(parameters[key], np.float64) for key in self._weights}

    def fit(self, data: tuple[Array, Array], *, epochs: int, learning_rate: float) -> float:
        x, y = data
        for _ in range(epochs):
            error = self.predict_proba(x) - y
            gradient = x.T @ error / len(x) + self.penalty * self._weights["weight"]
            self._weights["weight"] = self._weights["weight"] - learning_rate * gradient
            self._weights["bias"] = self._weights["bias"] - learning_rate * error.mean()
        return float(len(x))

    def predict_proba(self, x: Array) -> Array:
        """The probability of class 1; shape (rows,)."""
        margin = x @ self._weights["weight"] + self._weights["bias"]
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * margin)))

    def score(self, x: Array, y: Array) -> float:
        """Accuracy."""
        return float(np.mean((self.predict_proba(x) > 0.5) == (y > 0.5)))
