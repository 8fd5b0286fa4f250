"""`silo demo split`: a neural network over columns of two or three organisations, the labels behind noise.

A ledger pays for the noise. Among three the label party gets activations as a masked sum only.
The organisations have the same rows in the same order, as after `silo psi`: the label party's policy refuses what
leaves without noise, and to find common rows is such a thing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from silo import csv_table
from silo.charter import TWO_PARTY_WORDS, Charter, Privacy, Vertical, verticals
from silo.demo import split_data, vertical, vertical_data
from silo.demo.federation import DemoFailed, LocalFederation
from silo.demo.vertical_data import People
from silo.demo.vertical_models import auc, roc
from silo.extras import need
from silo.privacy.verify import verify

DATASET: Final = "labels"


def run(
    folder_of_data: Path | None,
    *,
    parties: int | None = None,
    folder: Path,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Run the demo in `folder` among so many (by default as the data have it); returns what `--json` prints.

    Raises `SiloError`.
    """
    begun = time.monotonic()
    need("the demo split", "dp,vertical", "torch", "opacus", "dp_accounting", "sklearn", "narwhals")
    from silo.demo import split_baselines, split_report
    from silo.demo.split_models import DELTA, EPSILON, NAME, NETWORKS, NOISE

    data = split_data.load(folder_of_data, parties)
    people, network = split_data.joined(data.people), NETWORKS[data.kind]
    names = [one.name for one in people.holdings]
    label, rows = names[0], len(people.holdings[0].table.rows)
    epochs = network.epochs
    plan = NOISE.plan("gradients", epochs)
    folder.mkdir(parents=True, exist_ok=True)
    arguments = {name: _write(folder, people, place, data.kind) for place, name in enumerate(names)}
    federation = LocalFederation(
        folder,
        names,
        Path(__file__).with_name("split_script.py"),
        rounds=1,
        rows=rows,
        terms={"two_party": TWO_PARTY_WORDS} if len(names) == 2 else {},
        privacy=[Privacy(label, DATASET, EPSILON, DELTA)],
        vertical=Vertical((NAME,), label, rows=rows, passes=epochs, fits=1, noised=("gradients",), classes=2),
    )
    tell(f"{people.title}: {', '.join(names)} and a relay, each a process of its own")
    if folder_of_data is None:
        tell(
            "--data takes the bank marketing data, or those of default of credit card clients, which are not shipped "
            "with Silo"
        )
    tell(plan.describe())
    tell(split_report.seen(names))
    charter = federation.agree()
    facts = federation.run(arguments, lambda _: None)
    own = {name: fact["result"] for name, fact in facts.items()}
    tell(
        "fitted; now the same network without noise in one process, and with the label party's columns alone"
    )
    compared = split_baselines.compare(people, network)
    scores = {NAME: _scores(folder / f"{label}.npz", compared.ids, NAME)}
    every = {"local": compared.local, "federated": scores, "pooled": compared.pooled}
    figures = {kind: auc(compared.labels, one[NAME]) for kind, one in every.items()}
    results: dict[str, Any] = {
        "demo": "split",
        "data": people.title,
        "parties": names,
        "label_party": label,
        "models": [NAME],
        "rows": dict.fromkeys(names, rows),
        **{what: own[label][what] for what in ("common", "train", "test")},
        "results": {kind: {"auc": value, NAME: {"auc": value}} for kind, value in figures.items()},
        "roc": {kind: {NAME: roc(compared.labels, one[NAME])} for kind, one in every.items()},
        "fits": {NAME: _fit(own, label, NAME) | {"finish": network.finish}},
        "traffic": {
            name: {"up": fact["bytes_sent"], "down": fact["bytes_received"]} for name, fact in facts.items()
        },
        "relay_saw": vertical._relay_saw(federation),
        "learned": [list(row) for row in leakage(charter)],
        "privacy": {
            "differential_privacy": True,
            "protects": "labels",
            "note": "activations are not noised; the comparisons alone and pooled are without any noise",
            "activations": "each" if len(names) == 2 else "sum",
            "noised": ["gradients"],
            "sigma": plan.noise_multiplier,
            "mu": plan.mu,
            "auc_bound": plan.auc_bound,
            "leak": own[label]["models"][NAME]["leak"],
            "leak_page": str(folder / f"{label}-leak.html"),
            "spent": {label: _spent(federation, label)},
        },
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    path = folder / "report.html"
    split_report.write_html(path, results)
    results["report"] = str(path)
    results["seconds"] = round(time.monotonic() - begun, 2)
    return results


def leakage(charter: Charter) -> list[tuple[str, str]]:
    """Who learns what in this demo, by the words of its charter."""
    agreed = charter.vertical
    return list(verticals.leakage(len(charter.names), agreed.models, agreed.noised)) if agreed else []


def _write(folder: Path, people: People, place: int, kind: str) -> list[str]:
    """One organisation's table for its own process; returns the arguments of its script."""
    holding = people.holdings[place]
    path = folder / f"{holding.name}.csv"
    path.unlink(missing_ok=True)
    csv_table.write(path, holding.table.names, holding.table.rows)
    label = [vertical_data.LABEL] if holding.labelled else []
    return [str(path), str(folder / holding.name), kind, str(place), *label]


def _scores(path: Path, ids: tuple[str, ...], model: str) -> Any:
    """The label party's scores of the test rows. Raises `DemoFailed` when they are of other rows."""
    with np.load(path, allow_pickle=False) as loaded:
        if tuple(loaded["ids"].tolist()) != ids:
            raise DemoFailed("the members scored other rows than were held out: this is a fault of Silo")
        return loaded[model]


def _fit(own: Mapping[str, Any], label: str, model: str) -> dict[str, Any]:
    """How the fit went: epochs as the label party counts them, and each organisation's columns and traffic."""
    led = own[label]["models"][model]
    each = {name: one["models"][model] for name, one in own.items()}
    return {
        "step": "epoch",
        "steps": led["steps"],
        "seconds": led["seconds"],
        "seconds_per_step": round(led["seconds"] / led["steps"], 4),
        "scoring_seconds": led["scoring_seconds"],
        "columns": {name: one["columns"] for name, one in each.items()},
        "traffic": {name: {"up": one["up"], "down": one["down"]} for name, one in each.items()},
        "warnings": [],
    }


def _spent(federation: LocalFederation, name: str) -> dict[str, Any]:
    """What the ledger of the labels holds, checked and recomputed from its records."""
    from silo.privacy.accountants.pld import PLD

    path = federation.ledger(name)
    books = verify(path).books
    budget = books.dataset(DATASET).budget
    return {
        "ledger": str(path),
        "epsilon": max(PLD().epsilon(world, budget.delta) for world in books.worlds(DATASET)),
        "filter_epsilon": budget.filter_epsilon(books.spent(DATASET)),
        "budget": budget.epsilon,
        "delta": budget.delta,
    }
