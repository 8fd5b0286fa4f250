"""Benchmarks: each row is one bar, a value beside the peer or the limit that it was measured against.

A benchmark is a module of this package with a tuple `MEASUREMENTS` of functions from
`Settings` to an iterator of `Row`s.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from silo.bench.measure import Timing
from silo.errors import ParameterError

BENCHES: Final = {
    "secagg": "the masked sum: masks, encoding, bytes and shares",
    "he": "sums under Paillier, CKKS and the lattice, beside other libraries",
    "psi": "intersections of identifiers, beside another library and over the relay",
    "vertical": "linear models and boosting over columns of several members, over the relay",
    "split": "an epoch of a split network over the relay, beside one process",
    "ledger": "the ledger of privacy: append, verify, and its gate",
    "dp": "a step of private training, against plain Opacus",
    "utility": "what accuracy a privacy budget buys",
}
"""Name and one line of each benchmark; `silo.bench.NAME` is its module, imported when it is run."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is measured: values per vector, and how often each side runs."""

    length: int = 10**7
    repeats: int = 11
    slow_repeats: int = 11
    """For sides that take seconds."""
    identifiers: int = 100_000
    """Rows of each list that is intersected beside another library."""
    rows: int = 1_000_000
    """Rows of each list that is intersected over the relay."""
    fitted: int = 30_000
    """Rows of the linear models."""
    boosted: int = 41_188
    """Rows that are boosted."""
    trees: int = 8
    """Trees that are grown."""
    split: int = 24_000
    """Rows that a split network learns from."""
    appends: int = 300
    """Reservations that are made and closed."""
    records: int = 1000
    """Records of the ledger that is verified."""
    runs: int = 200
    """Different events in the ledger whose gate is measured."""
    steps: int = 48
    """Steps of training in one run of a side."""
    seeds: int = 5
    """Splits into train and test."""
    images: int = 60_000
    """Images to train on, at most."""
    data: Path | None = None
    """The folder of the UCI heart data."""
    fashion: Path | None = None
    """The folder of Fashion-MNIST; None is where Debian puts it."""

    @classmethod
    def quick(cls) -> Settings:
        """A tenth of the work. The bars are meant for the whole of it."""
        return cls(
            length=10**6,
            repeats=5,
            slow_repeats=3,
            identifiers=10_000,
            rows=100_000,
            fitted=3_000,
            boosted=4_000,
            trees=2,
            split=6_000,
            appends=30,
            records=100,
            runs=20,
            steps=16,
            seeds=2,
            images=6_000,
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One bar. `value` is None where it could not be measured: `note` says why, and the bar does not hold.

    `sides` are the timings that the value was computed from.
    """

    name: str
    value: float | None
    unit: str
    against: str
    bound: float
    direction: Literal["at most", "at least"]
    sides: Mapping[str, Timing] = field(default_factory=dict)
    note: str = ""

    @property
    def holds(self) -> bool:
        if self.value is None:
            return False
        return self.value <= self.bound if self.direction == "at most" else self.value >= self.bound

    def to_json(self) -> dict[str, Any]:
        """The row as programs read it; seconds in `sides`."""
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "against": self.against,
            "bound": self.bound,
            "direction": self.direction,
            "holds": self.holds,
            "sides": {label: timing.to_json() for label, timing in self.sides.items()},
            "note": self.note,
        }


Measurement = Callable[[Settings], Iterator[Row]]


def measurements(name: str) -> tuple[Measurement, ...]:
    """The measurements of a benchmark, in order.

    Raises `ParameterError` for one that is not there, or that needs what is not installed.
    """
    if name not in BENCHES:
        raise ParameterError(f"there is no benchmark {name[:40]!r}: choose from {', '.join(BENCHES)}")
    try:
        # The name comes from the table above, never from the user.
        found: tuple[Measurement, ...] = importlib.import_module(f"silo.bench.{name}").MEASUREMENTS
    except ModuleNotFoundError as problem:
        raise ParameterError(
            f"the benchmark {name} needs {problem.name}: run `pip install '.[dp,demo,bench-he,bench-psi]'` "
            f"in Silo's source folder, or `make bench BENCH={name}`"
        ) from None
    return found
