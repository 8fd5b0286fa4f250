"""DP-SGD as a `Learner`: each round of a federation is its share of the plan's steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
from torch import nn

from silo.crypto.rng import Rng
from silo.errors import ParameterError
from silo.privacy.account import Account
from silo.training.learner import Parameters
from silo.training.private import checks
from silo.training.private.fit import PURPOSE
from silo.training.private.loss import per_row
from silo.training.private.plan import DPSGD
from silo.training.private.rows import Rows
from silo.training.private.trainer import Trainer
from silo.training.torch_learner import TorchLearner


class PrivateLearner:
    """What leaves `fit` is the model, which is private, and a weight that was declared."""

    def __init__(
        self, model: Any, loss: Any, privacy: DPSGD, account: Account, *, rounds: int, rng: Rng
    ) -> None:
        if not isinstance(model, nn.Module):
            raise ParameterError(f"private training takes a torch module, not a {type(model).__name__}")
        if privacy.steps % rounds:
            raise ParameterError(
                f"{privacy.steps} steps do not divide among {rounds} rounds: take a multiple of {rounds}"
            )
        checks.check_model(model)
        self.privacy, self.account = privacy, account
        self.plan = privacy.plan(account)
        self.share = privacy.steps // rounds
        self.charges: tuple[str, ...] = ()
        """The reservations that paid for the last `fit`."""
        self._model, self._loss, self._rng = model, per_row(loss), rng
        self._plain = TorchLearner(model)
        self._rehearsed = False
        self._identifier = rng.bytes(8).hex()

    def require_room(self, rounds: int) -> None:
        """Raise `PrivacyBudgetExceeded`, on the ledger too, unless the steps of so many rounds fit."""
        if rounds > 0:
            self.account.require(
                self.plan.step,
                rounds * self.share,
                purpose=PURPOSE,
                details=self.plan.details(rng=self._rng),
                plan=self._identifier,
            )

    def parameters(self) -> Parameters:
        # What a model's state_dict adds by itself had no noise.
        own = {name for name, _ in (*self._model.named_parameters(), *self._model.named_buffers())}
        return {name: value for name, value in self._plain.parameters().items() if name in own}

    def load(self, parameters: Mapping[str, npt.NDArray[Any]]) -> None:
        self._plain.load(parameters)

    def fit(self, data: Any, *, epochs: int, learning_rate: float) -> float:
        """One round's steps, whatever `epochs` says. Returns the declared weight."""
        rows = Rows(data)
        rows.check_finite()
        checks.warn_of_rows(self.account.budget.delta, len(rows))
        with Trainer(
            self._model,
            self._loss,
            self.plan,
            rng=self._rng,
            learning_rate=learning_rate,
            rehearsed=self._rehearsed,
        ) as trainer:
            self.charges = trainer.run(
                rows, self.account, self.share, purpose=PURPOSE, plan_id=self._identifier
            )
            self._rehearsed = trainer.rehearsed
        return self.privacy.weight
