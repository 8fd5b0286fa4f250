"""A bank with labels and a telecom operator train one neural network, with the labels behind noise and without.

Run `python examples/split_two_parties.py` (needs torch and more: `pip install '.[dp,vertical]'`). The bank's
ledger keeps account of the noise. Without it training apart gives the same network as training in one process.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

import silo
from silo.vertical import Noise, SplitNetwork

ROWS, CUT = 4000, 8
SETTINGS: dict[str, Any] = {"epochs": 10, "batch": 250, "micro_batches": 2, "lr": 0.005}
NOISE = Noise(noise_multiplier=8.0)  # or epsilon=…, delta=…


def tables() -> dict[str, Any]:
    rng = np.random.default_rng(7)
    income, calls = rng.normal(size=(ROWS, 3)), rng.normal(size=(ROWS, 6))
    score = income @ [1.0, 0.5, 0.0] + np.abs(calls[:, 0]) * 1.5 + calls[:, 1] - 1.2
    paid = (score + rng.logistic(size=ROWS) > 0).astype(int)
    return {"bank": (income, paid), "telecom": (calls, None)}


def modules() -> dict[str, nn.Module]:
    torch.manual_seed(1)  # first weights are public; noise never follows this seed
    return {
        "bank": nn.Sequential(nn.Linear(3, CUT), nn.ReLU()),
        "telecom": nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, CUT)),
        "top": nn.Sequential(nn.Linear(2 * CUT, 16), nn.ReLU(), nn.Linear(16, 1)),
    }


MODULES = modules()


def network(session: silo.Session, noise: Noise | None) -> SplitNetwork:
    """The estimator of a member: the bank has the top, and labels to protect."""
    own = {"top": MODULES["top"], "gradients": noise} if session.me == "bank" else {}
    return SplitNetwork(session, bottom=MODULES[session.me], **own, **SETTINGS)


def apart(session: silo.Session, table: tuple[Any, Any]) -> Any:
    x, y = table
    model = network(session, None).fit(x, y)
    return model.predict_proba(x), model.order_


def protected(session: silo.Session, table: tuple[Any, Any]) -> Any:
    x, y = table
    account = session.policy.account if session.policy else None
    plan = NOISE.plan(
        "gradients", SETTINGS["epochs"], account
    ).describe()  # what it will cost, before anything runs
    model = network(session, NOISE).fit(x, y)
    scores = model.predict_proba(x)  # None at who has no labels
    return scores, plan, account.epsilon() if account else None


class Both(nn.Module):
    """The same bottoms in one process: the bank's columns first."""

    def __init__(self) -> None:
        super().__init__()
        self.bank, self.telecom = MODULES["bank"], MODULES["telecom"]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.bank(x[:, :3]), self.telecom(x[:, 3:])], dim=1)


def main() -> None:
    torch.set_num_threads(1)
    given = tables()
    y = given["bank"][1]
    two = {"two_party": silo.TWO_PARTY_WORDS}
    scores, order = silo.simulate(list(given), apart, given, **two)["bank"]
    x = np.hstack([given["bank"][0], given["telecom"][0]])
    pooled = (
        SplitNetwork(bottom=Both(), top=MODULES["top"], order=order, **SETTINGS).fit(x, y).predict_proba(x)
    )
    budget = {"bank": silo.Budget(epsilon=4.0, delta=1e-5)}
    hidden, plan, epsilon = silo.simulate(list(given), protected, given, budget=budget, **two)["bank"]
    print(f"one process:        AUC {roc_auc_score(y, pooled[:, 1]):.3f}")
    print(f"two members:        AUC {roc_auc_score(y, scores[:, 1]):.3f}")
    print(f"largest difference: {np.abs(scores - pooled).max():.1e}")
    print(f"labels behind noise: AUC {roc_auc_score(y, hidden[:, 1]):.3f}, epsilon spent {epsilon:.2f}")
    print(plan)


if __name__ == "__main__":
    main()
