"""A bank, a call centre and a statistics office grow trees over columns of the same people.

Run `python examples/vertical_boosting.py`. The bank has labels and no useful column; text and gaps are taken as they
are. Each sees its own splits only; docs/vertical.md says what each learns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

import silo

ROWS = 300


def tables() -> dict[str, tuple[Any, Any]]:
    """(columns, labels) of the same rows in the same order, as `session.intersect` would give them."""
    rng = np.random.default_rng(11)
    age, calls = rng.integers(20, 80, size=(ROWS, 1)), rng.poisson(2, size=ROWS).astype(float)
    channel, rate = rng.choice(["mail", "telephone"], size=ROWS), rng.normal(size=(ROWS, 2))
    logit = calls - 2 + 1.5 * (channel == "telephone") + 2 * rate[:, 0] * (calls > 1) - 0.5
    bought = np.where(rng.logistic(size=ROWS) < logit, "yes", "no")
    calls[::7] = np.nan
    centre = np.column_stack([calls.astype(object), channel.astype(object)])
    return {"bank": (age, bought), "callcentre": (centre, None), "statistics": (rate, None)}


def party(session: silo.Session, table: tuple[Any, Any]) -> Any:
    x, y = table
    model = silo.vertical.GradientBoosting(session, n_estimators=8, max_depth=3, max_bins=16, key_bits=2048)
    model.fit(x, y)  # who has no labels passes None
    probabilities = model.predict_proba(x)  # None at who has no labels
    return None if probabilities is None else roc_auc_score(y == "yes", probabilities[:, 1])


def main() -> None:
    given = tables()
    found = silo.simulate(list(given), party, given)
    age, bought = given["bank"]
    alone = silo.vertical.GradientBoosting(n_estimators=8, max_depth=3, max_bins=16).fit(age, bought)
    print(f"bank alone:     AUC {roc_auc_score(bought == 'yes', alone.predict_proba(age)[:, 1]):.3f}")
    print(f"all together:   AUC {found['bank']:.3f}, on the rows of the fit")
    print(f"the others got: {found['callcentre']} and {found['statistics']}")


if __name__ == "__main__":
    main()
