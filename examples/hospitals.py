"""Four hospitals of unequal size train one model on scikit-learn's breast cancer data; each compares it with its own.

Run `python examples/hospitals.py` (needs scikit-learn). `silo demo hospitals` does the like with a process for each
hospital and a relay over mutual TLS; here all are in this process, and `party` is what each would give to `silo join`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

import silo

NAMES = ["mercy", "northside", "clinic", "lakeview"]
SHARES = (0.5, 0.3, 0.13, 0.07)
ROUNDS = 20

Model = dict[str, Any]


def step(model: Model, rows: tuple[Any, Any]) -> tuple[Model, int]:
    """One step of logistic regression in NumPy, and the number of rows behind it."""
    x, y = rows
    error = 1 / (1 + np.exp(-(x @ model["weights"] + model["bias"]))) - y
    return {
        "weights": model["weights"] - 0.5 * (x.T @ error / len(x) + 0.01 * model["weights"]),
        "bias": model["bias"] - 0.5 * error.mean(),
    }, len(x)


def accuracy(model: Model, x: Any, y: Any) -> float:
    return float(np.mean((x @ model["weights"] + model["bias"] > 0) == (y == 1)))


def party(session: silo.Session, rows: tuple[Any, Any, Any, Any]) -> dict[str, float]:
    train_x, test_x, train_y, test_y = rows
    start = {"weights": np.zeros(train_x.shape[1]), "bias": np.zeros(())}

    centre, spread = train_x.mean(axis=0), train_x.std(axis=0)
    alone: Model = start
    for _ in range(ROUNDS):
        alone, _ = step(alone, ((train_x - centre) / spread, train_y))

    pooled = silo.moments(session, train_x)  # mean and deviation of all rows; nobody shows a row
    model = silo.Function(start, step)
    trained = silo.train(
        session, model, (pooled.apply(train_x), train_y), algorithm=silo.FedAvg(rounds=ROUNDS)
    )
    return {
        "rows": len(train_x),
        "alone": accuracy(alone, (test_x - centre) / spread, test_y),
        "together": accuracy(trained.parameters, pooled.apply(test_x), test_y),
    }


def main() -> None:
    x, y = load_breast_cancer(return_X_y=True)
    # Unlike patients: the hospitals differ in how large the tumours are that they see.
    order = np.argsort(x[:, 0] + np.random.default_rng(0).normal(0, 6, len(x)))
    cuts = np.cumsum([int(share * len(x)) for share in SHARES])[:-1]
    parts = [train_test_split(x[i], y[i], test_size=0.34, random_state=0) for i in np.split(order, cuts)]

    results = silo.simulate(NAMES, party, parts, clip=4.0, rows=1000)
    print(f"{'':10} rows   alone   federated")
    for name, one in results.items():
        print(f"{name:10} {one['rows']:4}   {one['alone']:.3f}   {one['together']:.3f}")
    mean = {key: np.mean([one[key] for one in results.values()]) for key in ("alone", "together")}
    print(f"{'mean':15}   {mean['alone']:.3f}   {mean['together']:.3f}")


if __name__ == "__main__":
    main()
