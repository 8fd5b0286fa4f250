"""How columns become bins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from silo.vertical import GradientBoosting
from silo.vertical.binning import Binning
from silo.vertical.frames import Frame


def frame(**columns: Any) -> Frame:
    arrays = tuple(np.array(one, object if isinstance(one[0], str) else float) for one in columns.values())
    return Frame(tuple(columns), arrays, len(arrays[0]), named=True)


def test_a_frequent_value_costs_one_bin() -> None:
    draw = np.random.default_rng(3)
    values = np.concatenate([np.zeros(900), draw.random(100) + 1])
    binning = Binning.of(frame(income=values), 8, who="ada")
    assert binning.shape.bins == (8,)
    codes = binning.codes(frame(income=values), who="ada").codes[0]
    assert (codes[:900] == 0).all()
    counts = np.bincount(codes[900:], minlength=8)
    assert counts[0] == 0
    assert counts[1:].min() >= 10


@pytest.mark.parametrize("most", [2, 3, 32, 255])
def test_codes_are_in_order_and_within_the_bins(most: int) -> None:
    values = np.round(np.random.default_rng(5).normal(size=2000), 2)
    values[::50] = np.nan
    binning = Binning.of(frame(x=values), most, who="ada")
    (bins,) = binning.shape.bins
    assert bins <= most
    codes = binning.codes(frame(x=values), who="ada").codes[0]
    present = ~np.isnan(values)
    ordered = codes[present][np.argsort(values[present], kind="stable")]
    assert (np.diff(ordered.astype(int)) >= 0).all()
    assert set(codes[present]) == set(range(bins))
    assert (codes[~present] == bins).all()


def test_a_bin_ends_where_it_comes_nearest_to_its_share() -> None:
    values = np.repeat([1.0, 2.0, 3.0], [45, 20, 35])
    assert Binning.of(frame(x=values), 2, who="ada").columns[0].edges.tolist() == [1.5]


def test_neighbouring_floats_are_told_apart() -> None:
    low = 1.0
    high = np.nextafter(low, 2)
    binning = Binning.of(frame(x=[low, high]), 4, who="ada")
    assert binning.codes(frame(x=[low, high]), who="ada").codes.tolist() == [[0, 1]]


def test_rare_categories_share_the_last_bin() -> None:
    values = ["a"] * 5 + ["b"] * 4 + ["c", "d"]
    binning = Binning.of(frame(city=values), 3, who="ada")
    assert binning.shape.bins == (3,)
    assert binning.codes(frame(city=["d", "c", "b", "a", "z"]), who="ada").codes.tolist() == [[2, 2, 1, 0, 3]]


@pytest.mark.parametrize(
    ("most", "least", "bins"), [(8, 1, 4), (8, 2, 3), (8, 5, 2), (8, 6, 1), (3, 1, 3), (3, 5, 2), (2, 4, 2)]
)
def test_categories_with_few_rows_share_a_bin(most: int, least: int, bins: int) -> None:
    values = ["a"] * 5 + ["b"] * 4 + ["c", "d"]
    binning = Binning.of(frame(city=values), most, who="ada", least=least)
    assert binning.shape.bins == (bins,)
    counts = np.bincount(binning.codes(frame(city=values), who="ada").codes[0], minlength=bins)
    assert all(count >= least for count in counts[: bins - 1])


def test_a_table_with_few_rows_is_fitted_without_its_categories() -> None:
    x = np.array([[f"p{row % 7}", float(row % 5)] for row in range(30)], object)
    y = np.arange(30) % 5 > 1
    model = GradientBoosting(n_estimators=5).fit(x, y)
    assert model.binning_.shape.bins == (1, 5)
    assert {split.column for tree in model.model_.splits for split in tree} == {1}
    assert model.score(x, y) == 1
    rare = GradientBoosting(n_estimators=5, min_category_rows=4).fit(x, y)
    assert rare.binning_.shape.bins == (7, 5)
