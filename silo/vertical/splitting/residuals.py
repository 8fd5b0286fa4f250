"""What the guide learns from in place of the residuals of true labels.

A residual is the gradient of a row's loss at its logits: the probability less the label. Its L2 norm is at most C, 1
with one logit and the root of 2 with several, and one label changed changes it by no more than C. With noise of sigma C
on each, once a row and epoch, all that is worked out from them is (mu = 1 / sigma)-Gaussian private an epoch in the
labels, also where each batch is chosen after seeing the answer to the last (Dong, Roth and Su, arXiv 1905.02383,
section 3).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from silo.crypto.gaussian import gaussian, grid, round_to
from silo.crypto.rng import Rng
from silo.errors import UsageError
from silo.privacy import events
from silo.privacy.token import NoiseToken
from silo.protocols.split.schedule import Places
from silo.vertical.splitting.randomized import RandomizedLabels

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


class Residuals(Protocol):
    """Residuals that may be shown, of places and the guide's logits there."""

    def begin(self, epoch: int) -> None: ...

    def of(self, logits: Floats, places: Places) -> Floats: ...

    def arrays(self) -> dict[str, npt.NDArray[Any]]: ...

    def load(self, arrays: dict[str, npt.NDArray[Any]]) -> None: ...


class NoisedResiduals:
    """Gaussian noise. All of an epoch's is drawn in one call, for one token, before the first residual is given."""

    def __init__(
        self,
        labels: Labels,
        logits: int,
        sigma: float,
        pay: Callable[[int], NoiseToken],
        *,
        rng: Rng,
    ) -> None:
        self._labels, self._logits = labels, logits
        self._event, self._pay, self._rng = events.Gaussian(sigma), pay, rng
        self._bound = 1.0 if logits == 1 else math.sqrt(2.0)
        self._std = sigma * self._bound
        self._epoch, self._noise = 0, np.zeros((0, logits))

    def begin(self, epoch: int) -> None:
        self._epoch, self._noise = epoch, np.zeros((0, self._logits))

    def of(self, logits: Floats, places: Places) -> Floats:
        """Residuals with their noise. Raises `PrivacyBudgetExceeded` before any is drawn."""
        exact = clipped(residual(logits, self._hot(places)), self._bound)
        if not len(self._noise):
            self._draw()
        noise = self._noise[places]
        if not np.isfinite(noise).all():
            raise UsageError("a row's noise was used in this epoch: it hides one residual only")
        self._noise[places] = np.nan
        return round_to(exact, grid(self._std)) + noise

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {}

    def load(self, arrays: dict[str, npt.NDArray[Any]]) -> None:
        return None

    def _hot(self, places: Places) -> Floats:
        return one_hot(self._labels[places], self._logits)

    def _draw(self) -> None:
        self._pay(self._epoch).use(self._event)
        count = len(self._labels) * self._logits
        self._noise = gaussian(count, self._std, rng=self._rng).reshape(-1, self._logits)


class ToldResiduals:
    """Exact residuals of labels that were told at random, once for the whole fit."""

    def __init__(
        self,
        labels: Labels,
        logits: int,
        how: RandomizedLabels,
        pay: Callable[[int], NoiseToken],
        *,
        rng: Rng,
    ) -> None:
        self._labels, self._logits, self._how = labels, logits, how
        self._classes = max(2, logits)
        self._pay, self._rng, self._epoch = pay, rng, 0
        self._targets: Floats | None = None
        self._told: Labels | None = None

    def begin(self, epoch: int) -> None:
        self._epoch = epoch

    def of(self, logits: Floats, places: Places) -> Floats:
        """Residuals of the told labels. Raises `PrivacyBudgetExceeded` before they are told."""
        if self._targets is None:
            token = self._pay(self._epoch)
            self._take(self._how.tell(self._labels, self._classes, token, rng=self._rng))
        targets = self._targets[places] if self._targets is not None else np.zeros((0, self._logits))
        return residual(logits, targets)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {} if self._told is None else {"told": self._told}

    def load(self, arrays: dict[str, npt.NDArray[Any]]) -> None:
        if "told" in arrays:
            self._take(arrays["told"])

    def _take(self, told: Labels) -> None:
        self._told = told
        targets = self._how.targets(told, self._classes)
        self._targets = targets[:, 1:] if self._logits == 1 else targets


def loss_of(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The sum of the rows' losses: logistic with one logit, cross-entropy with several."""
    labels = labels.to(logits.device)
    if logits.shape[1] == 1:
        return nn.functional.binary_cross_entropy_with_logits(
            logits[:, 0], labels.to(logits.dtype), reduction="sum"
        )
    return nn.functional.cross_entropy(logits, labels, reduction="sum")


def one_hot(labels: Labels, logits: int) -> Floats:
    """(rows, logits) of labels 0 to classes - 1: with one logit the labels themselves."""
    if logits == 1:
        return labels[:, None].astype(np.float64)
    hot = np.zeros((len(labels), logits))
    hot[np.arange(len(labels)), labels] = 1.0
    return hot


def residual(logits: Floats, targets: Floats) -> Floats:
    """Probabilities less targets, (rows, logits)."""
    return probabilities(logits) - targets


def probabilities(logits: Floats) -> Floats:
    """Of the second class with one logit, else of each."""
    if logits.shape[1] == 1:
        return np.asarray((1 + np.tanh(logits / 2)) / 2)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def clipped(rows: Floats, bound: float) -> Floats:
    """Rows cut to an L2 norm: an honest residual never needs it, and no rounding may exceed it."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows * np.minimum(1.0, bound / np.maximum(norms, 1e-300)))
