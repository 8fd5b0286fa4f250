"""What a member of a boosting sends is no more than what it held against the task's cap before it sent anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import silo
from silo.vertical import GradientBoosting

NAMES = ("bank", "cards", "telecom")
ROWS = 800
DRAW = np.random.default_rng(8)
X = DRAW.normal(size=(ROWS, 9))
CLASSES = np.digitize(X.sum(axis=1) + DRAW.normal(size=ROWS), [-2.0, 2.0])


def told(session: silo.Session, work: Callable[[], Any]) -> tuple[int, int]:
    """What was sent while it worked, and the most that was asked for before."""
    asked: list[int] = []
    honest = session.check_leaving

    def listening(coming: int, rounds: int = 0) -> None:
        asked.append(coming)
        honest(coming, rounds=rounds)

    before = session.seat.endpoint.traffic.bytes_sent
    session.check_leaving = listening  # type: ignore[method-assign]
    work()
    session.check_leaving = honest  # type: ignore[method-assign]
    return session.seat.endpoint.traffic.bytes_sent - before, max(asked)


@pytest.mark.parametrize(
    ("who", "groups", "options"),
    [
        (NAMES[:2], 1, {"scheme": "paillier", "key_bits": 3072, "n_estimators": 1, "max_depth": 2}),
        (NAMES[:2], 1, {"key_bits": 2048, "n_estimators": 3, "max_depth": 5, "max_bins": 255}),
        (NAMES, 3, {"key_bits": 2048, "n_estimators": 1, "max_depth": 3, "goss": (0.3, 0.3)}),
    ],
    ids=["the largest ciphertexts", "many nodes and bins", "several classes and hosts"],
)
def test_no_more_is_sent_than_was_foreseen(who: Any, groups: int, options: dict[str, Any]) -> None:
    y = CLASSES if groups == 3 else CLASSES > 0
    parts = dict(zip(who, np.array_split(X, len(who), axis=1), strict=True))

    def work(session: silo.Session) -> dict[str, tuple[int, int]]:
        x = parts[session.me]
        model = GradientBoosting(session, **options)
        found = {"a fit": told(session, lambda: model.fit(x, y if session.me == "bank" else None))}
        for rows in (ROWS, 1):
            found[f"a scoring of {rows} rows"] = told(session, lambda rows=rows: model.predict(x[:rows]))
        return found

    words = {"two_party": silo.TWO_PARTY_WORDS} if len(who) == 2 else {}
    found = silo.simulate(who, work, **words)
    for name, spent in found.items():
        for what, (sent, most) in spent.items():
            assert 0 < sent <= most, f"{name} sent {sent} bytes in {what} and asked for {most}"
    sent, most = found["bank"]["a fit"]
    assert sent > most / 10, "what is foreseen of the rows is so much that it says nothing"
