"""What each hospital runs; the members agreed on this file, byte by byte.

silo join hospital_script.py --charter charter.toml --identity keys/mercy -- mercy.npz out.npz logistic
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import silo
from silo.demo import data, learners
from silo.demo.recorded import Recorded
from silo.demo.settings import SETTINGS


def run(session: silo.Session, rows: str, out: str, model: str, settings: str) -> Any:
    """Standardize with the pooled mean, train together, write this hospital's own results to `out`."""
    hospital = data.read(Path(rows))
    chosen = SETTINGS[settings]
    moments = silo.moments(session, hospital.train_x)
    train_x, test_x = moments.apply(hospital.train_x), moments.apply(hospital.test_x)
    own = Recorded(learners.make(model, train_x.shape[1], chosen))
    rounds: list[dict[str, float]] = []
    trained = silo.train(
        session,
        own,
        (train_x, hospital.train_y),
        algorithm=chosen.algorithm,
        checkpoint_path=Path(out).with_suffix(".checkpoint"),
        on_round=lambda report: rounds.append({"round": report.round, "seconds": report.seconds}),
    )
    correct = learners.predict(own.learner, test_x) == hospital.test_y
    arrays = {f"parameter:{key}": value for key, value in trained.parameters.items()}
    arrays |= {"correct": correct, "sent": np.array(own.sent), "mean": moments.mean, "std": moments.std}
    np.savez(out, allow_pickle=False, **arrays)
    return {
        "hospital": session.me,
        "rounds": rounds,
        "failed": trained.failed,
        "accuracy": float(correct.mean()),
    }
