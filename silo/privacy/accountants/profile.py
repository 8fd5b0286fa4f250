"""Privacy loss distributions of what is known by its (epsilon, delta) curve alone, for dp-accounting to compose.

Connecting the dots (Doroshenko et al., arXiv 2207.04380, algorithm 1): the curve's values on a grid of epsilon are
joined by chords in e^epsilon, which lie above a true curve. A loss of -e in one direction has e^-e times the
probability of e in the other, so that only curves at epsilon >= 0 are needed, where no digits cancel.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from silo.extras import need

need("accounting by PLD", "audit", "scipy", "dp_accounting")

from scipy.special import log_ndtr  # noqa: E402

Curve = npt.NDArray[np.float64]
Deltas = Callable[[Curve], Curve]
"""Delta at each epsilon >= 0 of a mechanism whose curve is the same in both directions."""
Masses = dict[int, float]


def atom(epsilon: float, often: float, rest: float, step: float) -> Masses:
    """Probabilities at multiples of `step` for losses of `epsilon`, `often` probable, their mirror, and 0, `rest`.

    Between two points of the grid a loss is divided so that neither distribution's total changes.
    """
    low = math.floor(epsilon / step)
    upper = often * min(1.0, max(0.0, math.expm1(low * step - epsilon) / math.expm1(-step)))
    found: Masses = {0: rest}
    for place, mass in ((low, often - upper), (low + 1, upper)):
        found[place] = found.get(place, 0.0) + mass
        found[-place] = found.get(-place, 0.0) + mass * math.exp(-place * step)
    return found


def pure(epsilon: float, delta: float, step: float) -> Masses:
    """The worst that is (epsilon, delta)-DP; what is missing to 1 is an infinite loss."""
    return atom(epsilon, (1 - delta) / (1 + math.exp(-epsilon)), 0.0, step)


def gaussian(sigma: float) -> Deltas:
    """Gaussian noise (Balle and Wang, arXiv 1805.06530, theorem 8)."""

    def deltas(epsilons: Curve) -> Curve:
        near = log_ndtr(0.5 / sigma - epsilons * sigma)
        far = log_ndtr(-0.5 / sigma - epsilons * sigma)
        return np.asarray(np.exp(near) * -np.expm1(np.minimum(epsilons + far - near, 0.0)))

    return deltas


def laplace(scale: float) -> Deltas:
    """Laplace noise."""
    return lambda epsilons: -np.expm1(np.minimum(epsilons - 1 / scale, 0.0) / 2)


def sampled(
    deltas: Deltas, end: float, probability: float, step: float
) -> tuple[tuple[int, Curve, float], ...]:
    """A mechanism on a Poisson sample: the distributions when a unit is removed and when it is added.

    Each is the place of its first cell, its cells, and the probability of an infinite loss. `end` is the largest loss
    of the mechanism itself that is told from an infinite one. Without sampling both are one.
    """
    if probability < 1:
        end = float(np.logaddexp(math.log1p(-probability), math.log(probability) + end))
    epsilons: Curve = np.arange(math.ceil(end / step) + 2, dtype=np.float64) * step
    if probability == 1:
        both = deltas(epsilons)
        return (_joined(both, both, step),)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        # (1 - q) Q + q P against Q: q times the curve of P against Q at a larger epsilon
        larger: Curve = np.where(
            epsilons < 30,
            np.log1p(np.expm1(np.minimum(epsilons, 30)) / probability),
            epsilons - math.log(probability),
        )
        removed = probability * deltas(larger)
        # Q against (1 - q) Q + q P: likewise, and nothing from -log(1 - q) on
        share = -np.expm1(epsilons + math.log1p(-probability))
        inside = share > 0
        share = np.where(inside, share, 1.0)
        added = np.where(
            inside,
            share * deltas(np.asarray(epsilons + math.log(probability) - np.log(share), np.float64)),
            0.0,
        )
    return _joined(removed, added, step), _joined(added, removed, step)


def _joined(here: Curve, there: Curve, step: float) -> tuple[int, Curve, float]:
    right = _masses(here, step)
    left = _masses(there, step) * np.exp(-step * np.arange(1, len(there)))
    infinite = float(here[-1])
    middle = max(0.0, 1.0 - infinite - float(right.sum() + left.sum()))
    return -len(left), np.concatenate((left[::-1], [middle], right)), infinite


def _masses(deltas: Curve, step: float) -> Curve:
    """Probabilities of the losses step, 2 step, ...: what the chords turn by at each."""
    falls = np.minimum(np.diff(deltas), 0.0)
    masses = falls / math.expm1(-step)
    masses[:-1] += falls[1:] / math.expm1(step)
    return np.asarray(np.maximum(masses, 0.0))


def from_divergences(divergences: Curve, orders: Curve, step: float, end: float) -> tuple[Masses, float]:
    """What has these Renyi divergences in both directions: probabilities, and that of an infinite loss.

    At every epsilon up to `end` the best order counts; as a true curve is convex, it lies below the convex hull.
    """
    epsilons = np.arange(math.ceil(end / step) + 1) * step
    deltas = np.ones(len(epsilons))
    for divergence, order in zip(divergences, orders, strict=True):
        exponent = (order - 1) * (divergence - epsilons + math.log1p(-1 / order)) - math.log(order)
        np.minimum(deltas, np.exp(np.minimum(exponent, 0.0)), out=deltas)
    corners = _hull(np.exp(epsilons).tolist(), deltas.tolist())
    at, delta = epsilons[corners], deltas[corners]
    gaps, falls = np.diff(at), np.diff(delta)
    masses = falls / np.expm1(-gaps)
    masses[:-1] += falls[1:] / np.expm1(gaps[1:])
    masses = np.maximum(masses, 0.0)
    mirrored = masses * np.exp(-at[1:])
    found = dict(zip(corners[1:], masses.tolist(), strict=True))
    found.update(zip((-place for place in corners[1:]), mirrored.tolist(), strict=True))
    found[0] = max(0.0, 1.0 - float(delta[-1]) - float(masses.sum() + mirrored.sum()))
    return found, float(delta[-1])


def _hull(x: list[float], y: list[float]) -> list[int]:
    """Places of the corners of the lower convex hull; x ascends."""
    kept: list[int] = []
    for place in range(len(x)):
        while len(kept) > 1:
            first, last = kept[-2], kept[-1]
            if (y[last] - y[first]) * (x[place] - x[first]) < (y[place] - y[first]) * (x[last] - x[first]):
                break
            kept.pop()
        kept.append(place)
    return kept
