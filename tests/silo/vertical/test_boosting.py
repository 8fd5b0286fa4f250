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
from silo.journal import Journal
from silo.protocols.private import Pair
from silo.protocols.vertical.boosting import far, label
from silo.vertical import GradientBoosting, GradientBoostingRegressor, boosted, load, workers
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
    both = workers.work(2, 10**6)
    assert both.parts == 2
    jobs = [b"one", b"two", b"three"]
    assert list(both.run(bytes.upper, jobs)) == [b"ONE", b"TWO", b"THREE"]
    assert workers.work(1, 10**6).run is map
    assert workers.work(2, 100).run is map


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


def test_a_host_knows_the_trees_of_an_iteration_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only who has y knows how many classes there are: the roll call says it, and each holds its cap against it."""
    from dataclasses import replace

    x, y = load_iris(return_X_y=True)
    allowed, letters = boosted.require, []

    def few(session: Any, *given: Any, **how: Any) -> Any:
        found = allowed(session, *given, **how)
        return found if session.me == "bank" else replace(found, trees=5)

    monkeypatch.setattr(boosted, "require", few)
    monkeypatch.setattr(Pair, "seal", lambda *_, **__: letters.append(1))

    def run(session: Any, given: Any) -> Any:
        with pytest.raises(SiloError) as caught:
            GradientBoosting(session, n_estimators=2).fit(*given)
        return caught.value

    found = silo.simulate(NAMES, run, shared(x, y))
    assert isinstance(found["telecom"], NotAllowed)
    assert "6" in str(found["telecom"])
    assert not letters


def test_more_columns_than_fit_are_refused_before_the_fit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = cancer()
    monkeypatch.setattr(far, "MOST_BINS", 2 * 12)
    monkeypatch.setattr(far, "require_room", lambda shape: None)
    counted: list[int] = []
    monkeypatch.setattr(Journal, "fit", lambda *_: counted.append(1))
    held = shared(x[:50], y[:50])
    held["office"] = (x[:50, :13], None)
    with pytest.raises(SiloError, match=r"office: boosting takes 1 to 12 columns of a member"):
        silo.simulate(NAMES, lambda s, g: GradientBoosting(s, **FEW).fit(*g), held)
    assert not counted


@pytest.mark.parametrize("said", ["", "0", "257", "-1", "x", "1" * 4, "²"])
def test_what_is_no_number_of_trees_an_iteration(said: str) -> None:
    with pytest.raises(ParameterError, match="1 to 256 trees an iteration"):
        boosted._groups(said)


def test_a_part_does_not_score_alone(tmp_path: Path) -> None:
    x, y = cancer()
    held = shared(x[:60], y[:60])

    def run(session: Any, given: Any) -> None:
        GradientBoosting(session, **FEW).fit(*given).save(tmp_path / session.me)

    silo.simulate(NAMES, run, held)
    for name in NAMES:
        with pytest.raises(ParameterError, match="one part of a joint model"):
            load(tmp_path / name).predict(held[name][0])
