"""A bank that knows who paid back, and a telecom operator with columns of the same people, fit one model.

Run `python examples/vertical_two_parties.py`. They find the people whom both have, fit, save each its part, and score
from what was saved. No column leaves its owner; docs/vertical.md says what each learns.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import silo

COMMON = 600


def tables() -> dict[str, tuple[Any, ...]]:
    """(identifiers, columns, labels): each has people whom the other lacks, in an order of its own."""
    rng = np.random.default_rng(7)
    people = np.array([f"+49-{number}" for number in range(COMMON + 200)])
    income, calls = rng.normal(size=(len(people), 2)), rng.normal(size=(len(people), 8))
    score = income @ [1.0, 0.5] + calls[:, :3] @ [1.5, -1.0, 0.5]
    paid = (score + rng.logistic(size=len(people)) > 0).astype(int)
    one, two = rng.permutation(COMMON + 100), rng.permutation(COMMON + 100) + 100
    return {"bank": (people[one], income[one], paid[one]), "telecom": (people[two], calls[two], None)}


def party(session: silo.Session, table: tuple[Any, ...]) -> tuple[int, Any]:
    ids, x, y = table
    rows = session.intersect(ids)  # the places of the common rows, in an order that both share
    x, y = x[rows], None if y is None else y[rows]  # who has no labels passes none
    model = silo.vertical.LogisticRegression(session, tol=1e-6).fit(x, y, ids=ids[rows])
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "part.json")  # of no use without the other's part
        again = silo.vertical.load(Path(folder) / "part.json", session)
    scores = again.decision_function(x)  # None at who has no labels
    return len(rows), None if scores is None else roc_auc_score(y, scores)


def main() -> None:
    given = tables()
    found = silo.simulate(list(given), party, given, two_party=silo.TWO_PARTY_WORDS)
    common, joint = found["bank"]
    _, x, y = given["bank"]
    alone = roc_auc_score(y, LogisticRegression().fit(x, y).decision_function(x))
    print(f"people in common: {common}")
    print(f"bank alone:       AUC {alone:.3f}")
    print(f"bank and telecom: AUC {joint:.3f}, and the telecom operator got {found['telecom'][1]}")


if __name__ == "__main__":
    main()
