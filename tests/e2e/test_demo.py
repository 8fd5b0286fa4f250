"""`silo demo hospitals` end to end: five processes, mutual TLS, real data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HEART = Path(__file__).parents[3] / "shared" / "data" / "heart_disease"


def demo(out: Path, *options: str) -> Any:
    command = [sys.executable, "-m", "silo", "demo", "hospitals", "--out", str(out), "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_default_data(tmp_path: Path) -> None:
    results = demo(tmp_path)
    _check(results)
    kinds = results["results"]
    assert kinds["federated"]["mean_client_accuracy"] >= kinds["local"]["mean_client_accuracy"] - 0.02
    report = Path(results["report"]).read_text()
    assert all(name in report for name in results["parties"])
    assert "http" not in report.replace("http://www.w3.org", "")


@pytest.mark.skipif(not HEART.is_dir(), reason="the heart data are not beside the project")
def test_the_heart_data(tmp_path: Path) -> None:
    results = demo(tmp_path, "--data", str(HEART))
    _check(results)
    assert results["results"]["federated"]["mean_client_accuracy"] >= 0.795
    assert results["results"]["federated"]["pooled_test_accuracy"] >= 0.785


@pytest.mark.slow
def test_a_perceptron(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    _check(demo(tmp_path, "--model", "mlp"))


def test_a_folder_without_the_data_is_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "silo", "demo", "hospitals", "--data", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "processed" in done.stderr


def _check(results: Any) -> None:
    assert results["difference_from_plain"] < 1e-4
    assert abs(results["relay_saw"]["correlation"]) < 0.35
    assert results["rounds_done"] == len(results["rounds"]) == 20
    for kind in ("local", "federated", "pooled"):
        assert set(results["results"][kind]) == {
            "mean_client_accuracy",
            "pooled_test_accuracy",
            "per_hospital",
        }
    for name in results["parties"]:
        assert results["traffic"][name]["up"] > 10_000
