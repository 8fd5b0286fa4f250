"""Three organisations add numbers that none of them shows: a sum, a mean, and a weighted mean of a model.

Run `python examples/secagg_three_silos.py`. All three and the relay are in this one process; the last lines show what
one of them sent, and what the relay saw of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import silo
from silo.transport.memory import Hub

ADMITTED = {"mercy": [12, 7, 3], "northside": [30, 22, 9], "clinic": [4, 1, 0]}


def party(session: silo.Session, admitted: list[int]) -> dict[str, Any]:
    """What each organisation runs; only masked vectors leave it."""
    patients = sum(admitted)
    model = {"weights": np.array(admitted) / 30, "bias": 0.5}
    return {
        "sum": session.sum(np.array(admitted)),  # integers are exact
        "mean": session.mean(np.array(admitted)),
        "model": session.mean(model, weight=patients),  # weights stay as secret as the values
        "error": session.last.error if session.last else 0.0,
    }


def main() -> None:
    uploads: list[bytes] = []

    def listen(sender: str, recipient: str, payload: bytes) -> None:
        if sender == "mercy" and b"Upload" in payload[:400]:
            uploads.append(payload)

    results = silo.simulate(list(ADMITTED), party, ADMITTED, hub=Hub(tamper=listen), rows=100)
    everybody = results["mercy"]
    print("sum over all three:  ", everybody["sum"])
    print("mean:                ", everybody["mean"].round(3))
    print(
        "weighted mean:       ", everybody["model"]["weights"].round(6), everybody["model"]["bias"].round(6)
    )
    print("error at most:       ", f"{everybody['error']:.1e}")
    print("mercy put in:        ", ADMITTED["mercy"])
    print("the relay saw:       ", np.frombuffer(uploads[0][-12:], "<u4"))


if __name__ == "__main__":
    main()
