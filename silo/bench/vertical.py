"""Vertical models over the relay: processes of their own, mutual TLS, made-up columns of the real data's shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from silo.bench import Row, Settings
from silo.bench.processes import FIT, Measured, federation

HOST_COLUMNS: Final = 10
"""As in the credit data: 30,000 rows x (13 + 10)."""
BOOSTED_COLUMNS: Final = 20
_PASSES: Final = 8


def fit(
    model: str, scheme: str, *, rows: int, columns: int, most: int, members: int = 2
) -> tuple[Measured, float]:
    """A fit among processes, and the seconds of a pass or tree, key and roll call included."""
    told = federation(members, rows, most, protocol=f"{FIT}:{model}:{scheme}:{columns}")
    ((begun, ended),) = told.spans.values()
    return told, (ended - begun) / max(1, told.done)


def linear(settings: Settings) -> Iterator[Row]:
    """A pass of a logistic regression: encrypt, multiply, open, show, search."""
    rows, name = settings.fitted, "a pass of a logistic regression"
    seconds = {}
    for scheme, passes in (("lattice", _PASSES), ("paillier", 2)):
        told, seconds[scheme] = fit("linear", scheme, rows=rows, columns=HOST_COLUMNS, most=passes)
        if scheme == "lattice":
            sent, done = sum(told.sent.values()), told.done
            memory = max(told.memory.values())
    shape = f"{rows:,} rows x (13 + {HOST_COLUMNS}), two processes over the relay"
    note = f"with Paillier {seconds['paillier']:.2f} s; {sent / done / 1e6:.2f} MB a pass, {memory / 2**20:.0f} MiB"
    bound = 1.0 * rows / 30_000
    yield Row(f"{name}, lattice", seconds["lattice"], "s", shape, bound, "at most", note=note)
    ratio = seconds["paillier"] / seconds["lattice"]
    yield Row(f"{name}, lattice against Paillier", ratio, "times as fast", shape, 1.0, "at least")


def boosting(settings: Settings) -> Iterator[Row]:
    """A tree of depth 4 and 32 bins, all of whose columns at one other member are encrypted sums."""
    rows, seconds = settings.boosted, {}
    for scheme, trees in (
        ("okamoto-uchiyama/2048", settings.trees),
        ("okamoto-uchiyama/3072", 1),
        ("paillier/2048", 1),
    ):
        _, seconds[scheme] = fit("boosting", scheme, rows=rows, columns=BOOSTED_COLUMNS, most=trees)
    shape = f"{rows:,} rows x {BOOSTED_COLUMNS} columns of the other, depth 4, 32 bins, two processes"
    note = (
        f"Okamoto-Uchiyama of 2048 bits; of 3072, key and first tree, {seconds['okamoto-uchiyama/3072']:.1f} s; "
        f"Paillier of 2048 {seconds['paillier/2048']:.1f} s"
    )
    bound = 6.0 * rows / 41_188
    yield Row("a tree of boosting", seconds["okamoto-uchiyama/2048"], "s", shape, bound, "at most", note=note)


MEASUREMENTS = (linear, boosting)
