"""Linear models of two and more members are those of scikit-learn on the joined table, whole or resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import linear_model as sk

from silo.crypto.errors import ParameterError
from silo.crypto.paillier import inner, vector
from silo.protocols.errors import MalformedMessage
from silo.protocols.vertical.linear.host import HostState
from silo.protocols.vertical.linear.search import LabelState, Search
from silo.protocols.vertical.linear.terms import LATTICE, PAILLIER, Terms
from silo.protocols.vertical.work import Work
from silo.vertical.passes import Kept
from tests.protocols.vertical.joint import (
    BANK,
    Data,
    Floats,
    allow_small_keys,
    coefficients,
    copied,
    data,
    fit,
    model,
    objective,
)
from tests.protocols.vertical.table import Table

FAMILIES = ("logistic", "linear", "poisson")
WIDTHS = [(3, 8), (3, 5, 4), (2, 4, 3, 3)]
NEAR = 1e-3


def pooled(held: Data, family: str, *, l2: float, intercept: bool = True) -> tuple[Floats, float]:
    """scikit-learn's coefficients and intercept on the joined table."""
    x, y, rows = held.joined, held.y, len(held.y)
    exact: dict[str, Any] = {"tol": 1e-10, "max_iter": 10_000, "solver": "newton-cholesky"}
    if family == "logistic":
        found = sk.LogisticRegression(C=1 / l2 if l2 else np.inf, fit_intercept=intercept, **exact)
    elif family == "poisson":
        found = sk.PoissonRegressor(alpha=l2 / rows, fit_intercept=intercept, **exact)
    elif l2:
        found = sk.Ridge(alpha=l2, fit_intercept=intercept)
    else:
        found = sk.LinearRegression(fit_intercept=intercept)
    found.fit(x, y)
    return np.ravel(found.coef_), float(np.ravel(found.intercept_)[0])


def optimum(held: Data, family: str, *, l2: float) -> float:
    """The least value of the objective, by the search that knows all columns."""
    search = Search(Terms(family, l2, 0.0, LATTICE, 1, 0.0), held.joined, held.y, True)
    search.over(LabelState(b""))
    return search.value


CASES = [(widths, 1.0, True) for widths in WIDTHS]
CASES += [(WIDTHS[1], 0.0, False), (WIDTHS[0], 300.0, True)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("widths", "l2", "intercept"), CASES)
def test_the_joint_model_is_that_of_the_joined_table(
    family: str, widths: tuple[int, ...], l2: float, intercept: bool
) -> None:
    held = data(family, widths)
    done = fit(held, family, l2=l2, intercept=intercept)
    expected, first = pooled(held, family, l2=l2, intercept=intercept)
    assert np.abs(coefficients(done) - expected).max() < NEAR
    assert abs(model(done).intercept - first) < NEAR
    scores = held.joined @ coefficients(done) + model(done).intercept
    np.testing.assert_allclose(model(done).scores, scores, rtol=0, atol=1e-6)
    for name, x in held.tables.items():
        assert name == BANK or done.found[name].shape == (x.shape[1],)


def test_a_host_with_a_single_column_beside_another_host() -> None:
    held = data("logistic", (3, 1, 6))
    done = fit(held, "logistic")
    expected, _ = pooled(held, "logistic", l2=1.0)
    assert np.abs(coefficients(done) - expected).max() < NEAR


def shared(held: Data) -> Data:
    """A column of the bank is a host's too, and one stands still."""
    tables = {name: x.copy() for name, x in held.tables.items()}
    tables["cards"][:, 0] = tables[BANK][:, 1]
    tables["cards"][:, 1] = 0.1  # its mean is not quite 0.1
    return replace(held, tables=tables)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("widths", "l2"), [((3, 8), 0.0), ((3, 7, 6), 1.0)])
def test_columns_that_two_members_share_and_that_stand_still(
    family: str, widths: tuple[int, ...], l2: float
) -> None:
    held = shared(data(family, widths))
    done = fit(held, family, l2=l2)
    found = objective(held, family, coefficients(done), model(done).intercept, l2=l2)
    least = optimum(held, family, l2=l2)
    assert found - least <= 1e-6 * abs(least) + 1e-9
    if l2:
        expected, _ = pooled(held, family, l2=l2)
        assert np.abs(coefficients(done) - expected).max() < NEAR


