"""Boosted trees as scikit-learn knows them: alone, among members, saved, resumed; and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import estimator_checks_generator

import silo
from silo.errors import NotAllowed, ParameterError, SiloError
from silo.protocols.private import Pair
from silo.protocols.vertical.boosting import label
from silo.vertical import GradientBoosting, GradientBoostingRegressor, boosted, load, workers
from silo.vertical.binning import Binning
from silo.vertical.frames import Frame
from silo.vertical.trees import Kept
from tests.protocols.vertical.boosting_circle import SmallOkamotoUchiyama

EXPECTED_TO_FAIL: dict[str, str] = {}
"""None of scikit-learn's checks."""
NAMES = ("bank", "office", "telecom")
FEW = {"n_estimators": 4, "max_depth": 3, "max_bins": 16}


@pytest.fixture(autouse=True)
def small_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real scheme under keys that protect nothing: the sizes are tested where the scheme is."""
    monkeypatch.setattr(boosted, "ciphers", lambda terms: SmallOkamotoUchiyama())


def checks() -> Iterator[Any]:
    for estimator in (GradientBoosting(n_estimators=5), GradientBoostingRegressor(n_estimators=5)):
        yield from estimator_checks_generator(estimator, expected_failed_checks=EXPECTED_TO_FAIL, mark="skip")


@pytest.mark.parametrize(
    ("estimator", "check"), [pytest.param(*one, id=f"{type(one[0]).__name__}-{one[1]}") for one in checks()]
)
def test_the_conventions_of_scikit_learn(estimator: Any, check: Any) -> None:
    from unittest import SkipTest

    try:
        check(estimator)
    except SkipTest as reason:
        pytest.skip(str(reason))


def cancer() -> tuple[np.ndarray, np.ndarray]:
    return load_breast_cancer(return_X_y=True)


def shared(x: np.ndarray, y: Any) -> dict[str, tuple[np.ndarray, Any]]:
    """Columns of three members in the order in which the twin has them; labels at the first."""
    parts = np.array_split(np.arange(x.shape[1]), 3)
    return {
        name: (x[:, part], y if name == "bank" else None) for name, part in zip(NAMES, parts, strict=True)
    }


def with_gaps(x: np.ndarray) -> np.ndarray:
    out = x.copy()
    out[np.random.default_rng(1).random(x.shape) < 0.1] = np.nan
    return out


@pytest.mark.parametrize("parameters", [FEW, {**FEW, "n_iter_no_change": 2}])
def test_members_and_their_twin_predict_the_same(parameters: dict[str, Any], tmp_path: Path) -> None:
    x, y = cancer()
    x = with_gaps(x[:200])
    y = np.where(y[:200] == 1, "benign", "malignant")
    if "n_iter_no_change" in parameters:
        parameters = {**parameters, "validation_fraction": 0.2}

    def run(session: Any, given: Any) -> Any:
        model = GradientBoosting(session, **parameters).fit(*given)
        found = model.predict_proba(given[0])
        model.save(tmp_path / session.me)
        again = load(tmp_path / session.me, session)
        assert again.predict(given[0]) is None or list(again.classes_) == ["benign", "malignant"]
        return found, again.predict_proba(given[0]), model

    out = silo.simulate(NAMES, run, shared(x, y))
    found, again, model = out["bank"]
    assert out["office"][:2] == out["telecom"][:2] == (None, None)
    assert np.array_equal(found, again)
    assert roc_auc_score(y == "malignant", found[:, 1]) > 0.95
    assert model.n_iter_ == out["telecom"][2].n_iter_
    ids = {json.loads((tmp_path / name).read_text())["model"] for name in NAMES}
    assert len(ids) == 1
    if "n_iter_no_change" not in parameters:
        twin = GradientBoosting(**parameters).fit(x, y)
        assert np.array_equal(twin.predict_proba(x), found)
        twin.save(tmp_path / "twin")
        assert np.array_equal(load(tmp_path / "twin").predict(x), twin.predict(x))


def test_more_classes_and_numbers() -> None:
    for estimator, (x, y) in (
        (GradientBoosting, load_iris(return_X_y=True)),
        (GradientBoostingRegressor, load_diabetes(return_X_y=True)),
    ):
        x, y = x[::2], y[::2]
        out = silo.simulate(
            NAMES,
            lambda session, given, e=estimator: e(session, **FEW).fit(*given).predict(given[0]),
            shared(x, y),
        )
        twin = estimator(**FEW).fit(x, y)
        assert np.array_equal(out["bank"], twin.predict(x))
        assert twin.score(x, y) > 0.5


def table(draw: np.random.Generator, rows: int) -> tuple[list[list[Any]], np.ndarray]:
    cities = np.array(["Basel", "Chur", "Genf", "Sion", "Thun"], dtype=object)[draw.integers(0, 5, rows)]
    income = draw.normal(size=rows) * 12345.678
    y = ((income > 0) ^ np.isin(cities, ["Chur", "Sion"])).astype(int)
    return [[city, number] for city, number in zip(cities, income, strict=True)], y


def test_no_threshold_category_name_or_label_is_in_any_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    letters: list[bytes] = []
    seal = Pair.seal

    def heard(self: Pair, plaintext: bytes, *, rng: Any) -> Any:
        letters.append(bytes(plaintext))
        return seal(self, plaintext, rng=rng)

    monkeypatch.setattr(Pair, "seal", heard)
    rows, y = table(np.random.default_rng(4), 120)
    held = {
        "bank": (np.zeros((120, 1)) + np.arange(120)[:, None] % 3, y),
        "telecom": (np.array(rows, object), None),
    }
    models = silo.simulate(
        ["bank", "telecom"],
        lambda session, given: (m := GradientBoosting(session, **FEW).fit(*given), m.predict(given[0]))[0],
        held,
        two_party=silo.TWO_PARTY_WORDS,
    )
    city, income = models["telecom"].binning_.columns
    spoken = b"".join(letters)
    assert len(letters) > 20
    assert sum(map(len, models["telecom"].part_.splits)) > 3
    assert not any(name.encode() in spoken for name in city.categories)
    assert not any(np.float64(edge).tobytes() in spoken for edge in income.edges)
    assert not any(np.float64(edge).byteswap().tobytes() in spoken for edge in income.edges)
    leaves = [value for tree in models["bank"].model_.trees for value in tree.values]
    assert not any(np.float64(value).tobytes() in spoken for value in leaves)
    assert not any(np.float64(value).byteswap().tobytes() in spoken for value in leaves)


def test_categories_and_unknown_ones(tmp_path: Path) -> None:
    rows, y = table(np.random.default_rng(4), 300)
    model = GradientBoosting(n_estimators=20).fit(np.array(rows, object), y)
    assert model.score(np.array(rows, object), y) > 0.98
    model.save(tmp_path / "part")
    strange = np.array([["Lima", 1.0], [None, 1.0]], object)
    first, second = load(tmp_path / "part").predict_proba(strange)
    assert np.array_equal(first, second), "a category that was not there in training is a missing one"


def interrupted(monkeypatch: pytest.MonkeyPatch, who: str, after: int) -> None:
    add = Kept.add

    def cut(self: Kept, line: dict[str, Any]) -> None:
        if self._path is not None and self._path.name == f"{who}.trees" and self.trees == after:
            raise SiloError("the lights went out")
        add(self, line)

    monkeypatch.setattr(Kept, "add", cut)


@pytest.mark.parametrize(("who", "after"), [("bank", 2), ("telecom", 2), ("office", 1)])
def test_a_fit_that_was_cut_off_goes_on_to_the_same_model(
    who: str, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = cancer()
    x, y = x[:120], y[:120]
    new, runs = label.Run.new, []

    def same(*, rng: Any) -> label.Run:
        from silo.crypto.rng import InsecureSeededRng

        runs.append(1)
        return new(rng=InsecureSeededRng(8))

    monkeypatch.setattr(label.Run, "new", same)

    def run(session: Any, given: Any) -> Any:
        folder = tmp_path / session.me
        model = GradientBoosting(session, **FEW, goss=(0.3, 0.4), checkpoint=folder).fit(*given)
        assert not list(folder.iterdir()), "what was kept goes when the fit is over"
        return model.predict_proba(given[0])

    whole = silo.simulate(NAMES, run, shared(x, y))["bank"]
    with monkeypatch.context() as patch:
        interrupted(patch, who, after)
        with pytest.raises(SiloError):
            silo.simulate(NAMES, run, shared(x, y))
    kept = {name: len((tmp_path / name / f"{name}.trees").read_text().splitlines()) - 1 for name in NAMES}
    assert kept[who] == after
    grown: list[Any] = []
    add = Kept.add
    monkeypatch.setattr(
        Kept, "add", lambda self, line: (grown.append(1) if "tree" in line else None, add(self, line))[1]
    )
    assert np.array_equal(silo.simulate(NAMES, run, shared(x, y))["bank"], whole)
    assert len(grown) == FEW["n_estimators"] - min(kept.values())


def test_a_checkpoint_of_other_rows_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = cancer()
    with monkeypatch.context() as patch:
        interrupted(patch, "alone", 2)
        with pytest.raises(SiloError):
            GradientBoosting(**FEW, checkpoint=tmp_path).fit(x, y)
    other = GradientBoosting(**FEW, checkpoint=tmp_path).fit(x[:300], y[:300])
    assert np.array_equal(
        other.predict_proba(x), GradientBoosting(**FEW).fit(x[:300], y[:300]).predict_proba(x)
    )


def test_a_torn_last_line_counts_as_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = cancer()
    with monkeypatch.context() as patch:
        interrupted(patch, "alone", 3)
        with pytest.raises(SiloError):
            GradientBoosting(**FEW, checkpoint=tmp_path).fit(x, y)
    path = tmp_path / "alone.trees"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text(path.read_text()[:-40])
    model = GradientBoosting(**FEW, checkpoint=tmp_path).fit(x, y)
    assert np.array_equal(model.predict_proba(x), GradientBoosting(**FEW).fit(x, y).predict_proba(x))


def test_samples_alone_follow_random_state() -> None:
    x, y = cancer()

    def found(state: Any) -> np.ndarray:
        return GradientBoosting(**FEW, subsample=0.5, random_state=state).fit(x, y).predict_proba(x)

    assert np.array_equal(found(1), found(1))
    assert not np.array_equal(found(1), found(2))


def test_work_in_two_processes_is_the_same() -> None:
    both = workers.work(2)
    assert both.parts == 2
    jobs = [b"one", b"two", b"three"]
    assert list(both.run(bytes.upper, jobs)) == [b"ONE", b"TWO", b"THREE"]
    assert workers.work(1).run is map


WHO = "the table"


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        ([[1.0], [2.0]], [1, 1], f"{WHO}: a classifier needs 2 to 256 classes, and y has 1 class"),
        ([[1.0, 5.0], [2.0, 5.0]], [0, 1], f"{WHO}: column x1 has the same value in all rows"),
        ([[1.0, np.nan], [2.0, np.nan]], [0, 1], f"{WHO}: column x1 has no value in any row"),
        ([[1.0, np.inf], [2.0, 1.0]], [0, 1], f"{WHO}: column x1, row 0, is infinite"),
        ([[1.0], [2.0]], [0, 1, 1], f"{WHO}: y has 3 rows and the table has 2"),
        ([[1.0], [2.0]], None, f"{WHO} has no labels"),
    ],
)
def test_one_sentence_names_column_and_party(x: Any, y: Any, words: str) -> None:
    with pytest.raises(ParameterError, match=re.escape(words)):
        GradientBoosting().fit(np.array(x), y)


def test_text_where_numbers_were_and_text_as_labels_of_a_regression() -> None:
    x = np.array([[1.0], [2.0], [3.0]])
    model = GradientBoosting().fit(x, [0, 1, 1])
    with pytest.raises(ParameterError, match="the table: column x0 holds text, and held numbers in training"):
        model.predict(np.array([["a"]], object))
    with pytest.raises(ParameterError, match="y holds text"):
        GradientBoostingRegressor().fit(x, ["a", "b", "c"])


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"n_estimators": 0}, "trees is a whole number"),
        ({"n_estimators": 2.5}, "n_estimators is a whole number"),
        ({"max_bins": 256}, "bins is a whole number from 2 to 255"),
        ({"scheme": "rot13"}, "scheme is"),
        ({"goss": (0.9, 0.9)}, "one-side sampling"),
        ({"goss": 0.5}, "goss is a pair"),
        ({"subsample": 0.0}, "subsample is a fraction"),
        ({"learning_rate": -1.0}, "learning_rate is a number above 0"),
        ({"key_bits": 1024}, "key_bits is 2048 or 3072"),
        ({"n_iter_no_change": 3, "validation_fraction": 0.0}, "early stopping takes"),
    ],
)
def test_parameters_that_cannot_be_used(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        GradientBoosting(**parameters).fit(np.array([[1.0], [2.0]]), [0, 1])


def test_members_that_do_not_agree_stop_with_a_sentence() -> None:
    x, y = cancer()

    def other_terms(session: Any, given: Any) -> Any:
        depth = 2 if session.me == "office" else 3
        return GradientBoosting(session, max_depth=depth).fit(*given)

    with pytest.raises(SiloError, match=r"disagree about depth: office has 2"):
        silo.simulate(NAMES, other_terms, shared(x[:50], y[:50]))
    with pytest.raises(SiloError, match="nobody brought labels"):
        silo.simulate(NAMES, lambda s, g: GradientBoosting(s).fit(g[0]), shared(x[:50], y[:50]))
    with pytest.raises(ParameterError, match="the seed is secret"):
        silo.simulate(NAMES, lambda s, g: GradientBoosting(s, random_state=1).fit(*g), shared(x[:50], y[:50]))


def test_no_more_trees_than_the_charter_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    x, y = cancer()
    allowed = boosted.require
    monkeypatch.setattr(boosted, "require", lambda *a, **k: replace(allowed(*a, **k), trees=3))
    with pytest.raises(NotAllowed, match="trees of a boosted model"):
        silo.simulate(NAMES, lambda s, g: GradientBoosting(s, **FEW).fit(*g), shared(x[:50], y[:50]))


def test_a_part_does_not_score_alone(tmp_path: Path) -> None:
    x, y = cancer()
    held = shared(x[:60], y[:60])

    def run(session: Any, given: Any) -> None:
        GradientBoosting(session, **FEW).fit(*given).save(tmp_path / session.me)

    silo.simulate(NAMES, run, held)
    for name in NAMES:
        with pytest.raises(ParameterError, match="one part of a joint model"):
            load(tmp_path / name).predict(held[name][0])


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
    x, y = cancer()
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
    x, y = cancer()
    GradientBoosting(**FEW).fit(x, y).save(tmp_path / "part")
    part = json.loads((tmp_path / "part").read_text())
    inner = part[key]
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    (tmp_path / "part").write_text(json.dumps(part))
    with pytest.raises(ParameterError, match=words):
        load(tmp_path / "part")


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
