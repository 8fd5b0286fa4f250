"""One member of the end-to-end tests. Words: KEY=VALUE, see `run` and `faults`.

home      folder of this member's notes (log.jsonl, final.npz, marks)
rounds    of training; size and start of the model
gate      K:FILE  after round K wait until FILE exists (`epoch`: until the relay is another process)
raise     K  in the K-th round raise ValueError(text)
mode      train, or mean: sums in a loop that goes on after a round with too few
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faults
import models
import numpy as np

import silo
from silo.errors import UpdateReused

_MOST = 150.0


def run(session: Any, *words: str) -> str:
    want = {word.partition("=")[0]: word.partition("=")[2] for word in words}
    home = Path(want["home"])
    home.mkdir(exist_ok=True)
    faults.arrange(want, home / "killed")
    notes = _Notes(home / "log.jsonl")
    notes(joined=session.me)
    try:
        return {"train": _train, "mean": _mean}[want.get("mode", "train")](session, want, home, notes)
    finally:
        notes(gone=dict(session.seat.gone))


class _Notes:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, **facts: Any) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(facts) + "\n")


def _train(session: Any, want: dict[str, str], home: Path, notes: _Notes) -> str:
    model = models.model(int(want.get("size", 0)), float(want.get("start", 0.0)))
    fit, calls = model.fit, 0

    def counted(data: Any, **how: Any) -> float:
        nonlocal calls
        calls += 1
        if calls == int(want.get("raise", 0)):
            raise ValueError(want["text"])
        return float(fit(data, **how))

    model.fit = counted

    def on_round(report: Any) -> None:
        notes(round=report.round, survivors=list(report.survivors))
        _gate(session, want, report.round)

    trained = silo.train(
        session,
        model,
        models.rows(session.me),
        algorithm=silo.FedAvg(rounds=int(want["rounds"]), epochs=models.EPOCHS, learning_rate=models.RATE),
        checkpoint_path=home / "checkpoint.npz",
        on_round=on_round,
    )
    np.savez(home / "final.npz", **trained.parameters)
    notes(failed=trained.failed)
    return "trained"


def _mean(session: Any, want: dict[str, str], home: Path, notes: _Notes) -> str:
    attempt, means = 0, []
    while len(means) < int(want["rounds"]):
        # Another value at each try: an update that left is never sent again.
        value = np.full(4, 0.1 * len(means) + 0.001 * attempt)
        try:
            means.append(float(session.mean(value)[0]))
            notes(mean=means[-1], survivors=list(session.last.survivors))
            attempt = 0
        except silo.TooFewParties as problem:
            attempt += 1
            notes(code=problem.code, missing=list(problem.missing), said=str(problem))
            _wait(Path(want["back"]).exists)
        except UpdateReused:
            attempt += 1
    np.savez(home / "final.npz", means=np.array(means))
    return "summed"


def _gate(session: Any, want: dict[str, str], number: int) -> None:
    place, _, file = want.get("gate", "0").partition(":")
    if number != int(place):
        return
    before = session.seat.endpoint.epoch
    Path(want["home"], "gate").touch()
    _wait((lambda: session.seat.endpoint.epoch != before) if file == "epoch" else Path(file).exists)


def _wait(ready: Callable[[], bool]) -> None:
    until = time.monotonic() + _MOST
    while not ready():
        if time.monotonic() > until:
            raise TimeoutError("the gate was never opened")
        time.sleep(0.02)
