"""What the federated run is compared with: each hospital alone, the pooled table, and the run without masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from silo.demo.data import Dataset, Hospital
from silo.demo.learners import make, predict
from silo.demo.settings import Settings
from silo.statistics import Moments
from silo.training.learner import Learner, Parameters

Array = npt.NDArray[Any]
Metrics = dict[str, Any]
"""`mean_client_accuracy`, `pooled_test_accuracy` and `per_hospital` {name: accuracy}."""


@dataclass(frozen=True, eq=False)
class Compared:
    """`plain` is the federated run without masks and encodings, and `parameters` are its weights."""

    local: Metrics
    pooled: Metrics
    plain: Metrics
    parameters: Parameters


def compare(dataset: Dataset, model: str, settings: Settings) -> Compared:
    """Train all that the federated run is compared with, each for as many passes over the rows."""
    moments = pooled_moments(dataset)
    learner = plain_fedavg(dataset, model, settings, moments)
    return Compared(
        local=local_only(dataset, model, settings),
        pooled=pooled_training(dataset, model, settings),
        plain=metrics(correct(learner, dataset, moments)),
        parameters=learner.parameters(),
    )


def local_only(dataset: Dataset, model: str, settings: Settings) -> Metrics:
    """Each hospital alone: its own mean and standard deviation, its own model, its own test rows."""
    right: dict[str, Array] = {}
    for hospital in dataset.hospitals:
        moments = moments_of(hospital.train_x)
        learner = _fitted(model, settings, moments.apply(hospital.train_x), hospital.train_y)
        right[hospital.name] = _correct(learner, hospital, moments)
    return metrics(right)


def pooled_training(dataset: Dataset, model: str, settings: Settings) -> Metrics:
    """One model on the rows of all, as if they lay in one place."""
    moments = pooled_moments(dataset)
    x = np.concatenate([moments.apply(hospital.train_x) for hospital in dataset.hospitals])
    y = np.concatenate([hospital.train_y for hospital in dataset.hospitals])
    return metrics(correct(_fitted(model, settings, x, y), dataset, moments))


def plain_fedavg(dataset: Dataset, model: str, settings: Settings, moments: Moments) -> Learner:
    """The arithmetic of `silo.train` in float64, without masks: the federated run must end at these weights."""
    algorithm = settings.algorithm
    rows = [(moments.apply(hospital.train_x), hospital.train_y) for hospital in dataset.hospitals]
    learners = [make(model, len(dataset.columns), settings) for _ in rows]
    weights = learners[0].parameters()
    for _ in range(algorithm.rounds):
        total = 0.0
        step = {key: np.zeros_like(value) for key, value in weights.items()}
        for learner, own in zip(learners, rows, strict=True):
            learner.load(weights)
            count = learner.fit(own, epochs=algorithm.epochs, learning_rate=algorithm.learning_rate)
            for key, value in learner.parameters().items():
                step[key] += count * (value - weights[key])
            total += count
        weights = {key: value + step[key] / total for key, value in weights.items()}
    learners[0].load(weights)
    return learners[0]


def metrics(right: Mapping[str, Array]) -> Metrics:
    """Accuracies from which test rows of each hospital were predicted right (booleans)."""
    each = {name: float(np.mean(rows)) for name, rows in right.items()}
    return {
        "mean_client_accuracy": float(np.mean(list(each.values()))),
        "pooled_test_accuracy": float(np.mean(np.concatenate(list(right.values())))),
        "per_hospital": each,
    }


def correct(learner: Learner, dataset: Dataset, moments: Moments) -> dict[str, Array]:
    """Which test rows of each hospital one model predicts right."""
    return {hospital.name: _correct(learner, hospital, moments) for hospital in dataset.hospitals}


def pooled_moments(dataset: Dataset) -> Moments:
    """Mean and standard deviation of the training rows of all, in the clear."""
    return moments_of(np.concatenate([hospital.train_x for hospital in dataset.hospitals]))


def moments_of(x: Array) -> Moments:
    """Mean and population standard deviation of each column."""
    return Moments(x.mean(axis=0), x.std(axis=0))


def _fitted(model: str, settings: Settings, x: Array, y: Array) -> Learner:
    learner = make(model, x.shape[1], settings)
    algorithm = settings.algorithm
    learner.fit((x, y), epochs=algorithm.rounds * algorithm.epochs, learning_rate=algorithm.learning_rate)
    return learner


def _correct(learner: Learner, hospital: Hospital, moments: Moments) -> Array:
    return np.asarray(predict(learner, moments.apply(hospital.test_x)) == hospital.test_y)
