"""Trains in a child process and kills it at a random point, many times; prints what was drawn and what was charged.

The parent has torch loaded, and each child is a fork of it: real processes, killed by SIGKILL.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

import silo
from silo.privacy.ledger import Ledger
from silo.training.private import optimizer

torch.set_num_threads(1)


def train(folder: Path) -> None:
    drawn = os.open(folder / "drawn", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    true_gaussian = optimizer.gaussian

    def gaussian(*args: object, **options: object) -> object:
        os.write(drawn, b".")  # before the noise exists
        return true_gaussian(*args, **options)  # type: ignore[arg-type]

    optimizer.gaussian = gaussian  # type: ignore[assignment]
    model = torch.nn.Linear(4, 2)
    x, y = torch.randn(64, 4), torch.randint(0, 2, (64,))
    privacy = silo.DPSGD(sampling=0.2, steps=400, clip=1.0, lot=12.0, noise_multiplier=400.0, chunk=3)
    silo.fit_private(model, (x, y), privacy=privacy, ledger=folder / "ledger.db")


def main() -> None:
    folder, times = Path(sys.argv[1]), int(sys.argv[2])
    with Ledger.open(folder / "ledger.db") as book:
        book.add("rows", silo.Budget(1.0, 1e-5))
    # Once here, so that the children find everything loaded and their lives are training only.
    warm = folder / "warm"
    warm.mkdir()
    with Ledger.open(warm / "ledger.db") as book:
        book.add("rows", silo.Budget(1.0, 1e-5))
    train(warm)
    source = random.Random(1)
    for number in range(times):
        # Every fourth dies while it begins, the others in the midst of training, however slow the machine is.
        if number % 4:
            train_once(folder, source.randrange(60), source.uniform(0.0, 0.02))
        else:
            train_once(folder, 0, source.uniform(0.0, 0.2))
    with Ledger.open(folder / "ledger.db") as book:
        reserved = list(book.books.reservations.values())
        print(
            json.dumps(
                {
                    "drawn": (folder / "drawn").stat().st_size,
                    "charged": sum(one.charged for one in reserved),
                    "unclosed": sum(one.executed is None for one in reserved),
                    "reservations": len(reserved),
                }
            )
        )


def train_once(folder: Path, draws: int, more: float) -> None:
    """Kill a child some moments, `more` seconds, after it drew noise so often."""
    file = folder / "drawn"
    before = file.stat().st_size if file.exists() else 0
    child = os.fork()
    if child == 0:
        try:
            train(folder)
        finally:
            os._exit(0)
    while draws and (file.stat().st_size if file.exists() else 0) - before < draws:
        if os.waitpid(child, os.WNOHANG)[0]:
            return
        time.sleep(0.0005)
    time.sleep(more)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


if __name__ == "__main__":
    main()
