"""What a member's line says of rounds and of the time that is left."""

from __future__ import annotations

import pytest

from silo import progress
from silo.driver import Watch
from silo.progress import Progress


def line(shown: Progress, round: int, step: str = "uploads", waiting: tuple[str, ...] = ()) -> str:
    return shown._line(Watch(round, step, waiting, ()))


def test_time_is_told_by_whole_rounds_and_as_a_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    shown = Progress(4, lambda: 2_500_000, _begun=100.0)
    now[0] += 60
    # A fit is one round, however long it takes.
    assert line(shown, 1, "activations", ("birch",)) == (
        "round 1 of at most 4, activations, waiting for birch; 2.5 MB sent"
    )
    now[0] += 20
    assert line(shown, 2).endswith("MB sent, at most about 240 s left")
    now[0] += 1000
    assert line(shown, 2).endswith("MB sent, at most about 240 s left")
    assert line(shown, 5) == "round 5 of at most 4, uploads; 2.5 MB sent"


def test_nobody_knows_how_many_rounds() -> None:
    assert line(Progress(), 3) == "round 3, uploads; 0.0 MB sent"
