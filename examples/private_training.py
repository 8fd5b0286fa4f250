"""Three partners train one model with differential privacy; each pays from its own budget, and a second run is refused.

Run `python examples/private_training.py` (needs torch, Opacus and dp-accounting: `pip install '.[dp]'`).
All are in this process; between organisations `party` is what each gives to `silo join`, and the charter has the
budgets.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

import silo

BUDGET = silo.Budget(epsilon=2.0, delta=1e-4)  # per record, for all that is ever released of a partner's rows

# Everybody may know these. None is computed from the rows: not even the size of a batch.
PRIVACY = silo.DPSGD(
    sampling=0.2,  # each row is in a step with this probability
    steps=40,
    clip=1.0,  # the L2 norm of one row's gradient
    lot=60.0,  # what the sum is divided by: a batch that one expects
    epsilon=1.5,
    delta=1e-4,
    learning_rate=1.0,
)
LOW, HIGH = [0.0, 40.0, 100.0], [100.0, 200.0, 400.0]  # public ranges of age, height, cholesterol


def rows(seed: int, size: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    x = rng.uniform(LOW, HIGH, size=(size, 3))
    ill = (x[:, 0] - 50) / 50 + (x[:, 2] - 250) / 150 + rng.normal(0, 0.2, size) > 0
    return x, ill.astype(np.int64)


def party(session: silo.Session, own: tuple[Any, Any]) -> dict[str, Any]:
    x = silo.standardize(session, own[0], low=LOW, high=HIGH).astype(np.float32)  # nothing leaves
    model = nn.Linear(3, 2)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    account = session.policy.account
    plan = PRIVACY.plan(account)
    said = plan.describe()
    silo.train(session, model, (x, own[1]), algorithm=silo.FedAvg(rounds=10), privacy=PRIVACY)
    with torch.no_grad():
        right = float((model(torch.from_numpy(x)).argmax(1).numpy() == own[1]).mean())
    try:
        silo.train(session, model, (x, own[1]), algorithm=silo.FedAvg(rounds=10), privacy=PRIVACY)
        refused = "it was not refused"
    except silo.PrivacyBudgetExceeded as refusal:
        refused = str(refusal)
    return {"plan": said, "right": right, "epsilon": account.epsilon(), "again": refused}


def main() -> None:
    torch.set_num_threads(1)
    names = ["mercy", "northside", "clinic"]
    inputs = [rows(seed, size) for seed, size in enumerate((400, 300, 350))]
    found = silo.simulate(names, party, inputs, clip=8.0, rows=1000, budget=BUDGET)
    print(found["mercy"]["plan"])
    for name, one in found.items():
        print(
            f"{name:10} right {one['right']:.3f}   epsilon spent {one['epsilon']:.3f} of {BUDGET.epsilon:g}"
        )
    print(f"again: {found['mercy']['again']}")


if __name__ == "__main__":
    main()