@pytest.mark.parametrize("widths", [(3, 8), (3, 5, 4)])
def test_labels_of_any_common_size(widths: tuple[int, ...]) -> None:
    """Least squares of prices: with several hosts, inner products of directions would leave the ring."""
    held = data("linear", widths)
    for size in (1e-6, 1e6):
        done = fit(replace(held, y=held.y * size), "linear")
        expected, _ = pooled(held, "linear", l2=1.0)
        assert np.abs(coefficients(done) / size - expected).max() < NEAR
    for size in (1e-20, 1e20):
        done = fit(replace(held, y=held.y * size), "linear")
        assert isinstance(done.errors[BANK], ParameterError)
        assert "scale them" in str(done.errors[BANK])
        assert not done.said


def test_columns_far_from_zero_and_of_unlike_scales() -> None:
    held = data("logistic", (3, 8))
    tables = dict(held.tables)
    tables["cards"] = tables["cards"] * 10.0 ** np.arange(-3, 5) + 1000.0
    moved = replace(held, tables=tables)
    done = fit(moved, "logistic", l2=0.0)
    expected, _ = pooled(held, "logistic", l2=0.0)
    found = coefficients(done) * np.append(np.ones(3), 10.0 ** np.arange(-3, 5))
    assert np.abs(found - expected).max() < NEAR
    tables["cards"] = held.tables["cards"] + 1e9
    problem = fit(moved, "logistic").errors
    assert isinstance(problem["cards"], ParameterError)
    assert "scale the columns" in str(problem["cards"])


@pytest.mark.parametrize("family", ["logistic", "linear"])
@pytest.mark.parametrize(
    ("widths", "ratio", "strength"), [((3, 8), 1.0, 20.0), ((3, 5, 4), 0.5, 10.0), ((2, 4, 3, 3), 1.0, 20.0)]
)
def test_with_l1_the_objective_is_scikit_learns(
    family: str, widths: tuple[int, ...], ratio: float, strength: float
) -> None:
    held = data(family, widths)
    l1, l2 = ratio * strength, (1 - ratio) * strength
    done = fit(held, family, l1=l1, l2=l2)
    if family == "logistic":
        net = sk.LogisticRegression(C=1 / strength, l1_ratio=ratio, solver="saga", tol=1e-8, max_iter=20_000)
    else:
        net = sk.ElasticNet(alpha=strength / len(held.y), l1_ratio=ratio, tol=1e-10, max_iter=20_000)
    net.fit(held.joined, held.y)
    w, first = np.ravel(net.coef_), float(np.ravel(net.intercept_)[0])
    expected = objective(held, family, w, first, l2=l2, l1=l1)
    found = objective(held, family, coefficients(done), model(done).intercept, l2=l2, l1=l1)
    assert abs(found / expected - 1) < NEAR
    # Not just near nothing: what is left out is left out.
    assert ((np.abs(coefficients(done)) < 1e-6) == (w == 0)).all()


def test_a_fit_ends_when_nothing_is_gained_and_says_whether_it_did() -> None:
    held = data("logistic", (3, 8))
    early, cut = fit(held, "logistic", tol=1e-4), fit(held, "logistic", passes=2)
    assert model(early).converged
    assert 1 < model(early).passes < 7
    assert (model(cut).converged, model(cut).passes) == (False, 2)
    still = fit(replace(held, y=np.full(len(held.y), 3.0)), "linear")
    assert model(still).converged
    assert abs(model(still).intercept - 3) < 1e-9
    assert np.abs(coefficients(still)).max() < 1e-9


# A fit that was cut off.


def uninterrupted(held: Data, family: str, *, l1: float = 0.0) -> tuple[Table, dict[str, list[Any]]]:
    """A whole fit, and every member's state after each pass."""
    states: dict[str, list[Any]] = {name: [] for name in held.tables}
    done = fit(held, family, l1=l1, keep=lambda name, state: states[name].append(copied(state)))
    return done, states


def equal(one: Table, other: Table) -> bool:
    """Whether two fits are equal to the last bit."""
    same = (model(one).intercept, model(one).passes) == (model(other).intercept, model(other).passes)
    return same and np.array_equal(coefficients(one), coefficients(other))


