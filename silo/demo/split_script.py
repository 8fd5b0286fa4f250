"""What each organisation runs in `silo demo split`; the members agreed on this file, byte by byte.

silo join split_script.py --charter charter.toml --identity keys/lender -- lender.csv lender credit 0 label
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import silo
from silo import csv_table
from silo.demo import split_models, vertical_data, vertical_features
from silo.vertical import SplitNetwork


def run(session: silo.Session, table: str, out: str, kind: str, place: str, label: str = "") -> Any:
    """Fit on four fifths of the rows, which all have in one order, and score the rest; `label` names the label column.

    The part goes to OUT-split.json, and at the label party the test rows' scores to OUT.npz, and what the leak meter
    reads to OUT-leak.html.
    """
    torch.set_num_threads(1)
    rows = csv_table.read(table)
    ids = np.array(rows.text(vertical_data.ID))
    held_out = np.array([vertical_data.is_test(one) for one in ids], bool)
    raw = rows.matrix(one for one in rows.names if one not in (vertical_data.ID, label))
    y = rows.matrix([label])[:, 0].astype(int) if label else None
    x = vertical_features.linear(raw, ~held_out)
    network = split_models.NETWORKS[kind]
    own: dict[str, Any] = {}
    if y is not None:
        own = {"top": network.top(), "gradients": split_models.NOISE, "meter": f"{out}-leak.html"}
    model = SplitNetwork(
        session,
        bottom=network.bottom(int(place), x.shape[1], len(session.members)),
        **own,
        **network.options(),
    )
    traffic = session.seat.endpoint.traffic
    begun, up, down = time.monotonic(), traffic.bytes_sent, traffic.bytes_received
    model.fit(x[~held_out], None if y is None else y[~held_out], ids=ids[~held_out])
    fitted = time.monotonic()
    found = model.predict_proba(x[held_out])
    fact = {
        "columns": x.shape[1],
        "steps": model.n_iter_,
        "seconds": round(fitted - begun, 3),
        "scoring_seconds": round(time.monotonic() - fitted, 3),
        "up": traffic.bytes_sent - up,
        "down": traffic.bytes_received - down,
    }
    if model.leak_ is not None:
        fact["leak"] = model.leak_.to_json()
    model.save(f"{out}-{split_models.NAME}.json")
    if found is not None and y is not None:
        np.savez(
            Path(f"{out}.npz"), allow_pickle=False, ids=ids[held_out], labels=y[held_out], split=found[:, 1]
        )
    return {
        "common": len(ids),
        "train": int((~held_out).sum()),
        "test": int(held_out.sum()),
        "models": {split_models.NAME: fact},
    }
