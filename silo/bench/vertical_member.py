"""One member's process of the benchmark of vertical models: made-up columns, a fit, and when it began and ended."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from silo.errors import ParameterError
from silo.joining import join
from silo.vertical import GradientBoosting, LogisticRegression

LABELLED: Final = "member-0"
OWN_COLUMNS: Final = 13
"""Of the label party, as in the credit data."""


def columns(rows: int, count: int, seed: int) -> Any:
    """(rows, count) normal numbers."""
    return np.random.default_rng(seed).normal(size=(rows, count))


def take_part(home: Path, name: str, what: Sequence[str], rows: int, most: int) -> dict[str, Any]:
    """Fit `what` with at most `most` passes or trees.

    `what` is the model, its scheme (of boosting with /bits of the key, of a split network as
    `silo.bench.split_models.network` says), and the columns of each other member.
    """
    model, scheme, count = what[0], what[1], int(what[2])
    place = int(name.rsplit("-", 1)[1])
    leads = name == LABELLED
    table = columns(rows, OWN_COLUMNS if leads else count, place)
    y = None
    if leads:
        # Labels depend on everybody's columns, so that there is something to find.
        score = table[:, 0] + columns(rows, count, 1)[:, 0]
        y = (score + columns(rows, 1, 99)[:, 0] > 0).astype(int)
    with join(home / "charter.toml", home / name) as session:
        session.sum(np.zeros(1))  # everybody is here
        estimator = _estimator(model, scheme, session, most, table.shape[1], leads)
        begun, cpu = time.monotonic(), time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimator.fit(table, y)
        ended, cpu = time.monotonic(), time.process_time() - cpu
    # Counted once the link is closed: the last gradient may still wait in it when the fit returns.
    sent = session.seat.endpoint.traffic.bytes_sent
    return {"spans": {0: (begun, ended)}, "sent": sent, "done": int(estimator.n_iter_), "cpu": cpu}


def _estimator(model: str, scheme: str, session: Any, most: int, width: int, leads: bool) -> Any:
    if model == "linear":
        # No tolerance: every pass is done, however little it still gains.
        return LogisticRegression(session, scheme=scheme, max_iter=most, tol=0.0)
    if model == "boosting":
        named, _, bits = scheme.partition("/")
        return GradientBoosting(
            session, scheme=named, key_bits=int(bits or 3072), n_estimators=most, max_depth=4, max_bins=32
        )
    if model == "split":
        import torch

        from silo.bench import split_models

        torch.set_num_threads(1)
        split_models.warm_up()
        return split_models.network(session, scheme, labelled=leads, columns=width, epochs=most)
    raise ParameterError(f"there is no vertical model called {model[:40]!r}")
