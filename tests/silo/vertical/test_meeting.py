"""What members must agree on before a vertical model, what the charter allows, and what a fit counts as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import silo
from silo import simulation, vertical
from silo.charter import Privacy, Vertical
from silo.driver import Left
from silo.errors import NotAllowed, ParameterError, QueriesSpent
from silo.journal import Journal
from silo.privacy.errors import NotCovered
from silo.protocols.errors import ProtocolAborted, TooFewParties, UnlikeTerms
from silo.protocols.vertical.linear.terms import Terms
from silo.simulation import simulate
from silo.vertical import boosted, foreseen, meeting
from tests.protocols.vertical.boosting_circle import SmallOkamotoUchiyama

DRAW = np.random.default_rng(5)
X = DRAW.normal(size=(120, 9))
Y = (X.sum(axis=1) + DRAW.normal(size=120) > 0).astype(int)
TWO = {"bank": (X[:, :3], Y), "telecom": (X[:, 3:], None)}
THREE = {"bank": (X[:, :3], Y), "cards": (X[:, 3:6], None), "telecom": (X[:, 6:], None)}
FEW: dict[str, Any] = {"tol": 1e-2}
Work = Callable[[silo.Session, Any], Any]


def run(work: Work, held: Any = None, **options: Any) -> dict[str, Any]:
    """What each member got, an error included: nobody's error hides another's."""

    def tried(session: silo.Session, given: Any) -> Any:
        try:
            return work(session, given)
        except silo.SiloError as problem:
            return problem

    inputs = held or TWO
    words = {"two_party": silo.TWO_PARTY_WORDS} if len(inputs) == 2 else {}
    return simulate(list(inputs), tried, inputs, **words, **options)


def watched(session: silo.Session) -> list[Left]:
    """What leaves from now on: a simulation keeps no outbox of it."""
    left: list[Left] = []
    session.seat.record = left.append
    return left


def model(session: silo.Session, **options: Any) -> Any:
    return vertical.LogisticRegression(session, **(FEW | options))


def fits(session: silo.Session, given: Any) -> str:
    return str(model(session).fit(*given).label_party_)


# What the charter allows.


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        (Vertical(models=("boosting",)), "kind linear"),
        (Vertical(rows=119), "120"),
        (Vertical(label="telecom"), "labels of telecom"),
    ],
)
def test_what_the_charter_does_not_allow_is_refused_before_the_roll_call(terms: Vertical, words: str) -> None:
    def work(session: silo.Session, given: Any) -> None:
        left = watched(session)
        if given[1] is not None:
            with pytest.raises(NotAllowed, match=words):
                fits(session, given)
        assert not left

    assert set(run(work, vertical=terms).values()) == {None}


def test_without_vertical_terms_there_are_no_models() -> None:
    def work(session: silo.Session, given: Any) -> None:
        session.charter = replace(session.charter, vertical=None, signatures=())
        fits(session, given)

    for problem in run(work).values():
        assert isinstance(problem, NotAllowed)
        assert "no vertical models" in str(problem)


def test_labels_of_another_member_than_the_charters_are_refused_at_the_other_side_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require = meeting.require

    def lenient(session: silo.Session, *asked: Any, **how: Any) -> Vertical:
        if session.me == "telecom":
            return require(session, *asked, **how)
        return replace(session.charter.vertical, label="*")  # type: ignore[type-var]

    monkeypatch.setattr(meeting, "require", lenient)
    monkeypatch.setattr("silo.vertical.linear_model.require", lenient)

    def work(session: silo.Session, given: Any) -> Any:
        left = watched(session)
        try:
            return fits(session, given)
        finally:
            told.append((session.me, {one.kind for one in left}))

    told: list[tuple[str, set[str]]] = []
    found = run(work, vertical=Vertical(label="telecom"))
    assert ("telecom", {"Present"}) in told
    assert isinstance(found["telecom"], NotAllowed)
    assert "bank brought labels" in str(found["telecom"])
    assert isinstance(found["bank"], ProtocolAborted)
    assert found["bank"].missing == ("telecom",)
    assert run(work, vertical=Vertical(label="bank")) == dict.fromkeys(TWO, "bank")


def test_passes_are_the_charters_unless_fewer_are_asked_for() -> None:
    def work(session: silo.Session, given: Any) -> Any:
        with pytest.raises(NotAllowed, match=r"the passes of a linear model \(agreed 2, asked 3\)"):
            model(session, max_iter=3).fit(*given)
        assert session.position == 0
        counts = [model(session, tol=100.0, **how).fit(*given).n_iter_ for how in ({}, {"max_iter": 1})]
        return counts, session.journal.sessions_of(session.charter.digest, session.task.name) != []

    assert run(work, vertical=Vertical(passes=2, fits=2))["bank"][0] == [1, 1]


def test_a_single_hidden_column_is_refused_by_all_and_counts_as_no_fit() -> None:
    def work(session: silo.Session, given: Any) -> str:
        x, y = given
        with pytest.raises(ParameterError, match="allow no pass") as caught:
            model(session).fit(x[:, :1], y)
        assert "\n" not in str(caught.value)
        return fits(session, given)

    assert run(work, vertical=Vertical(fits=1)) == dict.fromkeys(TWO, "bank")


@pytest.mark.parametrize(("scheme", "row"), [("lattice", 13), ("paillier", 2 * 3072 // 8)])
def test_bytes_beyond_the_tasks_cap_are_refused_for_each_scheme(scheme: str, row: int) -> None:
    terms = Terms("logistic", 1.0, 0.0, scheme, 5, 0.0)
    assert foreseen.fit(terms, 10**6, 3, requests=2) >= 5 * 10**6 * 2 * row
    needed = foreseen.fit(terms, 120, 3, requests=1)

    def work(session: silo.Session, given: Any) -> None:
        x, y = given
        left = watched(session)
        task = replace(session.task, bytes=needed - 1)
        session.charter, session.task = replace(session.charter, tasks=(task,), signatures=()), task
        with pytest.raises(NotAllowed, match="bytes of task"):
            model(session, scheme=scheme, max_iter=5).fit(x[:, :3], y)
        assert not left

    assert set(run(work).values()) == {None}


def test_no_more_is_sent_than_was_foreseen() -> None:
    def work(session: silo.Session, given: Any) -> int:
        left = watched(session)
        model(session, max_iter=2, tol=0.5).fit(*given)
        return sum(one.size for one in left if one.kind == "Private")

    for held in (TWO, THREE):
        for name, sent in run(work, held, threads=1).items():
            terms = Terms("logistic", 1.0, 0.0, "lattice", 2, 0.0)
            most = foreseen.fit(terms, 120, held[name][0].shape[1], requests=len(held) - 1)
            assert most / 20 < sent <= most


def test_a_label_party_that_would_send_more_to_wide_tables_is_refused_before_it_does() -> None:
    """The lattice has a key for every 16 columns; how many the others have is known from the roll call on."""
    wide = {"bank": TWO["bank"], "telecom": (np.tile(TWO["telecom"][0], 8), None)}
    terms = Terms("logistic", 1.0, 0.0, "lattice", 2, 0.0)
    needed = foreseen.fit(terms, 120, 3, requests=3)

    def work(session: silo.Session, given: Any) -> Any:
        if session.me == "bank":
            task = replace(session.task, bytes=needed - 1)
            limited = replace(session.charter, tasks=(task,), signatures=())
            session.check_leaving = lambda coming, rounds=0: limited.limits().require(bytes=coming)  # type: ignore[method-assign]
        left = watched(session)
        try:
            return model(session, max_iter=2).fit(*given)
        finally:
            told.append({one.kind for one in left})

    told: list[set[str]] = []
    found = run(work, wide)
    assert told == [{"Present"}, {"Present"}]
    assert isinstance(found["bank"], NotAllowed)
    assert isinstance(found["telecom"], ProtocolAborted)


# How often.


def test_fits_are_counted_under_a_charter_and_scorings_are_not() -> None:
    def work(session: silo.Session, given: Any) -> Any:
        x, y = given
        for _ in range(2):
            fitted = model(session).fit(x, y)
            fitted.predict(x)
        with pytest.raises(QueriesSpent, match="2 vertical fits") as caught:
            model(session).fit(x, y)
        # Nothing of the third left but the roll call, and what was fitted still scores.
        return caught.value.code, fitted.score(x, y)

    found = run(work, vertical=Vertical(fits=2))
    assert [one[0] for one in found.values()] == ["SILO-406"] * 2
    assert found["bank"][1] > 0.8


@pytest.mark.parametrize("kind", [vertical.LogisticRegression, vertical.GradientBoosting])
def test_scorings_are_counted_where_the_charter_caps_them(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boosted, "ciphers", lambda terms: SmallOkamotoUchiyama())
    few = FEW if kind is vertical.LogisticRegression else {"n_estimators": 1, "max_depth": 2, "max_bins": 8}

    def work(session: silo.Session, given: Any) -> Any:
        x, y = given
        fitted = kind(session, **few).fit(x, y)
        for _ in range(2):
            fitted.predict(x)
        left = watched(session)
        with pytest.raises(
            QueriesSpent, match=r"2 vertical scorings .*\(agreed 2 under this charter, asked 3\)"
        ):
            fitted.predict(x)
        kinds = {one.kind for one in left}
        # A fit is counted apart, and brings no scorings with it.
        kind(session, **few).fit(x, y)
        with pytest.raises(QueriesSpent, match="2 vertical scorings"):
            fitted.predict(x[:1])
        return kinds

    assert run(work, vertical=Vertical(fits=2, scorings=2)) == {name: {"Present"} for name in TWO}


def test_the_journal_counts_fits_for_good_and_apart_from_intersections(tmp_path: Path) -> None:
    path, charter = tmp_path / "journal.db", b"c" * 32
    with Journal.open(path) as journal:
        for number in range(3):
            journal.fit(charter, b"s" * 32, number, 3)
        journal.fit(b"d" * 32, b"s" * 32, 0, 1)
        journal.ask(charter, b"s" * 32, 0, 1)
        journal.score(charter, b"s" * 32, 0, 1)
    with Journal.open(path) as journal, pytest.raises(QueriesSpent, match="3 vertical fits") as caught:
        journal.fit(charter, b"t" * 32, 9, 3)
    assert caught.value.code == "SILO-406"


# What all must say alike.


def asked(session: silo.Session, given: Any) -> Any:
    x, y, options, ids = given
    return model(session, **options).fit(x, y, ids=ids)


IDS = [f"person {place}" for place in range(120)]
OTHER_ORDER = [*IDS[1:], IDS[0]]


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        ({"rows": 119}, "rows: telecom has 119, the others have 120"),
        ({"options": {"C": 2.0}}, "penalties: telecom has l1 0.0, l2 0.5, the others have l1 0.0, l2 1.0"),
        ({"options": {"l1_ratio": 0.5}}, "penalties: telecom has l1 0.5"),
        ({"options": {"scheme": "paillier"}}, "scheme: telecom has paillier, the others have lattice"),
        ({"options": {"max_iter": 3}}, "passes: telecom has 3"),
        ({"options": {"tol": 1e-3}}, "tol 0.001"),
        ({"options": {"fit_intercept": False}}, "intercept: telecom has False, the others have True"),
        (
            {"ids": OTHER_ORDER},
            "order of the rows, a digest of their ids: telecom has",
        ),
        ({"ids": None}, "order of the rows, a digest of their ids: telecom has nothing, the others have"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_member_that_asks_for_something_else_is_named_by_all(odd: dict[str, Any], words: str) -> None:
    held = {name: (x, y, {}, IDS) for name, (x, y) in THREE.items()}
    x = THREE["telecom"][0]
    rows = odd.get("rows", len(x))
    held["telecom"] = (x[:rows], None, odd.get("options", {}), odd.get("ids", IDS[:rows]))
    if "rows" in odd:
        held = {name: (*one[:3], None) for name, one in held.items()}
    for problem in run(asked, held).values():
        assert isinstance(problem, UnlikeTerms)
        assert problem.culprits == ("telecom",)
        assert words in str(problem)
        assert "person" not in str(problem)


def test_another_family_at_one_member_is_named() -> None:
    def work(session: silo.Session, given: Any) -> Any:
        kind = vertical.LinearRegression if session.me == "cards" else vertical.LogisticRegression
        return kind(session).fit(*given)

    for problem in run(work, THREE).values():
        assert isinstance(problem, UnlikeTerms)
        assert problem.culprits == ("cards",)


@pytest.mark.parametrize(
    ("who", "words", "culprits"),
    [
        ((), "nobody brought labels: one member passes y", ("bank", "cards", "telecom")),
        (("bank", "cards"), "bank, cards brought labels", ("bank", "cards")),
        (("bank", "cards", "telecom"), "bank, cards, telecom brought labels", ("bank", "cards", "telecom")),
    ],
)
def test_one_member_brings_labels(who: tuple[str, ...], words: str, culprits: tuple[str, ...]) -> None:
    held = {name: (x, Y if name in who else None) for name, (x, _) in THREE.items()}
    for problem in run(fits, held).values():
        assert isinstance(problem, UnlikeTerms)
        assert problem.culprits == culprits
        assert words in str(problem)


def test_the_same_identifiers_in_the_same_order_are_no_matter_of_their_type() -> None:
    held = {
        "bank": (*TWO["bank"], {}, range(120)),
        "telecom": (*TWO["telecom"], {}, [str(one) for one in range(120)]),
    }
    assert {one.label_party_ for one in run(asked, held).values()} == {"bank"}


def test_identifiers_that_come_twice_or_do_not_match_the_rows_are_one_sentence() -> None:
    def work(session: silo.Session, given: Any) -> None:
        if given[1] is None:
            for ids, words in ((["a"] * 120, "came before"), (IDS[:119], "119 identifiers and 120 rows")):
                with pytest.raises(ParameterError, match=words) as caught:
                    model(session).fit(*given, ids=ids)
                assert "\n" not in str(caught.value)
                assert "telecom" in str(caught.value)

    run(work)


def test_a_member_that_is_not_there_is_named() -> None:
    def work(session: silo.Session, given: Any) -> Any:
        return None if session.me == "cards" else fits(session, given)

    found = run(work, THREE)
    for name in ("bank", "telecom"):
        assert isinstance(found[name], TooFewParties)
        assert found[name].missing == ("cards",)


# Privacy.


@pytest.mark.parametrize("who", ["bank", "telecom"])
def test_a_data_set_with_a_budget_refuses_a_model_without_noise(who: str) -> None:
    def work(session: silo.Session, given: Any) -> None:
        left = watched(session)
        if session.me == who:
            with pytest.raises(NotCovered, match="vertical linear model of rows would leave without noise"):
                fits(session, given)
            records = list(session.policy.account.ledger.records()) if session.policy else []
            assert len(records) == 2, "the ledger and its data set, and nothing else"
        assert not left

    assert set(run(work, budget={who: silo.Budget(epsilon=1.0, delta=1e-5)}).values()) == {None}


def test_or_writes_it_down_where_the_charter_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    policies = [Privacy("telecom", "rows", 1.0, 1e-5, without_noise="record")]
    monkeypatch.setattr(simulation, "_policies", lambda names, budget: policies)

    def work(session: silo.Session, given: Any) -> float | None:
        with pytest.raises(NotAllowed):
            model(session, max_iter=100).fit(*given)
        before = session.policy.account.epsilon() if session.policy else None
        fits(session, given)
        assert before in (None, 0.0), "what this site refuses by itself is not charged"
        return session.policy.account.epsilon() if session.policy else None

    assert run(work, vertical=Vertical(passes=5)) == {"bank": None, "telecom": float("inf")}
