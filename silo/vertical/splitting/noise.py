"""How much noise protects a direction of split learning, and what it costs, before anything runs.

`gradients` is what the label party returns, `activations` what a host shows. The noise of both is Gaussian, once per
row and epoch. What an attacker makes of a whole training is bounded by mu (Dong, Roth and Su, arXiv 1905.02383): two
labels, or two rows, are told apart with an AUC of Phi(mu / sqrt 2) at best, however it is all added up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Real
from typing import Final

from silo.crypto.rng import Rng
from silo.errors import ParameterError
from silo.privacy import events, planning
from silo.privacy.account import Account
from silo.privacy.budget import Budget
from silo.privacy.events import Event
from silo.privacy.generator import described

GRADIENTS: Final = "gradients"
ACTIVATIONS: Final = "activations"
DIRECTIONS: Final = (GRADIENTS, ACTIVATIONS)
PURPOSE: Final = "split learning"
LEAST_SIGMA: Final = 0.05
MOST_SIGMA: Final = 10_000.0
_LARGEST_CLIP: Final = 1e6


@dataclass(frozen=True, slots=True)
class Noise:
    """Gaussian noise for one direction: a `noise_multiplier`, or a target `epsilon` at `delta` for all epochs.

    As `gradients=` it hides labels: the label party's residuals get noise of `noise_multiplier` times what one label
    can change. As `activations=` it hides a host's rows: activations are cut to L2 norm `clip`, each row's gradient to
    `row_clip`, and both get noise of `noise_multiplier` times that. Raises `ParameterError`.
    """

    noise_multiplier: float | None = None
    epsilon: float | None = None
    delta: float | None = None
    clip: float = 1.0
    row_clip: float = 1.0

    def __post_init__(self) -> None:
        if (self.noise_multiplier is None) == (self.epsilon is None) or (self.epsilon is None) != (
            self.delta is None
        ):
            raise ParameterError("Noise takes a noise_multiplier, or a target epsilon with its delta")
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, Real)):
                raise ParameterError(f"{field.name} of a Noise is a number, not {value!r}")
        if self.noise_multiplier is not None and not LEAST_SIGMA <= self.noise_multiplier <= MOST_SIGMA:
            raise ParameterError(
                f"noise_multiplier is from {LEAST_SIGMA:g} to {MOST_SIGMA:g}, not {self.noise_multiplier}"
            )
        if self.epsilon is not None and self.delta is not None:
            Budget(self.epsilon, self.delta)
        for name, clip in (("clip", self.clip), ("row_clip", self.row_clip)):
            if not 0 < clip <= _LARGEST_CLIP:
                raise ParameterError(f"{name} is above 0 and at most {_LARGEST_CLIP:g}, not {clip}")

    def plan(self, direction: str, epochs: int, account: Account | None = None) -> NoisePlan:
        """What all epochs cost; with an account also what is left there. Nothing is written or drawn.

        For a target, the least noise (to three digits) whose filtered cost keeps it. Raises `ParameterError`.
        """
        if direction not in DIRECTIONS:
            raise ParameterError(f"a direction is {' or '.join(DIRECTIONS)}, not {direction[:40]!r}")
        if epochs < 1:
            raise ParameterError(f"a plan is for one epoch or more, not {epochs}")
        if self.delta is not None and account is not None and self.delta != account.budget.delta:
            raise ParameterError(
                f"the target is at delta {self.delta:g}, and the budget of {account.dataset} counts at "
                f"{account.budget.delta:g}: take the budget's"
            )
        sigma = self.noise_multiplier
        if sigma is None:
            sigma = planning.least_noise(
                lambda tried: _epoch(direction, tried),
                epochs,
                Budget(self.epsilon or 0.0, self.delta or 0.0),
                low=LEAST_SIGMA,
                high=MOST_SIGMA,
                of="epochs",
            )
        return NoisePlan(direction, float(sigma), epochs, self.clip, self.row_clip, self.delta, account)


@dataclass(frozen=True, slots=True)
class NoisePlan:
    """A plan and its cost."""

    direction: str
    noise_multiplier: float
    epochs: int
    clip: float = 1.0
    row_clip: float = 1.0
    target_delta: float | None = None
    account: Account | None = None

    @property
    def event(self) -> Event:
        """The event of one epoch."""
        return _epoch(self.direction, self.noise_multiplier)

    @property
    def scoring(self) -> Event:
        """The event of showing the activations of all rows once more, to score."""
        return events.Gaussian(self.noise_multiplier / 2)

    @property
    def whole(self) -> Event:
        """The event of all epochs."""
        return events.Repeated(self.event, self.epochs)

    @property
    def delta(self) -> float:
        """The account's delta, else the target's, else 1e-5."""
        return self.account.budget.delta if self.account is not None else self.target_delta or 1e-5

    @property
    def epsilon(self) -> float:
        """What all epochs cost by themselves, by the PLD accountant."""
        from silo.privacy.accountants.pld import PLD

        return PLD().epsilon(self.whole, self.delta)

    @property
    def mu(self) -> float:
        """All epochs are as one Gaussian mechanism of this mean over its deviation."""
        each = 1.0 if self.direction == GRADIENTS else math.sqrt(8.0)
        return math.sqrt(self.epochs) * each / self.noise_multiplier

    @property
    def auc_bound(self) -> float:
        """No attack on what leaves in all epochs has a larger AUC: Phi(mu / sqrt 2)."""
        return (1 + math.erf(self.mu / 2)) / 2

    def describe(self) -> str:
        """Two lines for people: the cost, and what is left, or what budget it needs."""
        what = "two labels" if self.direction == GRADIENTS else "two rows"
        cost = (
            f"{self.direction}: {self.epochs} epochs with noise {self.noise_multiplier:g}: epsilon {self.epsilon:.3f} "
            f"at delta {self.delta:g}, mu {self.mu:.3f}; no attack tells {what} apart with an AUC above "
            f"{self.auc_bound:.3f}"
        )
        room = planning.verdict(self.event, self.epochs, self.delta, self.account)
        if self.account is None:
            # An epoch that was cut off is paid for twice.
            more = planning.least_budget(self.event, self.epochs + 1, self.delta)
            room += f", and {more:g} to go on once after a break"
        return f"{cost}\n{room}"

    def details(self, *, rng: Rng) -> dict[str, str]:
        """What the ledger keeps beside the event; `rng` is where its noise comes from."""
        found = {
            "mechanism": "Gaussian noise on each row, once an epoch",
            "direction": self.direction,
            "noise multiplier sigma": repr(self.noise_multiplier),
            "epochs planned": str(self.epochs),
            "generator": described(rng),
        }
        if self.direction == GRADIENTS:
            return found | {
                "protects": "the label of a row",
                "neighbours": "one label changed",
                "observer": "whoever gets the gradients of all epochs",
            }
        return found | {
            "protects": "a row of this member's columns",
            "neighbours": "one row replaced, so that the sensitivity is twice the clip",
            "observer": "whoever sees the activations of all epochs",
            "clip of activations": repr(self.clip),
            "clip of a row's gradient": repr(self.row_clip),
        }


def _epoch(direction: str, sigma: float) -> Event:
    if direction == GRADIENTS:
        return events.Gaussian(sigma)
    # Replacing a row moves its activations by up to 2 clips, and the sum of its batch's gradients likewise.
    return events.Composed((events.Gaussian(sigma / 2), events.Gaussian(sigma / 2)))
