"""`silo demo bank` and `silo demo credit` end to end: processes over mutual TLS, other columns of the same people."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[3] / "shared" / "data"
KINDS = ("local", "federated", "pooled")


def demo(name: str, out: Path, *options: str) -> Any:
    command = [sys.executable, "-m", "silo", "demo", name, "--out", str(out), "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    check(name, results)
    return results


def check(name: str, results: Any) -> None:
    """What every run shows, whatever the data."""
    parties, models = results["parties"], results["models"]
    assert results["demo"] == name
    assert results["label_party"] == parties[0]
    assert results["common"] == results["train"] + results["test"] < min(results["rows"].values())
    for kind in KINDS:
        figures = results["results"][kind]
        assert figures["auc"] == figures[models[0]]["auc"]
        assert set(figures) == {"auc", *models}
        for model in models:
            assert 0.5 < figures[model]["auc"] <= 1
    for model in models:
        alone, joint, pooled = (results["results"][kind][model]["auc"] for kind in KINDS)
        assert joint > alone
        assert abs(joint - pooled) < (0.005 if model == "linear" else 0.02)
        assert results["fits"][model]["steps"] > 0
        assert set(results["fits"][model]["columns"]) == set(parties)
    assert all(results["traffic"][one]["up"] > 10_000 for one in parties)
    assert results["privacy"]["differential_privacy"] is False
    kinds = {one["kind"]: one for one in results["relay_saw"]["kinds"]}
    assert kinds["Private"]["protection"] == "end-to-end encrypted"
    assert kinds["Private"]["bytes"] > 0.9 * results["relay_saw"]["bytes"]
    assert any("label party" in who for who, _ in results["learned"])
    report = Path(results["report"]).read_text()
    assert all(one in report for one in parties)
    assert "http" not in report.replace("http://www.w3.org", "").replace("http-equiv", "")


def test_three_organisations_fit_a_linear_model(tmp_path: Path) -> None:
    results = demo("bank", tmp_path, "--model", "linear")
    assert len(results["parties"]) == 3
    assert results["results"]["federated"]["auc"] > 0.98
    parts = sorted(path.name for path in (tmp_path / "bank").glob("*-linear.json"))
    assert parts == sorted(f"{name}-linear.json" for name in results["parties"])


def test_two_organisations_fit_both_models(tmp_path: Path) -> None:
    results = demo("credit", tmp_path)
    assert results["models"] == ["linear", "boosting"]
    assert len(results["parties"]) == 2


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the data are not beside the project")
def test_the_bank_data(tmp_path: Path) -> None:
    results = demo("bank", tmp_path, "--data", str(DATA / "bank_marketing"), "--model", "linear")
    assert results["results"]["federated"]["auc"] >= 0.79
    assert results["results"]["local"]["auc"] < 0.66


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the data are not beside the project")
def test_the_credit_data(tmp_path: Path) -> None:
    results = demo("credit", tmp_path, "--data", str(DATA / "default_credit"), "--model", "linear")
    assert results["results"]["federated"]["auc"] >= 0.72
    assert results["results"]["local"]["auc"] < 0.67


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("bank", "--data", "."), "bank-additional-full.csv"),
        (("credit", "--private"), "--private"),
        (("bank", "--model", "mlp"), "--model linear or boosting"),
        (("hospitals", "--model", "boosting"), "not boosting"),
        (("credit", "--sum", "ckks"), "--sum"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "silo", "demo", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert told in done.stderr
    assert not list(tmp_path.iterdir())
