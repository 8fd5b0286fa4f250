"""The parts of the vertical demos: how the tables are cut, what the models are given, and the page."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from silo.demo import vertical_data, vertical_features, vertical_report
from silo.errors import ParameterError
from tests.silo.test_demo_report import Balanced


@pytest.mark.parametrize("demo", ["bank", "credit"])
def test_the_small_set_is_cut_by_columns_with_rows_that_others_lack(demo: str) -> None:
    people = vertical_data.load(demo, None)
    assert tuple(one.name for one in people.holdings) == vertical_data.DEMOS[demo]
    assert [one.labelled for one in people.holdings] == [True, *[False] * (len(people.holdings) - 1)]
    columns = [name for one in people.holdings for name in one.table.names if name not in ("id", "label")]
    assert len(columns) == len(set(columns)) == 30
    lists = [one.table.text("id") for one in people.holdings]
    assert lists[0] != sorted(lists[0])
    common = set(people.common())
    for own, other in pairwise(lists):
        assert set(own) - set(other)
        assert [one for one in own if one in common] != [one for one in other if one in common]
    held_out = [vertical_data.is_test(one) for one in common]
    assert 0.12 < np.mean(held_out) < 0.28


def test_a_linear_model_gets_scaled_numbers_without_repetitions() -> None:
    often = [
        [1.0, "a", 5.0, -2.0, "x"],
        [2.0, "b", 5.0, -4.0, "x"],
        [3.0, "c", 5.0, -6.0, "x"],
        [6.0, "a", 5.0, -12.0, "x"],
    ]
    rare = [[9.0, "d", 5.0, -18.0, "x"]] * 2
    raw = np.array([*often * 10, *rare, [9.0, "e", 7.0, 1.0, "x"]], dtype=object)
    train = np.arange(len(raw)) < len(raw) - 1
    found = vertical_features.linear(raw, train)
    # The first column, b and c: the others stand still, repeat the first, or are a category of two rows.
    assert found.shape == (len(raw), 3)
    np.testing.assert_allclose(found[train].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(found[train].std(axis=0), 1)
    assert vertical_features.prepare("boosting", raw, train) is raw


def test_categories_become_whole_numbers_for_the_comparison() -> None:
    raw = np.array([["b", 1.0], ["a", 2.0], ["z", 3.0]], dtype=object)
    found, categorical = vertical_features.ordinal(raw, np.array([True, True, False]))
    assert categorical == [0]
    np.testing.assert_array_equal(found, [[1, 1], [0, 2], [np.nan, 3]])


@pytest.mark.parametrize(("demo", "file"), [("bank", "bank-additional-full"), ("credit", "hetero_guest")])
def test_a_folder_without_the_data_is_one_sentence(demo: str, file: str, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=file):
        vertical_data.load(demo, tmp_path)


def results(word: str = "") -> dict[str, Any]:
    """Figures of a run; `word` stands in every text."""
    names = [f"{word}bank", f"{word}telecom"]
    traffic = {name: {"up": 1500, "down": 2_500_000} for name in names}
    curve = {"false": [0.0, 0.5, 1.0], "true": [0.0, 0.8, 1.0]}
    kinds = ("local", "federated", "pooled")
    return {
        "demo": f"{word}bank",
        "data": f"{word}rows",
        "parties": names,
        "label_party": names[0],
        "models": ["linear"],
        "rows": dict.fromkeys(names, 120),
        "common": 100,
        "train": 80,
        "test": 20,
        "results": {kind: {"auc": 0.7, "linear": {"auc": 0.7}} for kind in kinds},
        "roc": {kind: {"linear": curve} for kind in kinds},
        "fits": {
            "linear": {
                "step": "pass",
                "steps": 9,
                "seconds": 0.9,
                "seconds_per_step": 0.1,
                "scoring_seconds": 0.01,
                "columns": dict.fromkeys(names, 7),
                "traffic": traffic,
                "warnings": [f"{word}not converged"],
            }
        },
        "traffic": traffic,
        "relay_saw": {
            "frames": 3,
            "bytes": 999_960,
            "kinds": [
                {"kind": f"{word}Private", "protection": f"{word}sealed", "frames": 3, "bytes": 999_960}
            ],
        },
        "learned": [[f"{word}relay", f"{word}sizes"]],
        "privacy": {"differential_privacy": False},
        "date": f"{word}2026-11-26",
    }


def test_the_page_is_sound_and_asks_nobody_for_anything() -> None:
    page = vertical_report.page(results())
    assert not Balanced(page).open
    assert "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")
    for figure in ("0.7000", "1.0 MB", "0.100 s", "1.5 kB / 2.5 MB", "no differential privacy"):
        assert figure in page


def test_no_text_becomes_markup() -> None:
    assert "<script>" not in vertical_report.page(results('<script>alert("x")</script>'))
