"""Time of a pass and of a tree against rows, columns and members: a table, and a plot as SVG.

Run `python benchmarks/vertical_cost.py [--most 5] [--plot vertical-cost.svg]` (needs the extras vertical, he and
report). Each point is a fit among processes over the relay. 10^6 rows take some minutes.
"""

from __future__ import annotations

import argparse
from typing import Any

from silo.bench.vertical import fit

ROWS, COLUMNS, MEMBERS = 10_000, 10, 2
PASSES, TREES = 4, 1
Points = list[tuple[int, float]]


def measure(model: str, *, rows: int = ROWS, columns: int = COLUMNS, members: int = MEMBERS) -> float:
    """Seconds of a pass or of a tree."""
    scheme, most = ("lattice", PASSES) if model == "linear" else ("okamoto-uchiyama", TREES)
    return fit(model, scheme, rows=rows, columns=columns, most=most, members=members)[1]


def plot(found: dict[str, dict[str, Points]], path: str) -> None:
    """One picture for each of rows, columns and members."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (what, models) in enumerate(found.items()):
        axes: Any = figure.add_subplot(1, 3, place + 1)
        for model, points in models.items():
            label = "a pass of a linear model" if model == "linear" else "a tree of boosting"
            axes.loglog(*zip(*points, strict=True), marker="o", label=label)
        axes.set(title=f"against {what}", xlabel=what, ylabel="seconds")
        axes.grid(visible=True, which="major", alpha=0.3)
        axes.legend()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=5, help="the longest table has 10^MOST rows")
    parser.add_argument("--plot", default="vertical-cost.svg")
    options = parser.parse_args()
    swept: dict[str, list[int]] = {
        "rows": [10**power for power in range(3, options.most + 1)],
        "columns": [2, 5, 10, 20, 40],
        "members": [2, 3, 4, 6],
    }
    found: dict[str, dict[str, Points]] = {}
    print(f"{'against':>8}  {'value':>9}  {'pass, s':>9}  {'tree, s':>9}")
    for what, values in swept.items():
        found[what] = {"linear": [], "boosting": []}
        for value in values:
            both = [measure(model, **{what: value}) for model in ("linear", "boosting")]
            for model, seconds in zip(("linear", "boosting"), both, strict=True):
                found[what][model].append((value, seconds))
            print(f"{what:>8}  {value:>9,}  {both[0]:9.3f}  {both[1]:9.3f}", flush=True)
    plot(found, options.plot)
    print(f"written to {options.plot}")


if __name__ == "__main__":
    main()
