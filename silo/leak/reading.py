"""What the meter says after an epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from silo.leak.bound import bound


@dataclass(frozen=True, slots=True)
class Attack:
    """Areas under the curve of one attack; one half is guessing.

    `accumulated` is over all epochs so far, as published figures are: it counts what the features tell anyway.
    `beyond_features` is the same among records of a like prior, and `low` and `high` are its interval; of a fit's
    meter all three are further lowered by what its model knows (`silo.vertical.splitting.metering`).
    """

    name: str
    batch_mean: float
    batch_max: float
    accumulated: float
    beyond_features: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Reading:
    """All attacks after `epoch` epochs. Without a prior both accumulated figures are the same."""

    epoch: int
    attacks: tuple[Attack, ...]
    confidence: float
    with_prior: bool

    @property
    def worst(self) -> Attack:
        """The attack that learns most of what the features do not tell."""
        return max(self.attacks, key=lambda one: one.beyond_features)

    @property
    def leak(self) -> float:
        """The accumulated leak: the worst attack's area among records of a like prior."""
        return self.worst.beyond_features

    @property
    def low(self) -> float:
        """The largest lower end: the leak is above it, with the reading's confidence, for all attacks at once."""
        return max(one.low for one in self.attacks)

    def attack(self, name: str) -> Attack:
        """One attack by its name."""
        return next(one for one in self.attacks if one.name == name)

    def beyond(self, mu: float) -> bool:
        """Whether more leaked than mu-GDP allows: then the guarantee does not hold.

        Without a prior this can be true of a sound guarantee, where the features tell the labels.
        """
        return self.low > bound(mu)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "epoch": self.epoch,
            "leak": self.leak,
            "low": self.low,
            "confidence": self.confidence,
            "attacks": [
                {
                    "attack": one.name,
                    "per_batch": one.batch_mean,
                    "per_batch_max": one.batch_max,
                    "accumulated": one.accumulated,
                    "beyond_features": one.beyond_features,
                    "interval": [one.low, one.high],
                }
                for one in self.attacks
            ],
        }
