"""Measure sides alternately in one run, so that what else the machine does falls on all of them alike.

The order turns at every repeat (A B, B A, …), so that neither side always runs on the other's warm caches or
after its heat. The garbage collector is off meanwhile. Medians are compared, and the spread is kept beside.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from silo.errors import ParameterError


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one side: seconds on the clock, and seconds that its process was on a core."""

    wall: float
    cpu: float


Side = Callable[[], Run]
"""Does the work once and says how long it took; a side in another process measures itself."""


@dataclass(frozen=True, slots=True)
class Timing:
    """All runs of one side."""

    runs: tuple[Run, ...]

    @property
    def median(self) -> float:
        """Seconds."""
        return median(run.wall for run in self.runs)

    @property
    def low(self) -> float:
        return min(run.wall for run in self.runs)

    @property
    def high(self) -> float:
        return max(run.wall for run in self.runs)

    @property
    def spread(self) -> float:
        """From the fastest run to the slowest, as a part of the median."""
        return (self.high - self.low) / self.median

    @property
    def cores(self) -> float:
        """Cores that the side had on average: clearly below 1 means that it waited for somebody else."""
        return sum(run.cpu for run in self.runs) / sum(run.wall for run in self.runs)

    def to_json(self) -> dict[str, float | int]:
        """Seconds, the spread as a part of the median, cores in use, and how many runs there were."""
        return {
            "median": self.median,
            "low": self.low,
            "high": self.high,
            "spread": self.spread,
            "cores": self.cores,
            "runs": len(self.runs),
        }


def timed(work: Callable[[], object]) -> Side:
    """Make a side of a function of this process."""

    def side() -> Run:
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        return Run(time.perf_counter() - wall, time.process_time() - cpu)

    return side


def alternate(sides: Sequence[Side], *, repeats: int, warm_up: int = 1) -> tuple[Timing, ...]:
    """Run all sides in turn, `repeats` times after `warm_up` times that do not count.

    Returns one timing per side. Raises `ParameterError` for no repeat.
    """
    if repeats < 1 or warm_up < 0:
        raise ParameterError(f"a measurement is repeated at least once, not {repeats} times")
    runs: list[list[Run]] = [[] for _ in sides]
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for turn in range(warm_up + repeats):
            order = range(len(sides)) if turn % 2 == 0 else reversed(range(len(sides)))
            for place in order:
                run = sides[place]()
                if turn >= warm_up:
                    runs[place].append(run)
    finally:
        if collecting:
            gc.enable()
    return tuple(Timing(tuple(one)) for one in runs)
