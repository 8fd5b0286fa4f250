"""What the parties train, alike in the script that they run and in the test that recomputes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from silo.training.learner import Function, Parameters
from silo.training.linear import LogisticRegression

FEATURES = 6
EPOCHS, RATE = 3, 0.5


def rows(name: str) -> tuple[Any, Any]:
    """The records of one party: always the same for one name."""
    rng = np.random.default_rng(list(name.encode()))
    x = rng.normal(size=(30 + 5 * len(name), FEATURES))
    y = (x @ np.arange(1, FEATURES + 1) + rng.normal(size=len(x)) > 0).astype(float)
    return x, y


def _drift(parameters: Parameters, data: Any) -> tuple[Parameters, float]:
    x, _ = data
    step = np.float32(0.01 * x.mean()) * np.cos(np.arange(parameters["w"].size, dtype=np.float32))
    return {"w": parameters["w"] * np.float32(0.9) + step}, float(len(x))


def model(size: int = 0, start: float = 0.0) -> Any:
    """A small logistic regression, or a vector of `size` whose update travels in many pieces."""
    if size:
        return Function({"w": np.full(size, start, np.float32)}, _drift)
    small = LogisticRegression(FEATURES)
    small.load({"weight": np.full(FEATURES, start), "bias": np.zeros(1)})
    return small


def expected(cohorts: list[list[str]], size: int = 0) -> Parameters:
    """The parameters after one round per cohort, in plain arithmetic."""
    now: Parameters = model(size).parameters()
    for cohort in cohorts:
        total = {key: np.zeros(value.shape) for key, value in now.items()}
        heavy = 0.0
        for name in cohort:
            own = model(size)
            own.load(now)
            weight = own.fit(rows(name), epochs=EPOCHS, learning_rate=RATE)
            heavy += weight
            for key, value in own.parameters().items():
                total[key] += weight * (np.asarray(value, np.float64) - now[key])
        now = {key: (now[key] + total[key] / heavy).astype(now[key].dtype) for key in now}
    return now
