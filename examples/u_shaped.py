"""A hospital with few processors trains on a partner's; neither its labels nor its columns leave without noise.

Run `python examples/u_shaped.py` (needs torch and more: `pip install '.[dp,vertical]'`). The hospital has
the first and the last layers, the partner those between. What crosses is noised in both directions, as the charter
asks, and the hospital's ledger says what that cost. Hiding a row well also hides what could be predicted of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

import silo
from silo.charter import Vertical
from silo.vertical import Noise, SplitNetwork

ROWS, CUT, FEATURES = 12000, 2, 16
SETTINGS: dict[str, Any] = {"epochs": 4, "batch": 500, "micro_batches": 2, "lr": 0.02}
CHARTER = Vertical(
    ("split",), label="hospital", passes=10
)  # noise in both directions, unless a word is left out
LABELS = Noise(noise_multiplier=3.0)
ROWS_OF_PATIENTS = Noise(noise_multiplier=1.0, clip=2.0, row_clip=0.5)  # little: it bounds predictions too


def patients() -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(ROWS, 6))
    ill = x[:, 0] + 0.8 * x[:, 1] - 0.6 * x[:, 2] + 0.4 * rng.logistic(size=ROWS) > 0
    return x, ill.astype(int)


def modules() -> dict[str, nn.Module]:
    torch.manual_seed(2)
    return {
        "bottom": nn.Linear(6, CUT),
        "middle": nn.Sequential(nn.Linear(CUT, 32), nn.ReLU(), nn.Linear(32, FEATURES)),
        "top": nn.Linear(FEATURES, 1),
    }


MODULES = modules()


def party(session: silo.Session, table: Any) -> Any:
    if session.me == "partner":
        model = SplitNetwork(session, middle=MODULES["middle"], cut=CUT, **SETTINGS).fit()
        return model.predict_proba()  # None: scores stay with the hospital
    x, y = table
    model = SplitNetwork(
        session,
        bottom=MODULES["bottom"],
        top=MODULES["top"],
        u_shaped=True,
        gradients=LABELS,
        activations=ROWS_OF_PATIENTS,
        **SETTINGS,
    ).fit(x, y)
    account = session.policy.account if session.policy else None
    return model.predict_proba(x), account.epsilon() if account else None


def main() -> None:
    torch.set_num_threads(1)
    x, y = patients()
    given = {"hospital": (x, y), "partner": None}
    found = silo.simulate(
        list(given),
        party,
        given,
        two_party=silo.TWO_PARTY_WORDS,
        budget={"hospital": silo.Budget(epsilon=80.0, delta=1e-5)},
        vertical=CHARTER,
    )
    scores, epsilon = found["hospital"]
    alone = SplitNetwork(bottom=MODULES["bottom"], middle=MODULES["middle"], top=MODULES["top"], **SETTINGS)
    pooled = alone.fit(x, y).predict_proba(x)
    print(f"all layers here, no noise: AUC {roc_auc_score(y, pooled[:, 1]):.3f}")
    print(
        f"U-shaped, noise both ways: AUC {roc_auc_score(y, scores[:, 1]):.3f}, and the partner got {found['partner']}"
    )
    print(f"epsilon spent by the hospital: {epsilon:.2f}")
    for direction, noise in (("gradients", LABELS), ("activations", ROWS_OF_PATIENTS)):
        print(noise.plan(direction, SETTINGS["epochs"]).describe())


if __name__ == "__main__":
    main()
