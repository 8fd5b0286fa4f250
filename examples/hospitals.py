"""Four hospitals train one model: run `python examples/hospitals.py` (needs scikit-learn).

`silo demo hospitals` runs the same with a process for each and a relay over mutual TLS.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

import silo
from silo.training.linear import LogisticRegression

NAMES = ["mercy", "northside", "clinic", "lakeview"]
SHARES = (0.45, 0.3, 0.15, 0.1)


def party(session: silo.Session, rows: tuple[Any, Any, Any, Any]) -> dict[str, float]:
    train_x, test_x, train_y, test_y = rows
    alone = LogisticRegression(train_x.shape[1])
    spread = np.where(train_x.std(axis=0) > 0, train_x.std(axis=0), 1.0)
    alone.fit(((train_x - train_x.mean(axis=0)) / spread, train_y), epochs=60, learning_rate=0.5)

    pooled = silo.moments(session, train_x)  # the mean and deviation of all rows, through the secure sum
    together = LogisticRegression(train_x.shape[1])
    data = (pooled.apply(train_x), train_y)
    silo.train(session, together, data, algorithm=silo.FedAvg(rounds=20, epochs=3, learning_rate=0.5))
    return {
        "alone": alone.score((test_x - train_x.mean(axis=0)) / spread, test_y),
        "together": together.score(pooled.apply(test_x), test_y),
    }


def main() -> None:
    x, y = load_breast_cancer(return_X_y=True)
    order = np.argsort(x[:, 0] + np.random.default_rng(0).normal(0, 3, len(x)))  # unlike patients in each
    cuts = np.cumsum([int(share * len(x)) for share in SHARES])[:-1]
    parts = [train_test_split(x[i], y[i], test_size=0.34, random_state=0) for i in np.split(order, cuts)]
    results = silo.simulate(NAMES, party, parts, clip=4.0, rows=1000)
    for name, accuracy in results.items():
        print(f"{name:10} alone {accuracy['alone']:.3f}   together {accuracy['together']:.3f}")


if __name__ == "__main__":
    main()
