"""Time and bytes per weight of the four sums against the size of the model: a table, and a plot as SVG.

Run `python benchmarks/sum_cost.py [--most 6] [--plot sum-cost.svg]` (needs the extras he and report). Three parties in
one process take part in a mean; the time is that of the whole round, the bytes those that one party sends. 10^6 weights
take a minute and a half, nearly all of it Paillier's; 10^7 a quarter of an hour.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

import silo

PROTOCOLS = ("masking", "ckks", "lattice", "paillier")
PARTIES = ["ada", "bob", "cyd"]


def measure(protocol: str, length: int) -> tuple[float, float]:
    """Seconds of a round, and bytes that a party sends in it."""
    values = np.random.default_rng(1).uniform(-1, 1, length).astype(np.float32)
    clock: dict[str, list[tuple[float, float]]] = {}

    def party(session: silo.Session) -> int:
        session.mean(np.zeros(1))  # everybody is here, and keys and tables are made
        before = session.seat.endpoint.traffic.bytes_sent
        begun = time.perf_counter()
        session.mean(values)
        clock.setdefault("spans", []).append((begun, time.perf_counter()))
        return int(session.seat.endpoint.traffic.bytes_sent - before)

    sent = silo.simulate(PARTIES, party, protocol=protocol, rows=1000)
    spans = clock["spans"]
    return max(end for _, end in spans) - min(begin for begin, _ in spans), float(sent["bob"])


def plot(found: dict[str, list[tuple[int, float, float]]], path: str) -> None:
    """Both figures, in logarithms."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (title, unit) in enumerate(
        (("Time", "microseconds per weight"), ("Bytes sent", "bytes per weight"))
    ):
        axes: Any = figure.add_subplot(1, 2, place + 1)
        for protocol, rows in found.items():
            sizes = [size for size, _, _ in rows]
            values = [(seconds * 1e6 if place == 0 else size_) / size for size, seconds, size_ in rows]
            axes.loglog(sizes, values, marker="o", label=protocol)
        axes.set(title=title, xlabel="weights", ylabel=unit)
        axes.grid(visible=True, which="major", alpha=0.3)
        axes.legend()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=6, help="the largest model has 10^MOST weights")
    parser.add_argument("--plot", default="sum-cost.svg")
    options = parser.parse_args()
    found: dict[str, list[tuple[int, float, float]]] = {}
    print(f"{'weights':>10}  {'protocol':9}  {'seconds':>8}  {'us/weight':>9}  {'bytes/weight':>12}")
    for power in range(3, options.most + 1):
        for protocol in PROTOCOLS:
            length = 10**power
            seconds, sent = measure(protocol, length)
            found.setdefault(protocol, []).append((length, seconds, sent))
            print(
                f"{length:>10}  {protocol:9}  {seconds:8.3f}  {seconds / length * 1e6:9.3f}  {sent / length:12.2f}",
                flush=True,
            )
    plot(found, options.plot)
    print(f"written to {options.plot}")


if __name__ == "__main__":
    main()
