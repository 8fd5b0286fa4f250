"""One member of a vertical linear model in the end-to-end tests. Words: KEY=VALUE, see `run` and `faults`.

home      folder of this member's notes (final.npz, marks) and of its checkpoint
rows      of its table; the first member by name has the labels
columns   of each member
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faults
import joint_rows
import numpy as np

import silo
from silo.protocols.vertical.linear import label
from silo.protocols.vertical.linear.search import LabelState


def run(session: Any, *words: str) -> str:
    want = {word.partition("=")[0]: word.partition("=")[2] for word in words}
    home = Path(want["home"])
    home.mkdir(exist_ok=True)
    faults.arrange(want, home / "killed")
    # Two fits are equal to the last bit only where their residuals were rounded alike.
    label.LabelState = lambda seed: LabelState(b"s" * len(seed))  # type: ignore[assignment,misc]
    x, y = joint_rows.table(session.members, session.me, int(want.get("rows", 300)))
    model = silo.vertical.LogisticRegression(session, tol=1e-7, checkpoint=home).fit(x, y)
    scores = model.predict_proba(x)
    shown = np.zeros(0) if scores is None else scores
    np.savez(home / "final.npz", coef=model.coef_, intercept=model.intercept_, scores=shown)
    return "fitted"
