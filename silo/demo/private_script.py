"""What each hospital runs under a privacy budget; the members agreed on this file, byte by byte.

silo join private_script.py --charter charter.toml --identity keys/mercy -- mercy.npz out.npz heart
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import silo
from silo.demo import data
from silo.demo.ranges import RANGES
from silo.demo.settings import PRIVATE, PRIVATE_ROUNDS


def run(session: silo.Session, rows: str, out: str, setting: str) -> Any:
    """Scale by public ranges, train together with differential privacy, test at home."""
    torch.set_num_threads(1)
    hospital = data.read(Path(rows))
    low, high = zip(*RANGES[setting].values(), strict=True)
    train_x = silo.standardize(session, hospital.train_x, low=low, high=high).astype(np.float32)
    test_x = silo.standardize(session, hospital.test_x, low=low, high=high).astype(np.float32)
    model = nn.Linear(train_x.shape[1], 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    silo.train(
        session,
        model,
        (train_x, hospital.train_y.astype(np.float32)[:, None]),
        algorithm=silo.FedAvg(rounds=PRIVATE_ROUNDS),
        loss=nn.functional.binary_cross_entropy_with_logits,
        privacy=PRIVATE,
    )
    with torch.no_grad():
        said = model(torch.from_numpy(test_x))[:, 0].numpy() > 0
    np.savez(out, allow_pickle=False, correct=said == (hospital.test_y > 0))
    return {"hospital": session.me}
