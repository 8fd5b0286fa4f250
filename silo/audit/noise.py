"""`silo audit noise`: is there as much noise as the ledger is charged for?

Canaries in one run find gross faults and need no repetition; two worlds, each run thousands of times, find noise that
is a fifth too small. Both train through the real sampler, clip, optimizer and ledger, at a low claimed epsilon: at a
high one, faults hide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from silo.audit import bounds, target
from silo.crypto.rng import Rng
from silo.privacy.accountants.pld import PLD

DELTA: Final = 1e-5
CONFIDENCE: Final = 0.95
_CANARIES: Final = 4000
_GUESSED: Final = 0.2
"""The part of the canaries that is guessed about: half the largest as in, half the smallest as out."""
_CANARY_SIGMA: Final = 8.0
_CANARY_STEPS: Final = 4
_WORLD_SIGMA: Final = 3.4
_WORLD_RUNS: Final = 20_000

Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Found:
    """One audit: epsilon as claimed, and the lower bound that the attack proves; both at `delta`."""

    audit: str
    claimed_epsilon: float
    lower_bound: float
    delta: float
    confidence: float
    runs: int

    @property
    def caught(self) -> bool:
        """Whether the claim is refuted."""
        return self.lower_bound > self.claimed_epsilon


def canaries(*, rng: Rng, weaken: float = 1.0, count: int = _CANARIES, told: Told = lambda *_: None) -> Found:
    """One training run in which each canary is in by the fall of a coin. Raises `UsageError`."""
    plan = target.plan_of(1.0, _CANARY_STEPS, _CANARY_SIGMA)
    coins = np.unpackbits(np.frombuffer(rng.bytes(-(-count // 8)), np.uint8))[:count].astype(bool)
    records = np.eye(count, dtype=np.float32)[coins] * 2
    attacked = target.Target(count, plan, rng=rng, weaken=weaken)
    with target.tokens(plan.step, _CANARY_STEPS) as token, attacked.trainer as trainer:
        own = target.rows(records)
        for step in range(_CANARY_STEPS):
            trainer.step(own, token)
            told(step + 1, _CANARY_STEPS)
        order = np.argsort(attacked.moved)
    half = int(count * _GUESSED / 2)
    right = int(coins[order[-half:]].sum() + (~coins[order[:half]]).sum())
    lower = bounds.one_run(count, 2 * half, right, DELTA, confidence=CONFIDENCE)
    return Found("canaries in one run", PLD().epsilon(plan.event, DELTA), lower, DELTA, CONFIDENCE, 1)


def worlds(*, rng: Rng, weaken: float = 1.0, runs: int = _WORLD_RUNS, told: Told = lambda *_: None) -> Found:
    """Two worlds, with and without one record, each trained `runs` times for one step. Raises `UsageError`."""
    plan = target.plan_of(1.0, 1, _WORLD_SIGMA)
    with_, without = target.rows(np.full((1, 1), 2, np.float32)), target.rows(np.zeros((0, 1), np.float32))
    moved = np.empty((2, runs))
    attacked = target.Target(1, plan, rng=rng, weaken=weaken)
    with target.tokens(plan.step, 2 * runs) as token, attacked.trainer as trainer:
        for run in range(runs):
            for world, own in enumerate((without, with_)):
                attacked.reset()
                trainer.step(own, token)
                moved[world, run] = attacked.moved[0]
            if run % 500 == 0:
                told(run, runs)
    told(runs, runs)
    # Half the record's push: fixed before any run, so nothing is chosen by looking.
    threshold = 0.5
    false_positives = int((moved[0] > threshold).sum())
    false_negatives = int((moved[1] <= threshold).sum())
    mu = bounds.two_worlds(false_positives, runs, false_negatives, runs, confidence=CONFIDENCE)
    claimed = PLD().epsilon(plan.event, DELTA)
    return Found("two worlds", claimed, bounds.epsilon_of(mu, DELTA), DELTA, CONFIDENCE, 2 * runs)
