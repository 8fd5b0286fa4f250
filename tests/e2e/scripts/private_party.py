"""A member that trains with differential privacy; words: home=FOLDER, rounds=N."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

import silo


def run(session: Any, *words: str) -> dict[str, Any]:
    want = {word.partition("=")[0]: word.partition("=")[2] for word in words}
    home = Path(want["home"])
    home.mkdir(exist_ok=True)
    torch.set_num_threads(1)
    rounds = int(want["rounds"])
    source = np.random.default_rng(len(session.me))
    x = source.uniform(-1, 1, (40, 3)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    model = torch.nn.Linear(3, 2)
    torch.nn.init.zeros_(model.weight)
    torch.nn.init.zeros_(model.bias)
    privacy = silo.DPSGD(sampling=0.5, steps=2 * rounds, clip=1.0, lot=20.0, noise_multiplier=4.0)
    silo.train(
        session,
        model,
        (x, y),
        algorithm=silo.FedAvg(rounds=rounds),
        privacy=privacy,
        checkpoint_path=home / "checkpoint.npz",
    )
    return {"epsilon": session.policy.account.filter_epsilon()}
