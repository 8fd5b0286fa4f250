"""`silo demo bank` and `silo demo credit`: other columns of the same people, one model, and nobody's columns shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from silo import csv_table
from silo.charter import TWO_PARTY_WORDS, Charter, Intersection, Vertical, verticals
from silo.charter import intersections as asked
from silo.demo import vertical_baselines, vertical_data, vertical_report
from silo.demo.federation import DemoFailed, LocalFederation
from silo.demo.vertical_baselines import Compared, Floats
from silo.demo.vertical_data import People
from silo.demo.vertical_models import BOOSTING, MODELS, PASSES, SETTINGS, STEP, auc, roc
from silo.extras import need
from silo.outbox import Outbox

ROWS: Final = 100_000
BYTES: Final = 4 * 10**9
"""More than leaves: a fit asks beforehand whether the most that it could send is allowed."""
_NAMED: Final = {"bank": "bank marketing", "credit": "default of credit card clients"}


def run(
    demo: str,
    folder_of_data: Path | None,
    *,
    models: tuple[str, ...] = MODELS,
    folder: Path,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Run the demo in `folder`; returns what `--json` prints. Raises `SiloError`."""
    begun = time.monotonic()
    need(f"the demo {demo}", "vertical", "sklearn", "rbcl", "narwhals")
    people = vertical_data.load(demo, folder_of_data)
    setting = "full" if folder_of_data else "default"
    names = [one.name for one in people.holdings]
    label = names[0]
    folder.mkdir(parents=True, exist_ok=True)
    arguments = {name: _write(folder, people, name, models, setting) for name in names}
    federation = LocalFederation(
        folder,
        names,
        Path(__file__).with_name("vertical_script.py"),
        rounds=1,
        rows=ROWS,
        terms={"two_party": TWO_PARTY_WORDS} if len(names) == 2 else {},
        size=BYTES,
        intersection=Intersection(("rows",), rows=ROWS, queries=1),
        vertical=Vertical(
            models,
            label,
            rows=ROWS,
            passes=PASSES,
            trees=SETTINGS[setting].n_estimators,
            fits=len(models),
        ),
    )
    tell(f"{people.title}: {', '.join(names)} and a relay, each a process of its own")
    if folder_of_data is None:
        tell(f"--data takes the {_NAMED[demo]} data, which are not shipped with Silo")
    elif BOOSTING in models:
        tell("boosting on so many rows takes minutes; --model linear does without it")
    charter = federation.agree()
    facts = federation.run(arguments, lambda _: None)
    own = {name: fact["result"] for name, fact in facts.items()}
    tell(
        f"{own[label]['common']:,} rows are in common; fitted {', '.join(models)}; now the same in the clear"
    )
    compared = vertical_baselines.compare(people, models, setting)
    scores = _scores(folder / f"{label}.npz", compared)
    every = {"local": compared.local, "federated": scores, "pooled": compared.pooled}
    results: dict[str, Any] = {
        "demo": demo,
        "data": people.title,
        "parties": names,
        "label_party": label,
        "models": list(models),
        "rows": {one.name: len(one.table.rows) for one in people.holdings},
        "common": own[label]["common"],
        "train": own[label]["train"],
        "test": own[label]["test"],
        "results": {kind: _figures(compared.labels, one, models) for kind, one in every.items()},
        "roc": {
            kind: {model: roc(compared.labels, one[model]) for model in models} for kind, one in every.items()
        },
        "fits": {model: _fit(model, own, label) for model in models},
        "traffic": {
            name: {"up": fact["bytes_sent"], "down": fact["bytes_received"]} for name, fact in facts.items()
        },
        "relay_saw": _relay_saw(federation),
        "learned": [list(row) for row in leakage(charter)],
        "privacy": {"differential_privacy": False, "note": "the models and their scores are not noised"},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    path = folder / "report.html"
    vertical_report.write_html(path, results)
    results["report"] = str(path)
    results["seconds"] = round(time.monotonic() - begun, 2)
    return results


def leakage(charter: Charter) -> list[tuple[str, str]]:
    """Who learns what in this demo, from the tables of the protocols that its charter allows."""
    members = len(charter.names)
    rows: list[tuple[str, str]] = []
    if charter.intersection:
        rows += asked.leakage(members, charter.intersection.reveal)
    if charter.vertical:
        rows += verticals.leakage(members, charter.vertical.models)
    return list(dict.fromkeys(rows))


def _write(folder: Path, people: People, name: str, models: tuple[str, ...], setting: str) -> list[str]:
    """One organisation's table for its own process; returns the arguments of its script."""
    (holding,) = (one for one in people.holdings if one.name == name)
    path = folder / f"{name}.csv"
    path.unlink(missing_ok=True)
    csv_table.write(path, holding.table.names, holding.table.rows)
    label = [vertical_data.LABEL] if holding.labelled else []
    return [str(path), str(folder / name), ",".join(models), setting, *label]


def _scores(path: Path, compared: Compared) -> dict[str, Floats]:
    """The label party's scores, in the order of the comparison. Raises `DemoFailed` when they are of other rows."""
    with np.load(path, allow_pickle=False) as loaded:
        found = {name: loaded[name] for name in loaded.files}
    place = {identifier: at for at, identifier in enumerate(found.pop("ids").tolist())}
    labels = found.pop("labels")
    if set(place) != set(compared.ids):
        raise DemoFailed("the members scored other rows than those that all have: this is a fault of Silo")
    order = [place[identifier] for identifier in compared.ids]
    if (labels[order] != compared.labels).any():
        raise DemoFailed("the members' rows are not aligned: this is a fault of Silo")
    return {name: one[order] for name, one in found.items()}


def _figures(labels: Any, scores: Mapping[str, Floats], models: tuple[str, ...]) -> dict[str, Any]:
    """`auc` is that of the first model; each model has its own beside it."""
    each = {model: {"auc": auc(labels, scores[model])} for model in models}
    return {"auc": each[models[0]]["auc"], **each}


def _fit(model: str, own: Mapping[str, Any], label: str) -> dict[str, Any]:
    """How a fit went: steps as the label party counts them, and each organisation's columns and traffic."""
    led = own[label]["models"][model]
    steps = max(int(led["steps"]), 1)
    return {
        "step": STEP[model],
        "steps": led["steps"],
        "seconds": led["seconds"],
        "seconds_per_step": round(led["seconds"] / steps, 4),
        "scoring_seconds": led["scoring_seconds"],
        "columns": {name: one["models"][model]["columns"] for name, one in own.items()},
        "traffic": {
            name: {"up": one["models"][model]["up"], "down": one["models"][model]["down"]}
            for name, one in own.items()
        },
        "warnings": led["warnings"],
    }


def _relay_saw(federation: LocalFederation) -> dict[str, Any]:
    """What passed the relay, by the members' own lists of what left: kinds, frames, bytes, and what it could read."""
    kinds: dict[tuple[str, str], list[int]] = {}
    for name in federation.names:
        with Outbox.open_to_read(federation.outbox(name)) as box:
            for entry in box.rows():
                count = kinds.setdefault((entry.kind, entry.protection), [0, 0])
                count[0] += 1
                count[1] += entry.size
    return {
        "frames": sum(frames for frames, _ in kinds.values()),
        "bytes": sum(size for _, size in kinds.values()),
        "kinds": [
            {"kind": kind, "protection": protection, "frames": frames, "bytes": size}
            for (kind, protection), (frames, size) in sorted(kinds.items())
        ],
    }
