"""`silo audit size`: can the number of records be told from what leaves? N against N + 1.

Plain Opacus takes sampling rate, steps and normaliser from the data set's length, and a batch of N q rows rounds
differently for N + 1. Its noise is divided by another number then, which the size of one update shows. The same attack
is made on both, so that it is known to see.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from silo.audit import target
from silo.crypto.rng import Rng

_ROWS: Final = 64
_BATCH: Final = 32
_SIGMA: Final = 20.0
_WIDTH: Final = 400

Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Found:
    """How often the attack told N from N + 1; one half is guessing."""

    silo_accuracy: float
    silo_trials: int
    opacus_accuracy: float
    opacus_trials: int
    claimed_epsilon: float

    @property
    def caught(self) -> bool:
        """Whether Silo's update tells the size."""
        return self.silo_accuracy > self.limit

    @property
    def limit(self) -> float:
        """A fault is more than 55 % of 1,000 guesses, and of fewer what a coin exceeds as seldom: once in 1,200."""
        return 0.5 + 0.05 * math.sqrt(max(1.0, 1000 / self.silo_trials))

    @property
    def sees(self) -> bool:
        """Whether the attack works where there is something to see."""
        return self.opacus_accuracy >= 0.95


def compare(*, rng: Rng, trials: int = 1000, opacus_trials: int = 200, told: Told = lambda *_: None) -> Found:
    """Attack one step of both, at the same batch and noise. Raises `UsageError`."""
    from silo.privacy.accountants.pld import PLD

    plan = target.plan_of(_BATCH / _ROWS, 1, _SIGMA)
    total = 2 * (trials + opacus_trials)
    done = [0]

    def step() -> None:
        done[0] += 1
        if done[0] % 20 == 0 or done[0] == total:
            told(done[0], total)

    attacked = target.Target(_WIDTH, plan, rng=rng)
    with target.tokens(plan.step, 3 * trials) as token, attacked.trainer as trainer:

        def silo_update(rows: int) -> float:
            attacked.reset()
            trainer.step(target.rows(_records(rows)), token)
            step()
            return float(np.std(attacked.moved))

        own = _attack(silo_update, trials, rng)

    def opacus_update(rows: int) -> float:
        step()
        return _opacus(rows)

    theirs = _attack(opacus_update, opacus_trials, rng)
    return Found(own, trials, theirs, opacus_trials, PLD().epsilon(plan.event, 1e-5))


def _attack(update: Callable[[int], float], trials: int, rng: Rng) -> float:
    """Learn a threshold on half of the trials' number, then guess in the other worlds."""
    learned = [np.median([update(_ROWS + world) for _ in range(max(10, trials // 4))]) for world in (0, 1)]
    threshold, larger = float(np.mean(learned)), learned[1] > learned[0]
    right = 0
    for _ in range(trials):
        world = rng.bytes(1)[0] & 1
        said = int((update(_ROWS + world) > threshold) == larger)
        right += said == world
    return right / trials


def _records(rows: int) -> np.ndarray:
    found = np.zeros((rows, _WIDTH), np.float32)
    found[np.arange(rows), np.arange(rows) % _WIDTH] = 2
    return found


def _opacus(rows: int) -> float:
    """The spread of plain Opacus' first update, its defaults but for batch, clip and noise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus import PrivacyEngine

        model = nn.Linear(_WIDTH, 1, bias=False)
        nn.init.zeros_(model.weight)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        loader = DataLoader(TensorDataset(torch.from_numpy(_records(rows))), batch_size=_BATCH)
        wrapped, private, batches = PrivacyEngine().make_private(
            module=model, optimizer=optimizer, data_loader=loader, noise_multiplier=_SIGMA, max_grad_norm=1.0
        )
        (x,) = next(iter(batches))
        (-wrapped(x)[:, 0]).mean().backward()
        private.step()
    return float(model.weight.detach().std())
