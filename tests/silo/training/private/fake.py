"""An account that grants everything and writes nothing down, for any sigma; and a trainer on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from silo.crypto.rng import Rng, SystemRng
from silo.privacy.budget import Budget
from silo.privacy.errors import PrivacyBudgetExceeded
from silo.privacy.events import Event
from silo.privacy.token import NoiseToken
from silo.training.private.loss import per_row
from silo.training.private.plan import DPSGD
from silo.training.private.rows import Rows
from silo.training.private.trainer import Trainer


class FakeReservation:
    def __init__(self, account: FakeAccount, event: Event, granted: int) -> None:
        self.account, self.event, self.granted, self.taken = account, event, granted, 0
        self.identifier = f"reservation-{id(self)}"

    def token(self) -> NoiseToken:
        self.taken += 1
        assert self.taken <= self.granted
        token = NoiseToken(self.event)
        self.account.tokens.append(token)
        return token

    def __enter__(self) -> FakeReservation:
        return self

    def __exit__(self, *exc: object) -> None:
        self.account.closed.append((self.granted, self.taken))


class FakeAccount:
    """Grants `room` events, then refuses."""

    dataset = "rows"
    budget = Budget(1.0, 1e-9)

    def __init__(self, room: int = 10**9) -> None:
        self.room = room
        self.tokens: list[NoiseToken] = []
        self.closed: list[tuple[int, int]] = []
        self.before_reserve: Callable[[], None] = lambda: None

    def reserve(
        self, event: Event, count: int = 1, *, purpose: str, details: Mapping[str, str], plan: str = ""
    ) -> Any:
        self.before_reserve()
        if count > self.room:
            raise PrivacyBudgetExceeded(self.dataset, 1.0, 2.0, 1.0)
        self.room -= count
        return FakeReservation(self, event, count)


def plan(**changes: Any) -> DPSGD:
    figures: dict[str, Any] = {
        "sampling": 1.0,
        "steps": 1,
        "clip": 0.5,
        "lot": 10.0,
        # Less would cut the sums: noise covers 2^20 of its standard deviations.
        "noise_multiplier": 5e-5,
        "learning_rate": 1.0,
    }
    if "optimizer" in changes:
        del figures["learning_rate"]
    return DPSGD(**{**figures, **changes})


def fit(
    model: torch.nn.Module,
    data: Any,
    privacy: DPSGD,
    account: Any = None,
    *,
    loss: Any = None,
    rng: Rng | None = None,
    on_step: Callable[[int], None] = lambda _: None,
) -> Any:
    """`silo.fit_private` without a ledger."""
    payer: Any = account or FakeAccount()
    with Trainer(model, per_row(loss), privacy.plan(), rng=rng or SystemRng()) as trainer:
        trainer.run(Rows(data), payer, privacy.steps, purpose="test", plan_id="", on_step=on_step)
    return payer


@contextmanager
def opened(model: torch.nn.Module, privacy: DPSGD, loss: Any = None) -> Iterator[Trainer]:
    with Trainer(model, per_row(loss), privacy.plan(), rng=SystemRng()) as trainer:
        yield trainer


def clipped_sum(model: torch.nn.Module, data: Any, loss: Any = None, **changes: Any) -> torch.Tensor:
    """What the noise is added to, for all rows of `data`."""
    privacy = plan(**changes)
    with opened(model, privacy, loss) as trainer:
        rows = Rows(data)
        for at in range(0, len(rows), privacy.physical_batch):
            end = min(len(rows), at + privacy.physical_batch)
            trainer._gradients(*rows.take(np.arange(at, end)))
        return torch.cat(trainer.optimizer.sums())


def by_hand(model: torch.nn.Module, data: Any, clip: float, loss: Any = None) -> torch.Tensor:
    """The same by torch alone, row after row."""
    total = torch.zeros(sum(p.numel() for p in model.parameters()))
    for x, y in zip(*data, strict=True):
        value = (loss or torch.nn.functional.cross_entropy)(model(x[None]), y[None]).sum()
        pieces = torch.autograd.grad(value, list(model.parameters()))
        one = torch.cat([piece.reshape(-1) for piece in pieces])
        total += one * min(1.0, clip / (float(one.norm()) + 1e-6))
    return total


def flat(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1).clone() for p in model.parameters()])
