"""One member of boosted trees in the end-to-end tests. Words: KEY=VALUE, see `run` and `faults`.

home   folder of this member's notes (final.npz, marks) and of its checkpoint
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faults
import joint_rows
import numpy as np

import silo


def run(session: Any, *words: str) -> str:
    want = {word.partition("=")[0]: word.partition("=")[2] for word in words}
    home = Path(want["home"])
    home.mkdir(exist_ok=True)
    faults.arrange(want, home / "killed")
    x, y = joint_rows.table(session.members, session.me, 300)
    model = silo.vertical.GradientBoosting(
        session, n_estimators=3, max_depth=2, key_bits=2048, checkpoint=home
    ).fit(x, y)
    scores = model.predict_proba(x)
    part = model.model_ or model.part_
    splits = [split for tree in part.splits for split in tree]
    np.savez(
        home / "final.npz",
        columns=np.array([split.column for split in splits]),
        left=np.array([split.table for split in splits]),
        leaves=np.concatenate([tree.values for tree in model.model_.trees]) if model.model_ else np.zeros(0),
        scores=np.zeros(0) if scores is None else scores,
    )
    return "fitted"
