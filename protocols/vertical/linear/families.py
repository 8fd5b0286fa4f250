"""Generalised linear models (McCullagh and Nelder 1989) by their exact links: mean, variance, loss, derivatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError

Floats = npt.NDArray[np.float64]
_LARGEST: Final = 30.0
"""Scores of a Poisson model are held below e^30 while it is fitted, so that no step overflows."""


@dataclass(frozen=True, slots=True)
class Family:
    """One family with its canonical link: residual = y - mean(z), curvature = variance(mean(z))."""

    name: str
    mean: Callable[[Floats], Floats]
    variance: Callable[[Floats], Floats]
    loss: Callable[[Floats, Floats], float]
    """The negative log likelihood of (y, z), summed over rows, up to a constant."""
    bounded: bool
    """Whether |residual| <= 1 for every row."""


def _sigmoid(z: Floats) -> Floats:
    # Both branches stay finite: exp of a negative number only.
    small = np.exp(-np.abs(z))
    found: Floats = np.where(z >= 0, 1 / (1 + small), small / (1 + small))
    return found


def _exponential(z: Floats) -> Floats:
    found: Floats = np.exp(np.minimum(z, _LARGEST))
    return found


def _same(z: Floats) -> Floats:
    return z


def _ones(mean: Floats) -> Floats:
    return np.ones_like(mean)


def _logistic_loss(y: Floats, z: Floats) -> float:
    return float(np.sum(np.logaddexp(0.0, z) - y * z))


def _square_loss(y: Floats, z: Floats) -> float:
    return float(np.sum((y - z) ** 2) / 2)


def _poisson_loss(y: Floats, z: Floats) -> float:
    return float(np.sum(_exponential(z) - y * z))


FAMILIES: Final[Mapping[str, Family]] = {
    "logistic": Family("logistic", _sigmoid, lambda mean: mean * (1 - mean), _logistic_loss, bounded=True),
    "linear": Family("linear", _same, _ones, _square_loss, bounded=False),
    "poisson": Family("poisson", _exponential, lambda mean: mean, _poisson_loss, bounded=False),
}


def of(name: str) -> Family:
    """The family of this name. Raises `ParameterError`."""
    if name not in FAMILIES:
        raise ParameterError(f"there is no linear model called {name[:40]!r}: {', '.join(FAMILIES)}")
    return FAMILIES[name]
