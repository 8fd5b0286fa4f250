"""What members agree on and run: `silo join train.py rows.csv --charter charter.toml --identity keys/NAME`.

`run` gets the session, and what stands behind the script as text. Run `python examples/train.py` to try it in one
process, with made-up rows.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import silo
from silo.training.linear import LogisticRegression


def run(session: silo.Session, path: str) -> dict[str, Any]:
    """Each row of the file: numbers, the last one 0 or 1."""
    table = np.loadtxt(path, delimiter=",")
    x, y = silo.standardize(session, table[:, :-1]), table[:, -1]
    model = LogisticRegression(x.shape[1])
    silo.train(session, model, (x, y), algorithm=silo.FedAvg(rounds=10, epochs=2, learning_rate=0.5))
    return {"rows": int(session.sum(len(x))), "accuracy here": model.score(x, y)}


def main() -> None:
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, size in enumerate((60, 40, 90)):
            x = rng.normal(50, 10, size=(size, 4))
            y = x @ [1, -1, 0.5, 0] > 25
            paths.append(str(Path(folder) / f"rows-{number}.csv"))
            np.savetxt(paths[-1], np.column_stack([x, y]), delimiter=",")
        for name, result in silo.simulate(
            ["mercy", "northside", "clinic"], run, paths, clip=4.0, rows=1000
        ).items():
            print(name, result)


if __name__ == "__main__":
    main()
