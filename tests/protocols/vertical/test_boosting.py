"""Vertical boosting: the trees of a twin that has all columns, bit for bit, whoever holds which of them."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silo.crypto.errors import ParameterError
from silo.crypto.rng import InsecureSeededRng
from silo.protocols.errors import InconsistentSets
from silo.protocols.vertical.boosting import histogram, sampling, scoring, splits
from silo.protocols.vertical.boosting.columns import Shape
from silo.protocols.vertical.boosting.gradients import Logistic, Objective, Softmax, SquaredError, fix
from silo.protocols.vertical.boosting.label import Run
from silo.protocols.vertical.boosting.parameters import Goss, Terms
from silo.protocols.vertical.boosting.tree import Node, Tree
from tests.protocols.vertical.boosting_circle import (
    LABEL,
    Circle,
    SmallOkamotoUchiyama,
    SmallPaillier,
    Table,
    as_alone,
    as_twin,
    finished,
    table,
    twin,
)

COLUMN = st.tuples(st.integers(1, 9), st.booleans())
COLUMNS = st.lists(COLUMN, min_size=1, max_size=3)
OBJECTIVES: list[Objective] = [Logistic(), SquaredError(), Softmax(3)]
RUN = Run.new(rng=InsecureSeededRng(3))
TWO = {LABEL: [(6, False), (4, True)], "telecom": [(8, False), (5, True), (3, False)]}
THREE = {**TWO, "office": [(9, False)]}


@st.composite
def terms(draw: st.DrawFn) -> Terms:
    goss = draw(st.sampled_from([None, None, Goss(0.2, 0.3)]))
    patience = draw(st.sampled_from([0, 0, 1]))
    return Terms(
        trees=draw(st.integers(1, 3)),
        depth=draw(st.integers(1, 4)),
        l2=draw(st.sampled_from([0.0, 1.0, 3.5])),
        gamma=draw(st.sampled_from([0.0, 0.5])),
        min_child_weight=draw(st.sampled_from([0.0, 1.0])),
        min_samples_leaf=draw(st.integers(1, 4)),
        min_category_rows=draw(st.sampled_from([1, 5, 20])),
        subsample=1.0 if goss else draw(st.sampled_from([1.0, 0.7])),
        goss=goss,
        alone=draw(st.integers(0, 1)),
        patience=patience,
        held_out=0.25 if patience else 0.0,
    )


@settings(max_examples=60)
@given(
    held=st.fixed_dictionaries({LABEL: COLUMNS, "telecom": COLUMNS}, optional={"office": COLUMNS}),
    rows=st.integers(12, 90),
    seed=st.integers(0, 2**16),
    objective=st.sampled_from(OBJECTIVES),
    agreed=terms(),
)
def test_the_trees_are_those_of_the_twin(
    held: dict[str, list[tuple[int, bool]]], rows: int, seed: int, objective: Objective, agreed: Terms
) -> None:
    data = table(held, rows, seed, objective)
    circle = Circle(data, agreed, run_name=RUN).run()
    if agreed.alone:
        # The first trees see the label party's columns only: the twin's see all.
        first = twin(Table({LABEL: data.columns[LABEL]}, data.y, objective), agreed, RUN)
        groups = objective.groups
        assert as_twin(circle)[:groups] == as_alone(first)[:groups]
        agreed = replace(agreed, alone=0)
        circle = Circle(data, agreed, run_name=RUN).run()
    other = twin(data, agreed, RUN)
    assert as_twin(circle) == as_alone(other)
    pooled = finished(scoring.label(None, other, data.pooled()))
    assert np.array_equal(scored(circle, data), pooled)


def scored(circle: Circle, data: Table) -> np.ndarray:
    again = Circle(data, circle.agreed)
    roles = {LABEL: scoring.label(again.line(LABEL), circle.model, data.columns[LABEL])}
    for name in again.names:
        if name != LABEL:
            part = circle.part(name)
            roles[name] = scoring.host(again.line(name), part.splits, data.columns[name])
    again.move(roles)
    assert not again.errors
    found: np.ndarray = again.found[LABEL]
    return found


@pytest.mark.parametrize("ciphers", [SmallOkamotoUchiyama(), SmallPaillier()])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_under_encryption_they_are_the_same(ciphers: object, objective: Objective) -> None:
    data = table(THREE, 80, 4, objective)
    agreed = Terms(trees=2, depth=3, goss=Goss(0.3, 0.3))
    circle = Circle(data, agreed, ciphers, run_name=RUN).run()
    assert as_twin(circle) == as_alone(twin(data, agreed, RUN))
    owners = {node.owner for tree in circle.model.trees for node in tree.nodes}
    assert owners == {-1, 0, 1, 2}, "a test in which somebody divides nothing shows little"


@pytest.mark.parametrize("reached", [1, 2, 3, 4])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_resumed_training_gives_the_same_model(reached: int, objective: Objective) -> None:
    data = table(TWO, 70, 8, objective)
    agreed = Terms(trees=3, depth=2, goss=Goss(0.3, 0.4), alone=1, patience=2, held_out=0.2)
    whole = Circle(data, agreed, run_name=RUN).run()
    before = {name: whole.kept[name][:reached] for name in whole.names}
    if min(map(len, before.values())) < reached:
        return
    again = Circle(data, agreed, seed=2, run_name=RUN, before=before).run()
    assert as_twin(again) == as_twin(whole)
    assert np.array_equal(again.model.base, whole.model.base)


def test_a_checkpoint_of_another_training_is_refused() -> None:
    data = table(TWO, 40, 8, Logistic())
    first = Circle(data, Terms(trees=2), run_name=RUN).run()

    class Other(Circle):
        def role(self, name: str) -> object:
            if name == LABEL:
                self.run_ = Run.new(rng=InsecureSeededRng(99))
            role = super().role(name)
            self.run_ = RUN
            return role

    before = {name: first.kept[name][:1] for name in first.names}
    problem = Other(data, Terms(trees=2), run_name=RUN, before=before).run().errors["telecom"]
    assert isinstance(problem, InconsistentSets)
    assert problem.culprits == (LABEL,)


def test_early_stopping_keeps_the_best_trees_everywhere() -> None:
    draw = np.random.default_rng(1)
    data = table(TWO, 90, 2, Logistic())
    data.y[draw.random(90) < 0.4] = 1.0
    agreed = Terms(trees=40, depth=4, learning_rate=1.0, l2=0.0, min_child_weight=0, patience=2, held_out=0.3)
    circle = Circle(data, agreed, run_name=RUN).run()
    trees = len(circle.model.trees)
    assert 1 <= trees < 40
    assert len(circle.part("telecom").splits) == trees
    assert len(circle.kept[LABEL]) == len(circle.kept["telecom"]) == trees + agreed.patience
    assert as_twin(circle) == as_alone(twin(data, agreed, RUN))


@pytest.mark.parametrize("rows", [7, 8, 9])
def test_a_host_without_any_split_sends_no_score(rows: int) -> None:
    data = table({LABEL: [(5, False)], "telecom": [(1, False)]}, rows, 3, Logistic())
    data.columns["telecom"].codes[:] = 0
    circle = Circle(data, Terms(trees=2, min_child_weight=0)).run()
    assert circle.part("telecom").splits == ((), ())
    assert scored(circle, data).shape == (rows, 1)


def test_an_empty_sample_grows_a_tree_without_splits() -> None:
    data = table(TWO, 30, 3, Logistic())
    circle = Circle(data, Terms(trees=2, subsample=1e-9), SmallOkamotoUchiyama(), run_name=RUN).run()
    assert [len(tree.nodes) for tree in circle.model.trees] == [1, 1]


def test_rows_must_be_held_out_where_that_was_asked_for() -> None:
    with pytest.raises(ParameterError, match="holds out none of 30 rows"):
        twin(table(TWO, 30, 3, Logistic()), Terms(patience=1, held_out=0.001), RUN)


@pytest.mark.parametrize("objective", OBJECTIVES)
@settings(max_examples=30)
@given(seed=st.integers(0, 2**16), scale=st.sampled_from([1e-200, 1e-3, 1.0, 1e6, 1e200]))
def test_words_are_exact_to_a_millionth_and_bounded(objective: Objective, seed: int, scale: float) -> None:
    draw = np.random.default_rng(seed)
    margins = draw.normal(size=(20, objective.groups))
    y = draw.integers(0, max(2, objective.groups), 20).astype(float)
    g, h = objective.derivatives(y, margins)
    fixed = fix(g[:, 0] * scale, h[:, 0])
    assert np.abs(fixed.words).max() <= 2**20
    assert fixed.words[:, 1].min() >= 0
    for column, real in enumerate((g[:, 0] * scale, h[:, 0])):
        error = np.abs(fixed.words[:, column] * fixed.steps[column] - real).max()
        assert error <= np.abs(real).max() * 2**-20


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_gradients_are_those_of_the_loss(objective: Objective) -> None:
    draw = np.random.default_rng(2)
    margins = draw.normal(size=(9, objective.groups))
    y = draw.integers(0, max(2, objective.groups), 9).astype(float)
    g, _ = objective.derivatives(y, margins)
    step = 1e-6
    for row in range(9):
        for group in range(objective.groups):
            moved = np.zeros_like(margins)
            moved[row, group] = step
            slope = (objective.loss(y, margins + moved) - objective.loss(y, margins - moved)) / (2 * step)
            assert abs(9 * slope - g[row, group]) < 1e-6


def test_goss_keeps_the_largest_and_weighs_the_others() -> None:
    rows = np.arange(20_000)
    gradients = np.linspace(1, 2, 20_000)[:, None]
    sample = sampling.drawn(rows, gradients, Terms(goss=Goss(0.1, 0.2)), 0, RUN.seed, 20_000)
    assert set(rows[-2000:]) <= set(sample.rows.tolist())
    assert (sample.weights[sample.rows >= 18_000] == 1).all()
    others = sample.weights[sample.rows < 18_000]
    assert np.allclose(others, 0.9 / 0.2)
    assert abs(others.sum() - 18_000) < 6 * 4.5 * np.sqrt(4000)
    again = sampling.drawn(rows, gradients, Terms(goss=Goss(0.1, 0.2)), 1, RUN.seed, 20_000)
    assert set(again.rows.tolist()) != set(sample.rows.tolist())


def test_held_out_rows_have_the_same_share_of_each_class() -> None:
    classes = np.repeat([0, 1, 2], [100, 40, 1])
    found = sampling.held_out(classes, 0.25, RUN.seed)
    assert np.bincount(classes[found], minlength=3).tolist() == [25, 10, 0]


def tells_of_few(left: np.ndarray, codes: np.ndarray, bins: int, categorical: bool, few: int) -> bool:
    """Whether it shows from a split where fewer than so many rows of a category, or without a value, go."""
    rows = np.bincount(codes, minlength=bins + 1)
    goes = [bool(left[codes == code].any()) for code in range(bins + 1)]
    loose = [*(range(bins) if categorical else ()), bins]
    if any(goes[code] and rows[code] < few for code in loose):
        return True
    right = {code for code in range(bins + 1) if rows[code] and not goes[code]}
    return bool(right <= set(loose) and sum(rows[code] for code in right) < few)


def brute_force(data: Table, agreed: Terms) -> float:
    """The best gain of a first split: all bins in order, all sets of categories, missing values on both sides."""
    y, columns = data.y, data.pooled()
    g, h = Logistic().derivatives(y, np.tile(Logistic().base(y), (len(y), 1)))
    fixed = fix(g[:, 0], h[:, 0])
    real = fixed.words * np.array(fixed.steps)

    def score(rows: np.ndarray) -> float:
        return float(real[rows, 0].sum() ** 2 / (real[rows, 1].sum() + agreed.l2))

    best, every = -np.inf, np.ones(len(y), bool)
    for codes, bins, categorical in zip(
        columns.codes, columns.shape.bins, columns.shape.categorical, strict=True
    ):
        sets = (
            [set(one) for size in range(bins + 1) for one in itertools.combinations(range(bins), size)]
            if categorical
            else [set(range(upto)) for upto in range(bins + 1)]
        )
        for chosen in sets:
            for missing in ({bins}, set()):
                left = np.isin(codes, list(chosen | missing))
                enough = min(left.sum(), (~left).sum()) >= agreed.min_samples_leaf
                if enough and not tells_of_few(left, codes, bins, categorical, agreed.least_rows):
                    best = max(best, score(left) + score(~left) - score(every))
    return best


@settings(max_examples=25)
@given(seed=st.integers(0, 2**16), leaf=st.integers(1, 5), few=st.sampled_from([1, 6, 9, 12]))
def test_the_split_is_the_best_there_is(seed: int, leaf: int, few: int) -> None:
    """With equal weights ordering categories by g / h finds the best of all sets (Fisher 1958)."""
    data = table({LABEL: [(4, False), (5, True)], "telecom": [(6, True), (3, False)]}, 50, seed, Logistic())
    agreed = Terms(trees=1, depth=1, l2=0.0, min_child_weight=0, min_samples_leaf=leaf, min_category_rows=few)
    base = np.tile(Logistic().base(data.y), (50, 1))
    g, h = Logistic().derivatives(data.y, base)
    fixed = fix(g[:, 0], h[:, 0])
    hist = histogram.sums(data.pooled(), np.arange(50), fixed.words)
    found = splits.Finder(data.pooled().shape, agreed).best(hist, fixed.steps)
    best = brute_force(data, agreed)
    if leaf == 1 or found is None:
        gain = found.gain if found else 0.0
        assert gain == pytest.approx(max(best, 0.0), abs=1e-5)
    else:
        assert found.gain <= best + 1e-5


def test_a_category_that_the_node_does_not_hold_goes_right() -> None:
    shape = Shape((5,), (True,))
    hist = np.zeros((6, 3), np.int64)
    hist[1], hist[3], hist[5] = (-90, 50, 5), (-80, 50, 5), (100, 50, 5)
    agreed = Terms(min_child_weight=0, l2=0.0, min_category_rows=5)
    found = splits.Finder(shape, agreed).best(hist, (1.0, 1.0))
    assert found is not None
    assert found.split.table[:6].tolist() == [False, True, False, True, False, False]


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_rare_category_and_few_missing_values_go_right_whatever_their_gradients(sign: int) -> None:
    shape = Shape((4,), (True,))
    for rare, missing in ((-90, 90), (90, -90), (90, 90), (-90, -90)):
        hist = np.array([[400, 90, 50], [rare, 3, 19], [-400, 90, 50], [300, 90, 20], [missing, 3, 19]])
        hist[:, 0] *= sign
        found = splits.Finder(shape, Terms()).best(hist, (1.0, 1.0))
        assert found is not None
        table = found.split.table[:5].tolist()
        assert table in ([False, False, True, False, False], [True, False, False, True, False])
        found.split.check_rows(shape, hist[:, 2], 20)


def test_few_rows_without_order_are_not_parted_from_all_others() -> None:
    for shape, rows in ((Shape((2,), (True,)), [60, 19, 0]), (Shape((1,), (False,)), [60, 19])):
        hist = np.array([[-500 if place else 500, 90, count] for place, count in enumerate(rows)])
        assert splits.Finder(shape, Terms()).best(hist, (1.0, 1.0)) is None
        hist[1, 2] = 20
        assert splits.Finder(shape, Terms()).best(hist, (1.0, 1.0)) is not None


def test_missing_values_that_come_later_go_to_the_larger_side() -> None:
    shape = Shape((2,), (False,))
    for rows, left in (((5, 4), True), ((4, 4), True), ((4, 5), False)):
        hist = np.array([[-90, 50, rows[0]], [90, 50, rows[1]], [0, 0, 0]])
        found = splits.Finder(shape, Terms()).best(hist, (1.0, 1.0))
        assert found is not None
        assert found.split.table[:3].tolist() == [True, False, left]


LEAF = Node(0.5)


@pytest.mark.parametrize(
    "nodes",
    [
        [],
        [Node(0.0, 0, 0, 0), LEAF, LEAF],
        [Node(0.0, 0, 0, 2), LEAF, LEAF],
        [Node(0.0, 2, 0, 1), LEAF, LEAF],
        [Node(0.0, 0, 1, 1), LEAF, LEAF],
        [Node(0.0, 0, 0, 1), LEAF, LEAF, LEAF],
        [Node(0.0, 0, 0, 1), Node(0.0, 0, 1, 3), Node(0.0, 0, 2, 3), LEAF, LEAF],
    ],
)
def test_what_is_no_tree(nodes: list[Node]) -> None:
    Tree([Node(0.0, 1, 0, 1), LEAF, LEAF]).check(2)
    with pytest.raises(ParameterError):
        Tree(nodes).check(2)
