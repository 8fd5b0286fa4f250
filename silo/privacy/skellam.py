"""Differential privacy of a secure sum, for whoever sees the sum: Skellam noise, added by every member.

Agarwal, Kairouz and Liu, "The Skellam Mechanism for Differentially Private Federated Learning" (NeurIPS 2021).
Each record's contribution is clipped to an L2 norm, written as integers, and summed; each member adds Skellam
noise, and as Skellam variables add up to Skellam variables, the sum has noise that nobody knows whole.

What counts is the noise of those who keep theirs secret: of the fewest members that a sum is ever unmasked for,
less the assumed colluders, and less the observer itself where it is a member. A round with fewer members ends
before anything is unmasked. Deviation: contributions are rounded to the nearest integer after clipping to a norm
smaller by half the diagonal of a grid cell, so that the sensitivity holds with certainty, not only likely.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.crypto.rng import Rng
from silo.crypto.skellam import skellam
from silo.privacy import events
from silo.privacy.accountants.rdp import RDP
from silo.privacy.token import NoiseToken

_TAIL: Final = 12.0
"""Standard deviations of a member's own noise for which the ring keeps room."""
_FINEST: Final = 2.0**40
_COARSEST: Final = 16.0
_MOST_SIGMA: Final = 1e4


@dataclass(frozen=True, slots=True)
class Skellam:
    """Noise for `session.sum(records, noise=...)`, whose first axis is records.

    `clip` is the largest L2 norm of one unit's contribution; either `noise_multiplier` (standard deviation over
    `clip`) or a target `epsilon` at `delta` for this one sum.
    """

    clip: float
    noise_multiplier: float | None = None
    epsilon: float | None = None
    delta: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.clip) and self.clip > 0):
            raise ParameterError(f"the clip of a noised sum is a number above 0, not {self.clip}")
        if (self.noise_multiplier is None) == (self.epsilon is None) or (
            (self.epsilon is None) != (self.delta is None)
        ):
            raise ParameterError("Skellam takes a noise_multiplier, or a target epsilon with its delta")
        if self.noise_multiplier is not None and not 0 < self.noise_multiplier <= _MOST_SIGMA:
            raise ParameterError(
                f"noise_multiplier is above 0 and at most {_MOST_SIGMA:g}, not {self.noise_multiplier}"
            )
        if self.epsilon is not None and not (self.epsilon > 0 and 0 < (self.delta or 0) < 1):
            raise ParameterError(
                f"a target is epsilon above 0 and delta in (0, 1), not {self.epsilon} and {self.delta}"
            )

    def plan(self, *, length: int, rows: int, honest: int, limit: int) -> Plan:
        """What every member does alike, from public figures alone.

        `length` numbers per record, at most `rows` records per member, `honest` members whose noise counts,
        integers up to `limit` in a member's ring. Raises `ParameterError` when the ring has no room.
        """
        if honest < 1:
            raise ParameterError(
                "nobody's noise would be secret: a noised sum needs more members than colluders"
            )
        sigma = self.noise_multiplier
        if sigma is None:
            sigma = _least(lambda s: self._epsilon(s, length, rows, honest, limit) <= (self.epsilon or 0))
        return self._plan(sigma, length, rows, honest, limit)

    def _plan(self, sigma: float, length: int, rows: int, honest: int, limit: int) -> Plan:
        room = limit / (self.clip * (rows + _TAIL * sigma / math.sqrt(honest)))
        scale = 2.0 ** min(math.floor(math.log2(room)), math.floor(math.log2(_FINEST / self.clip)))
        reach = self.clip * scale
        if reach < max(_COARSEST, 2 * math.sqrt(length)):
            raise ParameterError(
                f"a record's {length} numbers would be {reach:.2g} steps of the ring: take more bits, or a task "
                f"with fewer rows than {rows}"
            )
        l2 = math.floor(reach)
        l1 = min(math.floor(math.sqrt(length) * l2), length * l2)
        variance = (sigma * reach) ** 2
        return Plan(self.clip, scale, length, honest, events.Skellam(variance, float(l2), float(l1)))

    def _epsilon(self, sigma: float, length: int, rows: int, honest: int, limit: int) -> float:
        plan = self._plan(sigma, length, rows, honest, limit)
        return RDP().epsilon(plan.event, self.delta or 0.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """One noised sum: its grid (`scale` steps per 1) and the event that it costs."""

    clip: float
    scale: float
    length: int
    honest: int
    event: events.Skellam

    @property
    def own_variance(self) -> float:
        """Variance of one member's noise, in squared steps."""
        return self.event.variance / self.honest

    def std(self, members: int) -> float:
        """Standard deviation of the noise in a sum over so many members, in the numbers' own unit."""
        return math.sqrt(members * self.own_variance) / self.scale

    def describe(self) -> str:
        """What the members compare before the sum."""
        return (
            f"Skellam, variance {self.own_variance!r} each, {self.honest} secret, "
            f"clip {self.clip!r}, {self.scale!r} steps"
        )

    def noised(self, records: npt.NDArray[Any], token: NoiseToken, *, rng: Rng) -> npt.NDArray[np.int64]:
        """Clip, round and add up the records (records, length), and add this member's noise."""
        return self.contribution(records) + self.noise(token, rng=rng)

    def noise(self, token: NoiseToken, *, rng: Rng) -> npt.NDArray[np.int64]:
        """This member's noise alone, in steps."""
        token.use(self.event)
        return skellam(self.length, self.own_variance, rng=rng)

    def contribution(self, records: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """The records' sum in steps, without noise; each record moves it by at most the event's l2."""
        rows = steps(records, self.scale, math.floor(self.clip * self.scale))
        return np.asarray(rows.sum(axis=0), np.int64)


def steps(records: npt.NDArray[Any], scale: float, most: float) -> npt.NDArray[np.int64]:
    """Records (records, length) in whole steps of 1 / `scale`, each clipped to an L2 norm of at most `most` steps."""
    rows = np.asarray(records, np.float64)
    bound = most / scale - math.sqrt(rows.shape[1]) / (2 * scale)
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    factor = np.minimum(1.0, bound / np.maximum(norms, 1e-300)) * (1 - 2.0**-40)
    return np.asarray(np.rint(rows * (factor * scale)[:, None]).astype(np.int64))


def _least(enough: Any) -> float:
    """The smallest noise multiplier, to three digits, that is enough."""
    low, high = 1e-3, _MOST_SIGMA
    if not enough(high):
        raise ParameterError(f"no noise multiplier up to {_MOST_SIGMA:g} reaches this target: ask for less")
    while high / low > 1.0005:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return float(f"{high * 1.0005:.3g}") if enough(float(f"{high * 1.0005:.3g}")) else high
