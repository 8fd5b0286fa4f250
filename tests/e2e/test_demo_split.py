"""`silo demo split` end to end: two processes over mutual TLS, one network, and labels that a ledger pays for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

from silo.demo import split, split_models, vertical_data  # noqa: E402
from silo.privacy.verify import verify  # noqa: E402

DATA = Path(__file__).parents[3] / "shared" / "data" / "default_credit"


def demo(out: Path, *options: str) -> Any:
    command = [sys.executable, "-m", "silo", "demo", "split", "--out", str(out), "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    privacy, label = results["privacy"], results["label_party"]
    assert results["parties"][0] == label
    assert results["common"] == results["train"] + results["test"]
    for figures in results["results"].values():
        assert figures["auc"] == figures["split"]["auc"]
    spent = privacy["spent"][label]
    assert 0 < spent["epsilon"] < spent["filter_epsilon"] <= spent["budget"] == 1.4
    assert 0.55 < privacy["auc_bound"] < 0.6
    assert results["fits"]["split"]["steps"] == 20
    # The ledger holds an event an epoch, and nothing that left without noise.
    books = verify(Path(spent["ledger"])).books
    assert sum(books.datasets["labels"].events.values()) == 20
    assert not books.unprotected("labels")
    kinds = {one["kind"]: one for one in results["relay_saw"]["kinds"]}
    assert kinds["Private"]["protection"] == "end-to-end encrypted"
    learned = dict(results["learned"])
    assert "no more than the ledger bounds" in learned["other member (`split`)"]
    assert "COLUMNS CAN BE REBUILT" in learned["label party (`split`)"]
    report = Path(results["report"]).read_text()
    assert f"{privacy['auc_bound']:.3f}" in report
    assert "http" not in report.replace("http://www.w3.org", "").replace("http-equiv", "")
    return results


@pytest.mark.slow
def test_two_organisations_train_a_network_with_labels_behind_noise(tmp_path: Path) -> None:
    results = demo(tmp_path)
    alone, joint = (results["results"][kind]["auc"] for kind in ("local", "federated"))
    assert joint > alone
    parts = sorted(path.name for path in (tmp_path / "split").glob("*-split.json"))
    assert parts == sorted(f"{name}-split.json" for name in results["parties"])


def test_the_organisations_hold_the_same_rows_in_one_order() -> None:
    people = vertical_data.load("credit", None)
    found = split.joined(people)
    first, second = (one.table.text(vertical_data.ID) for one in found.holdings)
    assert tuple(first) == tuple(second) == people.common()
    kept = dict(zip(first, found.holdings[0].table.text(vertical_data.LABEL), strict=True))
    own = people.holdings[0].table
    given = dict(zip(own.text(vertical_data.ID), own.text(vertical_data.LABEL), strict=True))
    assert kept.items() <= given.items()


def test_pooled_is_the_network_of_all_bottoms() -> None:
    """Side by side, the label party's columns first, with the weights that each member begins with."""
    x = torch.randn(5, 7)
    made = [split_models.bottom(0, 3)(x[:, :3]), split_models.bottom(1, 4)(x[:, 3:])]
    assert torch.equal(split_models.Joined([3, 4])(x), torch.cat(made, dim=1))


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the data are not beside the project")
def test_the_credit_data(tmp_path: Path) -> None:
    results = demo(tmp_path, "--data", str(DATA))
    alone, joint, pooled = (results["results"][kind]["auc"] for kind in ("local", "federated", "pooled"))
    assert joint >= 0.755
    assert alone < joint < pooled + 0.01


@pytest.mark.parametrize("words", [("--private",), ("--model", "linear"), ("--sum", "lattice")])
def test_what_does_not_go_together_is_one_sentence(words: tuple[str, ...], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "silo", "demo", "split", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "the demo split takes" in done.stderr
    assert not list(tmp_path.iterdir())
