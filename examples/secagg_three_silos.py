"""Three organisations add numbers that none of them shows: run `python examples/secagg_three_silos.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

import silo
from silo.transport.memory import Hub

ADMITTED = {"mercy": [12, 7, 3], "northside": [30, 22, 9], "clinic": [4, 1, 0]}
WEIGHTS = {"mercy": 22, "northside": 61, "clinic": 5}


def party(session: silo.Session, admitted: list[int]) -> dict[str, Any]:
    """What each organisation runs; only masked vectors leave it."""
    total = session.sum(np.array(admitted))  # integers are exact
    update = {"w": np.array(admitted) / 30, "b": 0.5}
    mean = session.mean(update, weight=WEIGHTS[session.me])  # weights stay as secret as the values
    return {"total": total, "w": mean["w"], "error": session.last.error if session.last else 0.0}


def main() -> None:
    seen: list[bytes] = []

    def listen(sender: str, recipient: str, payload: bytes) -> None:
        if sender == "mercy" and b"Upload" in payload[:400]:
            seen.append(payload)

    hub = Hub(tamper=listen)
    results = silo.simulate(list(ADMITTED), party, ADMITTED, hub=hub, rows=1000)
    print("sum over all three:   ", results["mercy"]["total"])
    print("weighted mean:        ", results["mercy"]["w"].round(6))
    print("error at most:        ", f"{results['mercy']['error']:.1e}")
    words = np.frombuffer(seen[0][-12:], "<u4")
    print("mercy sent:           ", ADMITTED["mercy"], "and the relay saw", words)


if __name__ == "__main__":
    main()
