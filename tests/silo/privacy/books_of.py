"""What the tests of the ledger share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from silo.crypto.rng import SystemRng
from silo.identity import Identity
from silo.privacy import events
from silo.privacy.budget import Budget
from silo.privacy.ledger import Ledger

START = datetime(2026, 1, 1, tzinfo=UTC)
STEP = events.PoissonSampled(0.1, events.Gaussian(2.0))
"""One step costs a divergence of about .0145 at order 10: some 41 steps fit epsilon 1 at delta 1e-3."""


class Clock:
    """A clock that goes on by a second at every look."""

    def __init__(self, start: datetime = START) -> None:
        self.time = start

    def __call__(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time


def identity(folder: Path, name: str) -> Identity:
    return Identity.create(name, folder / name, passphrase=None, rng=SystemRng(), now=START)


@contextmanager
def ledger(folder: Path, **options: Any) -> Iterator[Ledger]:
    with Ledger.open(folder / "ledger.db", **options) as opened:
        if "rows" not in opened.books.datasets:
            opened.add("rows", Budget(1.0, 1e-3))
        yield opened