@pytest.mark.parametrize(
    ("family", "widths", "l1"),
    [
        ("logistic", (3, 8), 0.0),
        ("logistic", (3, 5, 4), 5.0),
        ("linear", (3, 5, 4), 0.0),
        ("poisson", (3, 8), 5.0),
        ("poisson", (3, 5, 4), 0.0),
    ],
)
def test_a_resumed_fit_is_the_same_to_the_last_bit(family: str, widths: tuple[int, ...], l1: float) -> None:
    held = data(family, widths)
    whole, states = uninterrupted(held, family, l1=l1)
    assert model(whole).passes == len(states[BANK]) > 4
    for ends in ((4, 2, 3), (3, 0, 4)):
        reached = dict(zip(states, ends, strict=False))
        begun = {name: copied(states[name][count - 1]) for name, count in reached.items() if count}
        for state in begun.values():
            state.cut(min(reached.values()))
        begun.setdefault(BANK, LabelState(states[BANK][0].seed))
        again = fit(held, family, l1=l1, states=begun, seed=7, round=2)
        assert equal(whole, again), reached


def test_without_the_same_rounding_the_last_bits_differ() -> None:
    held = data("logistic", (3, 8))
    assert equal(fit(held, "logistic"), fit(held, "logistic"))
    assert not equal(fit(held, "logistic", seed=1), fit(held, "logistic", seed=2))


def test_members_that_did_not_cut_to_the_same_pass_are_refused() -> None:
    held = data("logistic", (3, 8))
    _, states = uninterrupted(held, "logistic")
    ahead = {BANK: copied(states[BANK][2]), "cards": copied(states["cards"][1])}
    problem = fit(held, "logistic", states=ahead).errors["cards"]
    assert isinstance(problem, MalformedMessage)
    assert problem.culprits == (BANK,)


def test_a_state_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    held = data("poisson", (3, 5, 4))
    whole, states = uninterrupted(held, "poisson")
    begun: dict[str, Any] = {}
    for name in held.tables:
        kept = Kept(tmp_path, name, b"f" * 32)
        (kept.keep_label if name == BANK else kept.keep_host)(states[name][2])
        assert (tmp_path / f"{name}.passes").stat().st_mode & 0o777 == 0o600
        begun[name] = kept.label() if name == BANK else kept.host()
        other = Kept(tmp_path, name, b"g" * 32)
        assert (other.label() if name == BANK else other.host()) is None
    assert equal(whole, fit(held, "poisson", states=begun, seed=5))
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.passes" for name in held.tables}
    kept.done()
    assert kept.host() is None


@pytest.mark.parametrize("state", [HostState([np.ones(2)]), LabelState(bytes(32), [np.ones(2)])])
def test_a_state_is_not_printed_or_pickled(state: Any) -> None:
    import pickle

    assert "1." not in repr(state)
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps(state)


# Paillier.


@pytest.mark.parametrize("widths", [(3, 8), (3, 3, 2)])
def test_paillier_gives_the_same_as_the_lattice_to_the_last_bit(
    widths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    allow_small_keys(monkeypatch)
    held = data("logistic", widths, rows=60)
    # Products are exact under both, so that nothing differs but what residuals are rounded with.
    one, other = (
        fit(held, "logistic", scheme=scheme, passes=3, states={BANK: LabelState(b"r" * 32)})
        for scheme in (LATTICE, PAILLIER)
    )
    assert model(one).passes == 3
    assert equal(one, other)
    assert len(one.said[0][2].entries) != len(other.said[0][2].entries), "both are the same scheme"


def test_under_paillier_both_sides_divide_their_work(monkeypatch: pytest.MonkeyPatch) -> None:
    allow_small_keys(monkeypatch)
    monkeypatch.setattr(inner, "_WORTH_A_PART", 16)
    held, divided = data("logistic", (3, 8), rows=60), []

    def run(job: Any, items: Any) -> list[bytes]:
        listed = list(items)
        divided.append((job, len(listed)))
        return [job(item) for item in listed]

    whole, parted = (
        fit(held, "logistic", scheme=PAILLIER, passes=2, states={BANK: LabelState(b"r" * 32)}, work=work)
        for work in (None, Work(3, run))
    )
    assert divided == [(vector.encrypt_part, 3), (inner.multiply_part, 3)] * 2
    assert equal(whole, parted)
