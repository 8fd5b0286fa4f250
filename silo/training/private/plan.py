"""DP-SGD's public constants, and what they cost, before anything runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Final, Literal

from silo.crypto.rng import Rng
from silo.errors import ParameterError
from silo.privacy import events, planning
from silo.privacy.account import Account
from silo.privacy.budget import Budget
from silo.privacy.events import Event
from silo.privacy.generator import described

if TYPE_CHECKING:
    import torch

Optimizer = Callable[[Iterable["torch.nn.Parameter"]], "torch.optim.Optimizer"]
_MOST_SIGMA: Final = 1000.0
_LEAST_SIGMA: Final = 0.05
_LEAST_CLIP: Final = 1e-30
_NUMBERS: Final = ("sampling", "clip", "lot", "weight", "momentum")
_MAYBE: Final = ("noise_multiplier", "epsilon", "delta", "learning_rate")
_WHOLE: Final = ("steps", "physical_batch", "chunk")


@dataclass(frozen=True, slots=True)
class DPSGD:
    """DP-SGD with constants that everybody may know; none may be computed from the records.

    Each of `steps` steps takes every row with probability `sampling` (Poisson), clips its gradient to L2 norm `clip`,
    adds Gaussian noise of standard deviation `noise_multiplier * clip` to the sum, and divides by `lot`, the size of
    batch that one expects. Give either `noise_multiplier`, or a target `epsilon` at `delta` for all steps.

    `mode` is Opacus' way to per-sample gradients: "hooks", or "ghost" (norms only, two backward passes, less memory).
    `physical_batch` bounds the rows in memory at once, `chunk` the steps that a crash can cost. `weight` is this
    member's weight in a federation: public as well. Raises `ParameterError`.
    """

    sampling: float
    steps: int
    clip: float
    lot: float
    noise_multiplier: float | None = None
    epsilon: float | None = None
    delta: float | None = None
    learning_rate: float | None = None
    momentum: float = 0.0
    optimizer: Optimizer | None = None
    mode: Literal["hooks", "ghost"] = "hooks"
    physical_batch: int = 256
    chunk: int = 32
    weight: float = 1.0

    def __post_init__(self) -> None:
        self._take_numbers()
        _require(
            0 < self.sampling <= 1, f"sampling is a probability above 0 and at most 1, not {self.sampling}"
        )
        _require(
            1 <= self.steps <= 10**9,
            f"steps is a whole number from 1 to 10^9, not {self.steps}",
        )
        _require(_LEAST_CLIP <= self.clip <= 1 / _LEAST_CLIP, f"clip is a norm above 0, not {self.clip}")
        _require(0 < self.lot < math.inf, f"lot is an expected batch size above 0, not {self.lot}")
        given = self.noise_multiplier is not None
        _require(
            given != (self.epsilon is not None) and (self.epsilon is None) == (self.delta is None),
            "DPSGD takes a noise_multiplier, or a target epsilon with its delta",
        )
        if self.noise_multiplier is not None:
            _require(
                0 < self.noise_multiplier <= _MOST_SIGMA,
                f"noise_multiplier is above 0 and at most {_MOST_SIGMA:g}, not {self.noise_multiplier}",
            )
        if self.epsilon is not None and self.delta is not None:
            Budget(self.epsilon, self.delta)
        rate = self.learning_rate
        _require(rate is None or 0 < rate < math.inf, f"learning_rate is above 0, not {rate}")
        _require(
            self.optimizer is None or (rate is None and self.momentum == 0),
            "DPSGD takes a learning_rate and a momentum, or an optimizer that has its own",
        )
        _require(0 <= self.momentum < 1, f"momentum is in [0, 1), not {self.momentum}")
        _require(
            self.mode in ("hooks", "ghost"),
            f'mode is "hooks" or "ghost", not {self.mode!r}: no other is sound',
        )
        _require(
            self.physical_batch >= 1,
            f"physical_batch is at least 1, not {self.physical_batch}",
        )
        _require(self.chunk >= 1, f"chunk is at least 1, not {self.chunk}")
        _require(0 < self.weight < math.inf, f"weight is above 0, not {self.weight}")

    def _take_numbers(self) -> None:
        """Make plain numbers of NumPy's, as the ledger keeps their decimals."""
        for names, kind, word in ((_NUMBERS + _MAYBE, Real, "number"), (_WHOLE, Integral, "whole number")):
            for name in names:
                value = getattr(self, name)
                if value is None and name in _MAYBE:
                    continue
                _require(
                    isinstance(value, kind) and not isinstance(value, bool),
                    f"{name} is a {word}, not {value!r}",
                )
                object.__setattr__(self, name, float(value) if kind is Real else int(value))

    def step(self, sigma: float) -> events.PoissonSampled:
        """The event of one step with a noise multiplier."""
        return events.PoissonSampled(self.sampling, events.Gaussian(sigma))

    def plan(self, account: Account | None = None) -> Plan:
        """What all steps cost; with an account also what is left there. Nothing is written or drawn.

        For a target, the least noise (to three digits) whose filtered cost keeps it. Raises `ParameterError`, also for
        a target at another delta than the account's, where two epsilons could not be compared.
        """
        if account is not None and self.delta is not None and self.delta != account.budget.delta:
            raise ParameterError(
                f"the target is at delta {self.delta:g}, and the budget of {account.dataset} counts at "
                f"{account.budget.delta:g}: take the budget's"
            )
        sigma = self.noise_multiplier
        if sigma is None:
            sigma = planning.least_noise(
                self.step,
                self.steps,
                Budget(self.epsilon or 0.0, self.delta or 0.0),
                low=_LEAST_SIGMA,
                high=_MOST_SIGMA,
                of="steps",
            )
        return Plan(self, sigma, account)


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan and its cost."""

    privacy: DPSGD
    noise_multiplier: float
    account: Account | None = None

    @property
    def step(self) -> events.PoissonSampled:
        """The event of one step."""
        return self.privacy.step(self.noise_multiplier)

    @property
    def event(self) -> Event:
        """The event of all steps."""
        return events.Repeated(self.step, self.privacy.steps)

    @property
    def delta(self) -> float:
        """The account's delta, else the target's, else 1e-5."""
        if self.account is not None:
            return self.account.budget.delta
        return self.privacy.delta or 1e-5

    @property
    def epsilon(self) -> float:
        """What all steps cost by themselves, by the PLD accountant."""
        from silo.privacy.accountants.pld import PLD

        return PLD().epsilon(self.event, self.delta)

    def describe(self) -> str:
        """Two lines for people: the cost, and what is left, or what budget it needs."""
        return (
            f"{self.privacy.steps:,} steps at sampling {self.privacy.sampling:g}, noise {self.noise_multiplier:g}: "
            f"epsilon {self.epsilon:.3f} at delta {self.delta:g}\n"
            + planning.verdict(self.step, self.privacy.steps, self.delta, self.account)
        )

    def details(self, *, rng: Rng) -> dict[str, str]:
        """What the ledger keeps beside the event; `rng` is where its noise comes from."""
        privacy = self.privacy
        return {
            "mechanism": "DP-SGD",
            "sampling q": repr(privacy.sampling),
            "steps T": str(privacy.steps),
            "noise multiplier sigma": repr(self.noise_multiplier),
            "clip C": repr(privacy.clip),
            "normaliser L": repr(privacy.lot),
            "sampling assumption": "Poisson, by the cryptographic generator",
            "parameters": "declared before any output",
            "generator": described(rng),
            "observer": "whoever sees the model after every step",
        }


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise ParameterError(sentence)
