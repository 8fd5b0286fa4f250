"""The ledger's figures: what a reservation costs, what an audit costs, and what the gate costs after many runs.

All on real files, in the folder for temporary files (TMPDIR), flushed to its disk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

from silo.bench import Measurement, Row, Settings
from silo.bench.measure import Run, alternate, timed
from silo.privacy import verify
from silo.privacy.account import Account
from silo.privacy.budget import Budget
from silo.privacy.events import Event, Gaussian, PoissonSampled
from silo.privacy.ledger import Ledger

_BUDGET: Final = Budget(100.0, 1e-5)
_STEPS: Final = 100
_PURPOSE: Final = "training"
_STRANGERS: Final = 5000
"""Events from this number on belong to no run of the measured ledger."""


def append(settings: Settings) -> Iterator[Row]:
    """Reserve and close, beside as many bare appends to a file on the same disk."""
    with _account() as account:
        event = _event(0)

        def pair() -> None:
            account.reserve(event, purpose=_PURPOSE).close()

        with (account.ledger.path.parent / "bare").open("wb") as file:

            def bare() -> None:
                for _ in range(2):
                    file.write(bytes(1024))
                    file.flush()
                    os.fsync(file.fileno())

            pairs, writes = alternate([timed(pair), timed(bare)], repeats=settings.appends, warm_up=5)
    yield Row(
        name="append: reserve and close",
        value=pairs.median * 1000,
        unit="ms",
        against="a fixed bar",
        bound=5.0,
        direction="at most",
        sides={"reserve and close, two records": pairs, "two bare writes of 1 KiB with fsync": writes},
        note=f"{pairs.median * 500:.3g} ms a record, of which {writes.median * 500:.3g} ms are the disk's",
    )


def audit(settings: Settings) -> Iterator[Row]:
    """Verify with all signatures; then what the three accountants take beside it."""
    with _account() as account:
        event, path = _event(0), account.ledger.path
        while (made := account.ledger.head.head.sequence) < settings.records:
            account.reserve(event, purpose=_PURPOSE).close()

        def check() -> None:
            verify.verify(path)

        (checked,) = alternate([timed(check)], repeats=settings.repeats)
        verified = verify.verify(path)
        recomputed = timed(lambda: verify.recompute(verified.books))()
    yield Row(
        name=f"verify {made:,} records with signatures",
        value=checked.median,
        unit="s",
        against="a fixed bar",
        bound=2.0,
        direction="at most",
        sides={"verify": checked},
        note="recomputing epsilon of its one kind of run by three accountants, their libraries' start included: "
        f"{recomputed.wall:.2f} s more",
    )


def gate(settings: Settings) -> Iterator[Row]:
    """Ask, and reserve, for an event that no earlier run had; in an open ledger, and from nothing."""
    with _account() as account:
        for number in range(settings.runs):
            account.reserve(_event(number), _STEPS, purpose=_PURPOSE)
        fresh = (_event(number) for number in count(settings.runs))

        def ask() -> None:
            account.affords(next(fresh), _STEPS)

        def reserve() -> None:
            account.reserve(next(fresh), _STEPS, purpose=_PURPOSE).close()

        def anew() -> Run:
            return _in_a_new_process(account.ledger.path)

        asked, cold = alternate([timed(ask), anew], repeats=settings.repeats)
        reserved, _ = alternate([timed(reserve), timed(ask)], repeats=settings.repeats)
    for what, timing in (("asked", asked), ("reserved", reserved), ("opened and reserved anew", cold)):
        yield Row(
            name=f"gate with {settings.runs} different runs, {what}",
            value=timing.median,
            unit="s",
            against="a fixed bar",
            bound=1.0,
            direction="at most",
            sides={what: timing},
            note="a new process: every record read, checked and accounted for" if timing is cold else "",
        )


MEASUREMENTS: Final[tuple[Measurement, ...]] = (append, audit, gate)


@contextmanager
def _account() -> Iterator[Account]:
    with (
        tempfile.TemporaryDirectory(prefix="silo-bench-") as folder,
        Ledger.open(Path(folder) / "ledger.db") as ledger,
    ):
        yield ledger.add("rows", _BUDGET)


def _event(number: int) -> Event:
    """A step of one of many runs; no two are alike, all are small beside the budget."""
    return PoissonSampled(0.01 + 1e-6 * number, Gaussian(4.0 + 0.01 * number))


def _in_a_new_process(path: Path) -> Run:
    """Time the gate where nothing is cached; the interpreter's own start does not count."""
    done = subprocess.run(
        [sys.executable, "-c", f"from silo.bench import ledger; ledger.child({str(path)!r})"],
        capture_output=True,
        check=True,
        text=True,
    )
    wall, cpu = json.loads(done.stdout)
    return Run(wall, cpu)


def child(path: str) -> None:
    """In the new process: open, reserve, close; prints wall and processor seconds."""
    number = _STRANGERS + time.time_ns() % _STRANGERS
    cpu, wall = time.process_time(), time.perf_counter()
    with Ledger.open(path) as ledger:
        ledger.account("rows").reserve(_event(number), _STEPS, purpose=_PURPOSE).close()
    print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]))
