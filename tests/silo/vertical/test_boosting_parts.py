"""A saved part of a boosted model that was changed is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_breast_cancer

from silo.errors import ParameterError
from silo.vertical import GradientBoosting, load

FEW = {"n_estimators": 4, "max_depth": 3, "max_bins": 16}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("trees", [[[0.0, 0, 0, 0]]] * 4),
        ("trees", [[[0.0, 7, 0, 1], [0.0, -1, -1, -1], [0.0, -1, -1, -1]]] * 4),
        ("trees", [[[1e999, -1, -1, -1]]] * 4),
        ("trees", "none"),
        ("splits", [[[99, "00" * 32]]] * 4),
        ("splits", [[[0, "00"]]] * 4),
        ("groups", 3),
        ("base", []),
        ("bins", [{"name": "x", "kind": "numeric", "edges": [2.0, 1.0]}]),
        ("bins", []),
        ("bins", [{"name": "x"}]),
    ],
)
def test_a_part_that_was_changed_is_refused(key: str, value: Any, tmp_path: Path) -> None:
    x, y = load_breast_cancer(return_X_y=True)
    GradientBoosting(**FEW).fit(x, y).save(tmp_path / "part")
    part = json.loads((tmp_path / "part").read_text())
    (tmp_path / "part").write_text(json.dumps({**part, key: value}))
    with pytest.raises(ParameterError):
        load(tmp_path / "part")


@pytest.mark.parametrize(
    ("key", "place", "value", "words"),
    [
        ("splits", (0, 0, 0), 99, "a split of column 99"),
        ("splits", (0, 0, 1), "ff" * 32, "does not divide"),
        ("trees", (0, 0, 3), 0, "points nowhere"),
        ("trees", (0, 0, 1), 1, "points nowhere"),
        ("trees", (0, 0, 2), 5, "do not make one"),
    ],
)
def test_a_part_is_checked_split_by_split(
    key: str, place: tuple[int, ...], value: Any, words: str, tmp_path: Path
) -> None:
    x, y = load_breast_cancer(return_X_y=True)
    GradientBoosting(**FEW).fit(x, y).save(tmp_path / "part")
    part = json.loads((tmp_path / "part").read_text())
    inner = part[key]
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    (tmp_path / "part").write_text(json.dumps(part))
    with pytest.raises(ParameterError, match=words):
        load(tmp_path / "part")
