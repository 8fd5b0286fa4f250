"""`silo demo hospitals`: one relay and four hospitals as processes, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from silo.charter.show import leakage
from silo.crypto import packing
from silo.crypto.ring import FixedPoint, Ring
from silo.demo import baselines, data, report
from silo.demo.federation import LocalFederation
from silo.demo.settings import SETTINGS
from silo.extras import need
from silo.protocols.secagg.vector import HEAD_BYTES

CLIP: Final = 4.0
ROWS: Final = 1000
_SHOWN: Final = 400


def run(
    folder_of_data: Path | None,
    *,
    model: str,
    folder: Path,
    tell: Callable[[str], None],
    protocol: str = "masking",
) -> dict[str, Any]:
    """Run the demo in `folder`; returns what `--json` prints. Raises `SiloError`."""
    begun = time.monotonic()
    if model == "mlp":
        need("the model mlp", "torch", "torch")
    dataset = data.load(folder_of_data)
    setting = "heart" if folder_of_data else "default"
    chosen = SETTINGS[setting]
    folder.mkdir(parents=True, exist_ok=True)
    names = [hospital.name for hospital in dataset.hospitals]
    arguments = {}
    for hospital in dataset.hospitals:
        rows, out = folder / f"{hospital.name}.npz", folder / f"{hospital.name}-result.npz"
        data.save(rows, hospital)
        out.with_suffix(".checkpoint").unlink(missing_ok=True)
        arguments[hospital.name] = [str(rows), str(out), model, setting]
    federation = LocalFederation(
        folder,
        names,
        Path(__file__).with_name("hospital_script.py"),
        rounds=chosen.algorithm.rounds + 20,
        rows=ROWS,
        terms={"clip": CLIP, "protocol": protocol},
    )
    tell(f"{dataset.title}: {', '.join(names)} and a relay, each a process of its own")
    charter = federation.agree()
    for old in (folder / "relay-saw").glob("*.upload"):
        old.unlink()
    facts = federation.run(arguments, _progress(chosen.algorithm.rounds, tell))
    done = {name: _read(folder / f"{name}-result.npz") for name in names}
    compared = baselines.compare(dataset, model, chosen)
    federated = baselines.metrics({name: one["correct"] for name, one in done.items()})
    seconds = [round_["seconds"] for round_ in federation.finished if round_["tag"] == "train/round"]
    results: dict[str, Any] = {
        "demo": "hospitals",
        "data": dataset.title,
        "model": model,
        "sum": protocol,
        "parties": names,
        "results": {"local": compared.local, "federated": federated, "pooled": compared.pooled},
        "traffic": {
            name: {"up": fact["bytes_sent"], "down": fact["bytes_received"]} for name, fact in facts.items()
        },
        "rounds": [{"round": i + 1, "seconds": value} for i, value in enumerate(seconds)],
        "rounds_done": len(seconds),
        "seconds_per_round": median(seconds),
        "relay_saw": _relay_saw(folder, names[0], done[names[0]]["sent"], len(names), protocol),
        "difference_from_plain": _difference(done[names[0]], compared.parameters),
        "learned": [list(row) for row in leakage(charter)],
        "privacy": {"differential_privacy": False, "note": "the sum of the updates is not noised"},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    path = folder / "report.html"
    report.write_html(path, results)
    results["report"] = str(path)
    results["seconds"] = round(time.monotonic() - begun, 2)
    return results


def _progress(rounds: int, tell: Callable[[str], None]) -> Callable[[dict[str, Any]], None]:
    done = [0]

    def on_round(round_: dict[str, Any]) -> None:
        if round_["tag"] == "train/round":
            done[0] += 1
            if done[0] % 5 == 0 or done[0] == rounds:
                tell(
                    f"round {done[0]} of {rounds}: {len(round_['survivors'])} hospitals, {round_['seconds']:.3f} s"
                )

    return on_round


def _read(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as loaded:
        return dict(loaded)


def _difference(done: dict[str, Any], plain: dict[str, Any]) -> float:
    return max(float(np.max(np.abs(done[f"parameter:{key}"] - value))) for key, value in plain.items())


def _relay_saw(folder: Path, name: str, sent: Any, parties: int, protocol: str) -> dict[str, Any]:
    """One hospital's vectors of all training rounds as the relay has them, decoded, beside what it really sent.

    Of a ciphertext its first bytes are read as if they were masked words.
    """
    encoder = FixedPoint(Ring.of(32), CLIP, parties, ROWS)
    true = np.asarray(sent).reshape(-1)
    width = np.asarray(sent).shape[1]
    uploads = sorted((folder / "relay-saw").glob(f"*-{name}.upload"))[-len(sent) :]
    start = HEAD_BYTES if protocol == "masking" else 0
    size = width * encoder.ring.wire_bytes
    words = [packing.unpack(one.read_bytes()[start : start + size], encoder.ring, width) for one in uploads]
    masked = encoder.decode(np.concatenate(words))
    return {
        "hospital": name,
        "correlation": float(np.corrcoef(masked, true)[0, 1]),
        "masked": [float(value) for value in masked[-_SHOWN:]],
        "true": [float(value) for value in true[-_SHOWN:]],
    }
