"""Linear models as partners meet them: scikit-learn's conventions, tables of all kinds, one script for all members."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn import linear_model as sk
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import silo
from silo import vertical
from silo.errors import ParameterError
from silo.protocols.errors import UnlikeTerms
from silo.simulation import simulate

NAMES = ("LogisticRegression", "LinearRegression", "PoissonRegression")
COLUMNS = [f"c{place}" for place in range(11)]
NEAR = 1e-3
DRAW = np.random.default_rng(5)
X = DRAW.normal(size=(200, 11)) + 0.3 * DRAW.normal(size=(200, 1))
Z = X @ DRAW.uniform(-0.5, 0.5, 11) + 0.2
Y = {
    "LogisticRegression": np.where(DRAW.uniform(size=200) < 1 / (1 + np.exp(-Z)), "yes", "no"),
    "LinearRegression": Z + DRAW.normal(size=200),
    "PoissonRegression": DRAW.poisson(np.exp(Z)).astype(float),
}
LABELS = Y["LogisticRegression"]
HELD = {"bank": (X[:, :3], LABELS), "telecom": (X[:, 3:], None)}
EASY: dict[str, Any] = {"tol": 1e-6}


def two(work: Callable[..., Any], inputs: Any = None, **options: Any) -> dict[str, Any]:
    return simulate(["bank", "telecom"], work, inputs or HELD, two_party=silo.TWO_PARTY_WORDS, **options)


# scikit-learn's conventions.


@parametrize_with_checks(
    [getattr(vertical, name)() for name in NAMES],
    expected_failed_checks=lambda estimator: {
        "check_dtype_object": "a dict in a cell is a ParameterError, which is a ValueError, and no TypeError"
    },
)
def test_scikit_learns_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def peer(name: str) -> Any:
    exact: dict[str, Any] = {"tol": 1e-9, "max_iter": 10_000}
    if name == "LogisticRegression":
        return sk.LogisticRegression(**exact)
    return sk.PoissonRegressor(**exact) if name == "PoissonRegression" else sk.LinearRegression()


@pytest.mark.parametrize("name", NAMES)
def test_by_default_a_single_table_gives_what_scikit_learn_gives(name: str) -> None:
    ours, theirs = getattr(vertical, name)().fit(X, Y[name]), peer(name).fit(X, Y[name])
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=NEAR)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=NEAR)
    assert ours.coef_.shape == theirs.coef_.shape
    if name == "LogisticRegression":
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=NEAR)
        assert (ours.predict(X) == theirs.predict(X)).all()
    else:
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=0.01)


def joint(name: str) -> Callable[..., Any]:
    def work(session: silo.Session, held: Any) -> Any:
        x, y = held
        model = getattr(vertical, name)(session, **EASY).fit(x, y)
        return model, model.predict(x), model.score(x, y)

    return work


@pytest.mark.parametrize("name", NAMES)
def test_two_members_have_the_model_of_the_joined_table(name: str) -> None:
    found = two(joint(name), {"bank": (X[:, :3], Y[name]), "telecom": (X[:, 3:], None)})
    (bank, predicted, score), (telecom, *nothing) = found["bank"], found["telecom"]
    theirs = peer(name).fit(X, Y[name])
    np.testing.assert_allclose(np.ravel(bank.coef_), np.ravel(theirs.coef_)[:3], atol=NEAR)
    np.testing.assert_allclose(telecom.coef_, np.ravel(theirs.coef_)[3:], atol=NEAR)
    np.testing.assert_allclose(bank.intercept_, theirs.intercept_, atol=NEAR)
    assert nothing == [None, None]
    if name == "LogisticRegression":
        assert (predicted == theirs.predict(X)).mean() > 0.99
    else:
        np.testing.assert_allclose(predicted, theirs.predict(X), atol=0.02)
    expected = accuracy_score if name == "LogisticRegression" else r2_score
    assert score == expected(Y[name], predicted)
    assert bank.model_id_ == telecom.model_id_
    assert (bank.label_party_, telecom.member_, telecom.n_features_in_) == ("bank", "telecom", 8)


def test_three_members_and_the_last_of_them_has_the_labels() -> None:
    held = {"ash": (X[:, :5], None), "birch": (X[:, 5:8], None), "cedar": (X[:, 8:], LABELS)}
    found = simulate(list(held), joint("LogisticRegression"), held)
    whole = np.concatenate([np.ravel(found[name][0].coef_) for name in held])
    np.testing.assert_allclose(whole, np.ravel(peer("LogisticRegression").fit(X, LABELS).coef_), atol=NEAR)
    assert found["ash"][1] is found["birch"][1] is None


def test_passes_that_do_not_suffice_are_warned_of_by_the_label_party() -> None:
    def work(session: silo.Session, held: Any) -> int:
        model = vertical.LogisticRegression(session, max_iter=2)
        if held[1] is None:
            return int(model.fit(*held).n_iter_)
        with pytest.warns(ConvergenceWarning, match="after 2 passes"):
            return int(model.fit(*held).n_iter_)

    assert two(work) == {"bank": 2, "telecom": 0}


# The same lines of scikit-learn at all members.


def test_a_pipeline_is_one_script_for_all_members() -> None:
    def work(session: silo.Session, held: Any) -> Any:
        x, y = held
        line = make_pipeline(StandardScaler(), vertical.LogisticRegression(session, **EASY)).fit(x, y)
        return line[-1].coef_, line.predict_proba(x)

    found = two(work)
    theirs = make_pipeline(StandardScaler(), peer("LogisticRegression")).fit(X, LABELS)
    whole = np.concatenate([np.ravel(found[name][0]) for name in ("bank", "telecom")])
    np.testing.assert_allclose(whole, np.ravel(theirs[-1].coef_), atol=NEAR)
    np.testing.assert_allclose(found["bank"][1], theirs.predict_proba(X), atol=NEAR)
    assert found["telecom"][1] is None


def test_a_grid_is_searched_by_all_members_in_step() -> None:
    """Folds without a look at labels, a score that hosts have too, and the choice that the label party tells."""
    grid = {"C": [1e-4, 1.0]}

    def work(session: silo.Session, held: Any) -> Any:
        x, y = held

        def accuracy(model: Any, x: Any, y: Any = None) -> float:
            return model.score(x, y) or 0.0

        def best(results: Any) -> int:
            return int(session.sum(0 if y is None else int(np.argmax(results["mean_test_score"]))))

        search = GridSearchCV(
            vertical.LogisticRegression(session, **EASY),
            grid,
            cv=KFold(3, shuffle=True, random_state=1),
            scoring=accuracy,
            refit=best,
            error_score="raise",
        )
        search.fit(x, y)
        return search.best_params_, search.best_estimator_.coef_, search.cv_results_["mean_test_score"]

    found = two(work)
    theirs = GridSearchCV(peer("LogisticRegression"), grid, cv=KFold(3, shuffle=True, random_state=1))
    theirs.fit(X, LABELS)
    assert found["bank"][0] == found["telecom"][0] == theirs.best_params_ == {"C": 1.0}
    np.testing.assert_allclose(found["bank"][2], theirs.cv_results_["mean_test_score"], atol=0.01)
    np.testing.assert_allclose(found["telecom"][1], np.ravel(theirs.best_estimator_.coef_)[3:], atol=NEAR)


@pytest.mark.parametrize("name", NAMES)
def test_a_single_table_is_cross_validated_and_searched_as_ever(name: str) -> None:
    scoring = "accuracy" if name == "LogisticRegression" else "r2"
    ours, theirs = (
        cross_val_score(make_pipeline(StandardScaler(), one), X, Y[name], cv=4, scoring=scoring)
        for one in (getattr(vertical, name)(), peer(name))
    )
    np.testing.assert_allclose(ours, theirs, atol=0.02)
    key = "C" if name == "LogisticRegression" else "alpha"
    search = GridSearchCV(getattr(vertical, name)(), {key: [1e-3, 1.0]}, cv=3).fit(X, Y[name])
    assert search.best_params_[key] in (1e-3, 1.0)


def test_a_copy_keeps_the_session_and_forgets_the_fit() -> None:
    def work(session: silo.Session, held: Any) -> Any:
        model = vertical.LogisticRegression(session, **EASY).fit(*held)
        other = clone(model)
        assert other.session is session
        with pytest.raises(NotFittedError):
            other.predict(held[0])
        # Again with the same object: one fit more, and nothing is left of the first.
        return model.model_id_ != model.fit(*held).model_id_

    assert two(work) == {"bank": True, "telecom": True}


# Tables.


def tables(x: Any, names: list[str]) -> dict[str, Any]:
    frame = pd.DataFrame(x, columns=names)
    return {
        "NumPy": np.asarray(x),
        "pandas": frame,
        "Polars": pl.from_pandas(frame),
        "Arrow": pa.Table.from_pandas(frame),
        "list": np.asarray(x).tolist(),
        "pandas with Arrow's types": frame.convert_dtypes(dtype_backend="pyarrow"),
        "pandas with nullable types": frame.convert_dtypes(),
    }


@pytest.mark.parametrize("name", NAMES)
def test_tables_of_all_kinds_give_the_same_coefficients(name: str) -> None:
    labels = {
        "NumPy": Y[name],
        "pandas": pd.Series(Y[name]),
        "Polars": pl.Series(Y[name]),
        "Arrow": pa.array(Y[name]),
    }
    found = {}
    for kind, table in tables(X, COLUMNS).items():
        model = getattr(vertical, name)().fit(table, labels.get(kind, Y[name]))
        found[kind] = np.ravel(model.coef_)
        named = kind not in ("NumPy", "list")
        assert list(getattr(model, "feature_names_in_", [])) == (COLUMNS if named else [])
        np.testing.assert_array_equal(model.predict(table), model.predict(X))
    for one in found.values():
        np.testing.assert_array_equal(one, found["NumPy"])


def test_members_need_not_use_the_same_kind_of_table() -> None:
    held = {
        "bank": (tables(X[:, :3], COLUMNS[:3])["Polars"], pl.Series(LABELS)),
        "telecom": (tables(X[:, 3:], COLUMNS[3:])["pandas"], None),
    }
    found = two(joint("LogisticRegression"), held)
    np.testing.assert_allclose(
        found["telecom"][0].coef_, np.ravel(peer("LogisticRegression").fit(X, LABELS).coef_)[3:], atol=NEAR
    )


GOOD = pd.DataFrame({"age": [30.0, 40.0, 50.0, 60.0], "income": [1.0, 2.0, 1.0, 5.0]})
CLASSES = np.array([0, 1, 1, 0])


def with_column(name: str, values: Any) -> pd.DataFrame:
    return GOOD.assign(**{name: values})


def sentence(work: Callable[[], Any], *words: str) -> None:
    with pytest.raises(ParameterError) as caught:
        work()
    said = str(caught.value)
    assert "\n" not in said
    for word in words:
        assert word in said


BAD_TABLES = [
    (with_column("job", ["clerk", "cook", "cook", "nurse"]), ("column job holds text", "encode it")),
    (with_column("job", ["clerk", None, "cook", pd.NA]), ("column job holds text",)),
    (with_column("job", [1.0, 2.0, "abc", 3.0]), ("column job mixes numbers and text, as in row 2",)),
    (
        with_column("income", [1.0, np.nan, 1.0, 2.0]),
        ("column income, row 1, is missing", "fill it or drop the row"),
    ),
    (with_column("income", pd.array([1, None, 2, 3], dtype="Int64")), ("column income, row 1, is missing",)),
    (with_column("income", pd.Series([1, 2, pd.NA, 3], dtype=object)), ("column income, row 2, is missing",)),
    (
        with_column("member", pd.array([True, None, True, True], dtype="boolean")),
        ("column member, row 1, is missing",),
    ),
    (with_column("income", [1.0, 2.0, -np.inf, 3.0]), ("column income, row 2, is infinite",)),
    (with_column("income", [1.0, 2.0, 1e60, 3.0]), ("column income", "beyond 1e+50: scale it")),
    (with_column("since", pd.to_datetime(["2020-01-01"] * 4)), ("column since holds datetime64",)),
    (pd.DataFrame(np.ones((4, 2)), columns=["age", "age"]), ("two columns are called age",)),
    (pa.table([pa.array([1.0] * 4)] * 2, names=["age", "age"]), ("two columns are called age",)),
    (pl.DataFrame({"visits": [[1, 2]] * 4}), ("column visits holds",)),
    ([[1.0, 10**400]] * 4, ("column x1", "beyond")),
    ([[1.0, 2.0], [3.0], [1.0, 2.0], [1.0, 2.0]], ("rows of the table are not of one length",)),
    (np.ma.masked_array(GOOD.to_numpy(), np.eye(4, 2)), ("column x0, row 0, is missing",)),
    (pl.LazyFrame({"age": [1.0]}), ("two dimensions",)),
    (GOOD.iloc[:0], ("0 sample(s)",)),
]


@pytest.mark.parametrize(("table", "words"), BAD_TABLES, ids=lambda value: str(value)[:30])
def test_a_table_that_does_not_fit_is_one_sentence_with_column_and_party(
    table: Any, words: tuple[str, ...]
) -> None:
    sentence(lambda: vertical.LogisticRegression().fit(table, CLASSES), "the table: ", *words)


def test_in_a_session_the_sentence_names_the_member_and_nobody_is_called() -> None:
    def work(session: silo.Session, _: Any) -> None:
        left: list[Any] = []
        session.seat.record = left.append
        if session.me == "telecom":
            for table, words in BAD_TABLES:
                sentence(
                    lambda table=table: vertical.LinearRegression(session).fit(table), "telecom: ", *words
                )
        assert not left

    two(work)


@pytest.mark.parametrize(
    ("name", "y", "words"),
    [
        ("LogisticRegression", [1, 1, 1, 1], ("needs two classes", "1 class")),
        ("LogisticRegression", [0, 1, 2, 1], ("needs two classes", "Only binary classification")),
        (
            "LogisticRegression",
            [0.5, 1.5, 1.25, 0.5],
            ("y holds no classes", "Unknown label type: continuous"),
        ),
        ("LogisticRegression", [0, 1, 1], ("y has 3 rows and the table has 4",)),
        ("LogisticRegression", [0.0, np.nan, 1.0, 1.0], ("y, row 1, is NaN",)),
        ("LogisticRegression", ["a", None, "b", "b"], ("y has missing values",)),
        (
            "LogisticRegression",
            pd.Series([True, None, False, True], dtype="boolean"),
            ("y has missing values",),
        ),
        ("LinearRegression", [0.0, np.inf, 1.0, 1.0], ("y, row 1, is NaN or infinity",)),
        ("LinearRegression", ["a", "b", "c", "d"], ("y holds text",)),
        ("LinearRegression", np.ones((4, 2)), ("y is one column", "(4, 2)")),
        ("LinearRegression", [[1], [2, 3], [1], [1]], ("the rows of y are not of one length",)),
        ("PoissonRegression", [1.0, -1.0, 2.0, 0.0], ("none below 0",)),
        ("PoissonRegression", [0, 0, 0, 0], ("one above at least",)),
        ("PoissonRegression", [1.0, 2.0, np.nan, 0.0], ("y, row 2, is NaN",)),
    ],
)
def test_labels_that_do_not_fit_are_one_sentence(name: str, y: Any, words: tuple[str, ...]) -> None:
    sentence(lambda: getattr(vertical, name)().fit(GOOD, y), "the table: ", *words)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("LogisticRegression", {"C": 0.0}),
        ("LogisticRegression", {"C": float("nan")}),
        ("LogisticRegression", {"l1_ratio": 1.5}),
        ("LinearRegression", {"alpha": -1.0}),
        ("PoissonRegression", {"alpha": float("nan")}),
        ("PoissonRegression", {"l1_ratio": -0.1}),
        ("LinearRegression", {"scheme": "plain"}),
        ("LinearRegression", {"tol": -1.0}),
        ("LinearRegression", {"max_iter": 0}),
        ("LinearRegression", {"max_iter": -3}),
    ],
)
def test_parameters_that_are_none_are_one_sentence(name: str, wrong: dict[str, Any]) -> None:
    sentence(lambda: getattr(vertical, name)(**wrong).fit(GOOD, CLASSES))


def test_a_table_to_score_has_the_columns_of_the_fit() -> None:
    model = vertical.LogisticRegression().fit(GOOD, CLASSES)
    sentence(lambda: model.predict(GOOD[["income", "age"]]), "another order")
    sentence(lambda: model.predict(GOOD.rename(columns={"age": "years"})), "column age is missing")
    sentence(lambda: model.predict(GOOD[["age"]].to_numpy()), "1 features", "expecting 2")
    sentence(lambda: model.predict(with_column("income", [1.0, np.nan, 1.0, 1.0])), "column income, row 1")
    with pytest.raises(NotFittedError):
        vertical.LogisticRegression().predict(GOOD)


# Parts of models in files.


def test_parts_are_saved_and_score_again(tmp_path: Path) -> None:
    def work(session: silo.Session, held: Any) -> Any:
        x, y = held
        frame = pd.DataFrame(x, columns=[f"{session.me} {place}" for place in range(x.shape[1])])
        model = vertical.LogisticRegression(session, **EASY).fit(frame, y)
        before = model.predict_proba(frame), model.score(frame, y)
        path = tmp_path / f"{session.me}.json"
        model.save(path)
        assert path.stat().st_mode & 0o777 == 0o600
        again = vertical.load(path, session)
        assert type(again) is vertical.LogisticRegression
        sentence(lambda: again.predict(frame.iloc[:, ::-1]), "another order")
        after = again.predict_proba(frame), again.score(frame, y)
        others = path.read_text().count("telecom 0" if session.me == "bank" else "bank 0")
        return before, after, again.predict(frame), others

    found = two(work)
    (before, after, predicted, others) = found["bank"]
    np.testing.assert_array_equal(before[0], after[0])
    assert before[1] == after[1] == (predicted == LABELS).mean()
    assert found["telecom"][:3] == ((None, None), (None, None), None)
    assert others == found["telecom"][3] == 0, "a part tells of the other's columns"
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".json"]


def test_a_part_is_of_no_use_alone_elsewhere_or_beside_a_part_of_another_model(tmp_path: Path) -> None:
    def work(session: silo.Session, held: Any) -> None:
        x, y = held
        paths = [tmp_path / f"{session.me}-{number}.json" for number in (1, 2)]
        for path in paths:
            vertical.LogisticRegression(session, **EASY).fit(x, y).save(path)
        alone = vertical.load(paths[0])
        sentence(lambda: alone.predict(x), "one part of a joint model of bank, telecom", "session=session")
        theirs = tmp_path / ("telecom-1.json" if session.me == "bank" else "bank-1.json")
        session.sum(0)  # until the other's file is there
        stolen = vertical.load(theirs, session)
        sentence(lambda: stolen.predict(np.ones((2, stolen.n_features_in_))), f"and {session.me} takes part")
        single = vertical.LinearRegression().fit(x, x[:, 0]).set_params(session=session)
        sentence(lambda: single.predict(x), "of one table")
        mixed = vertical.load(paths[0 if session.me == "bank" else 1], session)
        with pytest.raises(UnlikeTerms, match="scored by"):
            mixed.predict(x)

    two(work)


@pytest.mark.parametrize(
    "y",
    [
        np.array([True, False, True, False]),
        np.array([3, 5, 5, 3]),
        np.array([3, 5, 5, 3], np.uint8),
        np.array([2.0, 3.0, 3.0, 2.0]),
        np.array(["no", "yes", "yes", "no"]),
        np.array(["no", "yes", "yes", "no"], object),
    ],
    ids=lambda y: y.dtype.name,
)
def test_classes_come_back_as_they_were(tmp_path: Path, y: Any) -> None:
    model = vertical.LogisticRegression().fit(GOOD, y)
    model.save(tmp_path / "model.json")
    again = vertical.load(tmp_path / "model.json")
    assert again.classes_.tolist() == model.classes_.tolist()
    assert again.predict(GOOD).tolist() == model.predict(GOOD).tolist()
    np.testing.assert_array_equal(again.coef_, model.coef_)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_of_one_table_comes_back_to_the_last_bit(tmp_path: Path, name: str) -> None:
    model = getattr(vertical, name)().fit(X, Y[name])
    model.save(tmp_path / "model.json")
    again = vertical.load(tmp_path / "model.json")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.score(X, Y[name]) == model.score(X, Y[name])


CHANGES: list[dict[str, Any]] = [
    {"format": "another"},
    {"version": 2},
    {"version": "1"},
    {"kind": "forest"},
    {"kind": None},
    {"coefficients": [1.0]},
    {"coefficients": [1.0, "2"]},
    {"coefficients": [1.0, float("nan")]},
    {"coefficients": [1.0, float("inf")]},
    {"coefficients": [1.0, 10**400]},
    {"coefficients": [1.0, True]},
    {"coefficients": {"0": 1.0}},
    {"intercept": None},
    {"intercept": float("nan")},
    {"columns": 3},
    {"columns": True},
    {"names": ["age"]},
    {"members": "bank"},
    {"members": [1, 2]},
    {"member": 7},
    {"model": None},
    {"label_party": []},
    {"classes": [1, 2]},
    {"classes": ["0"]},
    {"classes": ["0", "1", "2"]},
    {"classes": ["0", "0"]},
    {"classes": ["a", "b"]},
    {"class_type": "O"},
    {"class_type": "b"},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_part_that_was_changed_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "model.json"
    vertical.LogisticRegression().fit(GOOD, CLASSES).save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    sentence(lambda: vertical.load(path))


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe", b"[1]", b"{", b'{"format": 1}', b"[" * 100_000])
def test_what_is_no_part_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "model.json"
    path.write_bytes(raw)
    sentence(lambda: vertical.load(path))
    sentence(lambda: vertical.load(tmp_path / "absent.json"), "cannot be read")


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    model = vertical.LogisticRegression().fit(GOOD, CLASSES)
    sentence(lambda: model.save(tmp_path / "file" / "model.json"), "cannot be written")
    with pytest.raises(NotFittedError):
        vertical.LogisticRegression().save(tmp_path / "model.json")
