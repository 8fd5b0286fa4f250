"""A wrapper that remembers what a hospital really sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from silo.training.learner import Learner, Parameters


class Recorded:
    """A learner that keeps each round's weighted update, to lay it beside what the relay saw."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.sent: list[npt.NDArray[Any]] = []

    def parameters(self) -> Parameters:
        return self.learner.parameters()

    def load(self, parameters: Mapping[str, npt.NDArray[Any]]) -> None:
        self.learner.load(parameters)

    def fit(self, data: Any, *, epochs: int, learning_rate: float) -> float:
        before = self.learner.parameters()
        weight = self.learner.fit(data, epochs=epochs, learning_rate=learning_rate)
        after = self.learner.parameters()
        self.sent.append(np.concatenate([weight * (after[key] - before[key]).reshape(-1) for key in before]))
        return weight
