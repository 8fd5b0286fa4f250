"""A member of a split network; words: home=FOLDER, kill=N (this process dies in the Nth batch of its life)."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from silo.vertical import Noise, SplitNetwork
from silo.vertical.splitting.guided import GuidedTop
from silo.vertical.splitting.private_bottom import PrivateBottom

ROWS, EPOCHS, BATCH = 200, 4, 50


def run(session: Any, *words: str) -> dict[str, Any]:
    want = {word.partition("=")[0]: word.partition("=")[2] for word in words}
    home = Path(want["home"])
    home.mkdir(exist_ok=True)
    torch.set_num_threads(1)
    source = np.random.default_rng(1)
    x = {"ash": source.normal(size=(ROWS, 3)), "birch": source.normal(size=(ROWS, 2))}
    y = (x["ash"][:, 0] + x["birch"][:, 1] > 0).astype(int)
    leads = session.me == "ash"
    begun: list[int] = []
    if "kill" in want:
        dying(int(want["kill"]))
    for kind in (GuidedTop, PrivateBottom):
        noting(kind, begun)
    model = SplitNetwork(
        session,
        bottom=nn.Linear(x[session.me].shape[1], 4),
        top=nn.Linear(8, 1) if leads else None,
        epochs=EPOCHS,
        batch=BATCH,
        checkpoint=home / "checkpoints",
        gradients=Noise(8.0) if leads else None,
        activations=None if leads else Noise(8.0),
    )
    model.fit(x[session.me], y if leads else None)
    scores = model.predict_proba(x[session.me])
    return {"epochs": begun, "scores": None if scores is None else len(scores)}


def dying(nth: int) -> None:
    """Kill this process with the gradients of its Nth batch on their way."""
    count = 0
    step = GuidedTop.step

    def stepping(self: GuidedTop, rows: int) -> None:
        nonlocal count
        count += 1
        if count == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        step(self, rows)

    GuidedTop.step = stepping  # type: ignore[method-assign]


def noting(kind: Any, begun: list[int]) -> None:
    begin = kind.begin

    def beginning(self: Any, epoch: int) -> None:
        begun.append(epoch)
        begin(self, epoch)

    kind.begin = beginning
