"""`silo.fit_private`: DP-SGD for a partner without a federation. torch and Opacus are loaded when it is called."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silo.crypto.rng import Rng, SystemRng
from silo.errors import ParameterError
from silo.extras import need
from silo.privacy.account import Account
from silo.privacy.ledger import Ledger
from silo.training import learner
from silo.training.private.plan import DPSGD

if TYPE_CHECKING:
    from torch import nn

PURPOSE = "training"


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a private training cost: by itself, and all that the data set has lost so far; at `delta`, by PLD."""

    epsilon: float
    total_epsilon: float
    delta: float
    noise_multiplier: float
    steps: int
    plan: str


def fit_private(
    model: nn.Module,
    data: Any,
    *,
    privacy: DPSGD,
    ledger: str | Path | Ledger,
    dataset: str | None = None,
    loss: Any = None,
    rng: Rng | None = None,
    on_step: Callable[[int], None] = lambda _: None,
) -> Fitted:
    """Train `model` in place on `data` with DP-SGD, on the budget that `ledger` keeps for `dataset`.

    `data` is (x, y) or a map-style data set; `dataset` may be left out where the ledger has one. All steps must fit
    into the budget before a row is read. Raises `PrivacyBudgetExceeded`, `ParameterError` for what is not sound,
    `LedgerError`.
    """
    if not isinstance(ledger, Ledger | str | Path):
        raise ParameterError(f"ledger is an open silo.Ledger or its file, not a {type(ledger).__name__}")
    if not isinstance(ledger, Ledger) and not Path(ledger).is_file():
        raise ParameterError(
            f"there is no ledger {ledger}: open a budget first, with `silo ledger open {ledger} --dataset …`"
        )
    with ExitStack() as stack:
        book = ledger if isinstance(ledger, Ledger) else stack.enter_context(Ledger.open(ledger))
        return fit_on(model, data, privacy, book.account(dataset), loss=loss, rng=rng, on_step=on_step)


def fit_on(
    model: nn.Module,
    data: Any,
    privacy: DPSGD,
    account: Account,
    *,
    loss: Any = None,
    rng: Rng | None = None,
    on_step: Callable[[int], None] = lambda _: None,
) -> Fitted:
    """`fit_private` on an account that is open."""
    require_extra()
    from torch import nn

    from silo.training.private import checks
    from silo.training.private.loss import per_row
    from silo.training.private.rows import Rows
    from silo.training.private.trainer import Trainer
    from silo.training.torch_learner import TorchLearner

    if not isinstance(model, nn.Module):
        raise ParameterError(f"private training takes a torch module, not a {type(model).__name__}")
    source = rng or SystemRng()
    plan = privacy.plan(account)
    identifier = source.bytes(8).hex()
    with Trainer(model, per_row(loss), plan, rng=source) as trainer:
        account.require(
            plan.step, privacy.steps, purpose=PURPOSE, details=plan.details(rng=source), plan=identifier
        )
        rows = Rows(data)
        rows.check_finite()
        checks.warn_of_rows(account.budget.delta, len(rows))
        trainer.run(rows, account, privacy.steps, purpose=PURPOSE, plan_id=identifier, on_step=on_step)
    account.commit(learner.digest(TorchLearner(model).parameters()), purpose=PURPOSE, plan=identifier)
    return Fitted(
        plan.epsilon,
        account.epsilon(),
        account.budget.delta,
        plan.noise_multiplier,
        privacy.steps,
        identifier,
    )


def require_extra() -> None:
    """Say what to install where torch or Opacus is missing. Raises `ParameterError`."""
    need("private training", "dp", "torch", "opacus", "dp_accounting")
