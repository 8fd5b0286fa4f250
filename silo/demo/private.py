"""`silo demo hospitals --private`: the four hospitals with a privacy budget each, and a second run that is refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from silo.charter import Privacy
from silo.charter.show import leakage
from silo.demo import baselines, data, report
from silo.demo.federation import DemoFailed, LocalFederation
from silo.demo.settings import PRIVATE, PRIVATE_DELTA, PRIVATE_EPSILON, PRIVATE_ROUNDS, SETTINGS
from silo.extras import need
from silo.privacy import summary
from silo.privacy.verify import Verified, recompute, verify

DATASET: Final = "patients"
CLIP: Final = 8.0
ROWS: Final = 1000


def run(folder_of_data: Path | None, *, folder: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Run the demo in `folder`; returns what `--json` prints. Raises `SiloError`."""
    begun = time.monotonic()
    need("private training", "demo,dp", "torch", "opacus", "dp_accounting")
    dataset = data.load(folder_of_data)
    setting = "heart" if folder_of_data else "default"
    folder.mkdir(parents=True, exist_ok=True)
    names = [hospital.name for hospital in dataset.hospitals]
    for hospital in dataset.hospitals:
        data.save(folder / f"{hospital.name}.npz", hospital)
    arguments = {
        name: [str(folder / f"{name}.npz"), str(folder / f"{name}-result.npz"), setting] for name in names
    }
    federation = LocalFederation(
        folder,
        names,
        Path(__file__).with_name("private_script.py"),
        rounds=2 * PRIVATE_ROUNDS + 20,
        rows=ROWS,
        terms={"clip": CLIP},
        privacy=[Privacy(name, DATASET, PRIVATE_EPSILON, PRIVATE_DELTA, unit="patient") for name in names],
    )
    tell(f"{dataset.title}: {', '.join(names)} and a relay, each a process of its own")
    tell(
        f"each hospital's budget: epsilon {PRIVATE_EPSILON:g}, delta {PRIVATE_DELTA:g} per patient, for good; "
        f"noise {PRIVATE.plan().noise_multiplier:g} times the clip in every step"
    )
    charter = federation.agree()
    facts = federation.run(arguments, _progress(tell))
    tell("the same training once more, on the same patients:")
    refusal = _again(federation, arguments)
    tell(next(iter(refusal.values())))
    right = {name: _read(folder / f"{name}-result.npz") for name in names}
    compared = baselines.compare(dataset, "logistic", SETTINGS[setting])
    seconds = [one["seconds"] for one in federation.finished if one["tag"] == "train/round"]
    results: dict[str, Any] = {
        "demo": "hospitals",
        "data": dataset.title,
        "model": "logistic",
        "parties": names,
        "results": {
            "local": compared.local,
            "federated": baselines.metrics(right),
            "pooled": compared.pooled,
        },
        "traffic": {
            name: {"up": fact["bytes_sent"], "down": fact["bytes_received"]} for name, fact in facts.items()
        },
        "rounds": [{"round": i + 1, "seconds": value} for i, value in enumerate(seconds)],
        "rounds_done": len(seconds),
        "seconds_per_round": median(seconds),
        "learned": [list(row) for row in leakage(charter)],
        "privacy": {
            "differential_privacy": True,
            "unit": "patient",
            "note": "local and pooled accuracy are without noise, for comparison",
            "hospitals": {name: _spent(federation, name, names) for name in names},
            "second_run": refusal,
        },
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    report.write_html(folder / "report.html", results)
    results["report"] = str(folder / "report.html")
    results["ledger_report"] = str(_ledger_report(federation, names, folder))
    results["seconds"] = round(time.monotonic() - begun, 2)
    return results


def _progress(tell: Callable[[str], None]) -> Callable[[dict[str, Any]], None]:
    done = [0]

    def on_round(round_: dict[str, Any]) -> None:
        if round_["tag"] == "train/round":
            done[0] += 1
            if done[0] % 5 == 0:
                tell(f"round {done[0]} of {PRIVATE_ROUNDS}: {len(round_['survivors'])} hospitals")

    return on_round


def _again(federation: LocalFederation, arguments: dict[str, list[str]]) -> dict[str, str]:
    """What each hospital says to a second training. Raises `DemoFailed` when one lets it pass."""
    try:
        federation.run(arguments, lambda _: None)
    except DemoFailed as failed:
        said = {name: lines for name, lines in failed.said.items() if "SILO-441" in lines}
        if set(said) == set(federation.names):
            return said
        raise
    raise DemoFailed("a second training was not refused, and the budget is exceeded: this is a fault of Silo")


def _verified(federation: LocalFederation, name: str, names: list[str]) -> Verified:
    """One hospital's ledger, checked offline against its card and the heads that its partners kept."""
    charter = federation.charter
    if charter is None:
        raise DemoFailed("there is no charter")
    partners = [verify(federation.ledger(other)).books for other in names if other != name]
    kept = [str(books.seen[name]) for books in partners if name in books.seen]
    return verify(federation.ledger(name), key=charter.keys[name], cards=charter.keys, witnesses=kept)


def _spent(federation: LocalFederation, name: str, names: list[str]) -> dict[str, Any]:
    path, found = federation.ledger(name), _verified(federation, name, names)
    (spent,) = recompute(found.books)
    facts = summary.of(found)["datasets"][0]
    return {
        "ledger": str(path),
        "epsilon": spent.pld,
        "delta": spent.delta,
        "budget": spent.limit,
        "filter_epsilon": spent.filter,
        "used": facts["used"],
        "refusals": len(facts["refusals"]),
        "witnessed_by": sorted(found.books.witnessed),
    }


def _ledger_report(federation: LocalFederation, names: list[str], folder: Path) -> Path:
    from silo.report import ledger

    name = names[0]
    found = _verified(federation, name, names)
    path = folder / f"ledger-{name}.html"
    ledger.write(found, recompute(found.books), path)
    return path


def _read(path: Path) -> Any:
    with np.load(path, allow_pickle=False) as loaded:
        return loaded["correct"]
