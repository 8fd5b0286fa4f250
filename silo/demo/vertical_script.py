"""What each organisation runs in `silo demo bank` and `credit`; the members agreed on this file, byte by byte.

silo join vertical_script.py --charter charter.toml --identity keys/bank -- bank.csv bank linear,boosting full label
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import silo
from silo import csv_table
from silo.demo import vertical_data, vertical_features
from silo.demo.vertical_models import estimator, working


def run(session: silo.Session, table: str, out: str, models: str, setting: str, label: str = "") -> Any:
    """Find the common rows, fit each model on four fifths of them, score the rest; `label` names the own label column.

    Parts of the models go to OUT-MODEL.json, and at the label party the test rows' scores to OUT.npz.
    """
    rows = csv_table.read(table)
    ids = np.array(rows.text(vertical_data.ID))
    common = session.intersect(ids, column=f"column {vertical_data.ID}")
    ids = ids[common]
    held_out = np.array([vertical_data.is_test(one) for one in ids], bool)
    raw = rows.matrix(one for one in rows.names if one not in (vertical_data.ID, label))[common]
    y = rows.matrix([label])[common, 0].astype(int) if label else None
    traffic = session.seat.endpoint.traffic
    facts: dict[str, Any] = {}
    scores: dict[str, Any] = {}
    for kind in models.split(","):
        x = vertical_features.prepare(kind, raw, ~held_out)
        model = estimator(kind, session, setting)
        begun, up, down = time.monotonic(), traffic.bytes_sent, traffic.bytes_received
        with warnings.catch_warnings(record=True) as told, working(setting):
            warnings.simplefilter("always")
            model.fit(x[~held_out], None if y is None else y[~held_out], ids=ids[~held_out])
        fitted = time.monotonic()
        found = model.predict_proba(x[held_out])
        facts[kind] = {
            "columns": x.shape[1],
            "steps": model.n_iter_,
            "seconds": round(fitted - begun, 3),
            "scoring_seconds": round(time.monotonic() - fitted, 3),
            "up": traffic.bytes_sent - up,
            "down": traffic.bytes_received - down,
            "warnings": [str(one.message) for one in told],
        }
        if found is not None:
            scores[kind] = found[:, 1]
        model.save(f"{out}-{kind}.json")
    if y is not None:
        np.savez(Path(f"{out}.npz"), allow_pickle=False, ids=ids[held_out], labels=y[held_out], **scores)
    return {"common": len(ids), "train": int((~held_out).sum()), "test": int(held_out.sum()), "models": facts}
