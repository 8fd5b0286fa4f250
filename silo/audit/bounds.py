"""Lower bounds of epsilon from how well an attack did. All hold with the stated confidence, choices included.

One run: Steinke, Nasr and Jagielski, "Privacy auditing with one (1) training run" (NeurIPS 2023), theorem 5.2.
Two worlds: Clopper-Pearson intervals of both error rates, in the trade-off curve of Gaussian differential privacy
(Dong, Roth and Su 2022), as Nasr et al. (USENIX Security 2023) do. That curve is the Gaussian mechanism's own: the
bound is about its noise, not about any mechanism.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Final

import numpy as np

_NORMAL: Final = NormalDist()
_MOST: Final = 50.0


def one_run(canaries: int, guesses: int, right: int, delta: float, *, confidence: float = 0.95) -> float:
    """The largest epsilon that so many right guesses of so many canaries refute; 0 when they refute none."""
    refuted = 1 - confidence
    return _largest(lambda epsilon: _one_run_p(canaries, guesses, right, epsilon, delta) < refuted)


def two_worlds(
    false_positives: int, outs: int, false_negatives: int, ins: int, *, confidence: float = 0.95
) -> float:
    """The mu of Gaussian differential privacy that the two error rates of one test refute; at least 0."""
    # Each rate has half of what may go wrong.
    miss = (1 - confidence) / 2
    alpha, beta = _upper(false_positives, outs, miss), _upper(false_negatives, ins, miss)
    if not (0 < alpha < 1 and 0 < beta < 1):
        return 0.0
    return max(0.0, _NORMAL.inv_cdf(1 - alpha) - _NORMAL.inv_cdf(beta))


def epsilon_of(mu: float, delta: float) -> float:
    """Epsilon of mu-Gaussian differential privacy at delta (Balle and Wang 2018)."""
    if mu <= 0:
        return 0.0

    def above(epsilon: float) -> bool:
        first = _NORMAL.cdf(mu / 2 - epsilon / mu)
        return first - math.exp(min(epsilon, 700.0)) * _NORMAL.cdf(-mu / 2 - epsilon / mu) > delta

    return _largest(above)


def _one_run_p(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """The largest probability, under (epsilon, delta), of guessing at least so well."""
    chance = 1 / (1 + math.exp(-epsilon))
    mass = _binomial(guesses, chance)
    tail = float(mass[right:].sum())
    below = np.cumsum(mass[:right][::-1])
    worst = float(np.max(below / np.arange(1, right + 1))) if right else 0.0
    return min(1.0, tail + 2 * canaries * delta * worst)


def _binomial(count: int, chance: float) -> np.ndarray:
    k = np.arange(count + 1, dtype=np.float64)
    logs = np.array([math.lgamma(i + 1) for i in range(count + 1)])
    rest = math.log1p(-chance) if chance < 1 else -math.inf
    with np.errstate(invalid="ignore"):
        out = np.where(k < count, (count - k) * rest, 0.0)
    return np.asarray(np.exp(logs[count] - logs - logs[::-1] + k * math.log(chance) + out))


def _upper(errors: int, trials: int, miss: float) -> float:
    """The rate above which so few errors have a probability below `miss` (Clopper and Pearson 1934)."""
    if errors >= trials:
        return 1.0
    low, high = errors / trials, 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if _cdf(errors, trials, middle) > miss else (low, middle)
    return high


def _cdf(errors: int, trials: int, rate: float) -> float:
    """P[Bin(trials, rate) <= errors], summed over the terms that matter."""
    spread = 12 * math.sqrt(trials * rate * (1 - rate)) + 40
    first = max(0, math.floor(min(errors, trials * rate) - spread))
    k = np.arange(first, errors + 1, dtype=np.float64)
    logs = [
        math.lgamma(trials + 1) - math.lgamma(i + 1) - math.lgamma(trials - i + 1)
        for i in range(first, errors + 1)
    ]
    return float(np.exp(np.array(logs) + k * math.log(rate) + (trials - k) * math.log1p(-rate)).sum())


def _largest(holds: Callable[[float], bool]) -> float:
    """The largest epsilon for which something holds that fails from some epsilon on; 0 if it never does."""
    if not holds(0.0):
        return 0.0
    low, high = 0.0, _MOST
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
