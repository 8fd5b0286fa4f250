"""Split training equals the same training in one place; and a batch in parts equals a batch."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from silo.crypto.errors import ParameterError
from silo.protocols.errors import MalformedMessage, ProtocolAborted, UnexpectedMessage
from silo.protocols.split import predicting, wire, words
from silo.protocols.split.line import Line
from silo.protocols.split.terms import Terms
from silo.protocols.transit import Piece
from silo.protocols.vertical.context import SPLIT
from tests.protocols.split import circle
from tests.protocols.vertical.table import Table

TERMS = Terms(3, 16)


@pytest.mark.parametrize("names", [circle.NAMES[:2], circle.NAMES])
@pytest.mark.parametrize("micro", [1, 3, 5])
def test_it_equals_training_in_one_place(names: tuple[str, ...], micro: int) -> None:
    terms = Terms(3, 16, micro)
    before = circle.bottoms(names, 50, 4), circle.top(50, 4)
    done = circle.train(terms, names=names)
    assert not done.table.errors
    due = circle.centralised(terms, done.schedule, *before)
    assert np.abs(circle.weights(done) - due).max() < 1e-5


def test_all_of_a_batch_is_on_its_way_before_an_answer_is_waited_for() -> None:
    done = circle.train(Terms(1, 12, 4), rows=24)
    host = [kind for kind, _ in done.bottoms["cards"].told]
    assert host == ["begin", *(["forward"] * 4 + ["backward"] * 4 + ["step"]) * 2, "end"]
    # The label party answers a micro-batch before it looks at the next, and steps after the whole batch.
    answered = ["ahead", "exchange", "settle"]
    assert [kind for kind, _ in done.top.told] == ["begin", *(answered * 4 + ["step"]) * 2, "end"]
    assert [value for kind, value in done.top.told if kind == "step"] == [12, 12]
    forward = [places for kind, places in done.bottoms["cards"].told if kind == "forward"]
    exchanged = [places for kind, places in done.top.told if kind == "exchange"]
    assert all((one == other).all() for one, other in zip(forward, exchanged, strict=True))


@pytest.mark.parametrize("form", wire.FORMS)
@pytest.mark.parametrize("names", [circle.NAMES[:2], circle.NAMES])
def test_bytes_are_those_of_the_formula(form: str, names: tuple[str, ...]) -> None:
    terms = Terms(2, 16, 2, form)
    done = circle.train(terms, names=names)
    assert not done.table.errors
    hosts = len(names) - 1
    for name in names[1:]:
        up = sum(len(piece.entries) for sender, _, piece in done.table.said if sender == name)
        down = sum(len(piece.entries) for _, to, piece in done.table.said if to == name)
        assert up == 2 * 50 * terms.activation_bytes(4, hosts)
        assert down == 2 * 50 * terms.gradient_bytes(4)


def test_a_training_may_begin_later() -> None:
    done = circle.train(TERMS, start=2)
    assert [value for kind, value in done.top.told if kind in ("begin", "end")] == [2, 2]


def test_with_several_hosts_only_the_sum_can_be_read() -> None:
    done = circle.train(Terms(2, 16, 2), names=circle.NAMES)
    assert not done.table.errors
    clear = {
        name: [one.x[places] for kind, places in one.told if kind == "forward"]
        for name, one in done.bottoms.items()
    }
    shown = {name: [piece for sender, _, piece in done.table.said if sender == name] for name in clear}
    first = {name: circle.bottoms(circle.NAMES, 50, 4)[name].w for name in clear}
    total = np.zeros((8, 4))
    for name, one in shown.items():
        activation = clear[name][0] @ first[name]
        total += activation
        masked = words.decode(words.read(bytes(one[0].entries)), 4)
        # A mask is uniform on the ring: what travels has nothing of the activation, and is never small.
        assert np.abs(np.corrcoef(masked.ravel(), activation.ravel())[0, 1]) < 0.6
        assert np.abs(masked).mean() > 300
        assert len({bytes(piece.entries) for piece in one}) == len(one)
    assert np.abs(done.top.seen[0] - total).max() < 1e-5
    # No message to anybody holds an activation of one host, in any form.
    plain = {activation.tobytes() for activation in (clear[n][0] @ first[n] for n in clear)}
    assert not any(bytes(piece.entries) in plain for _, _, piece in done.table.said)


def test_a_mask_hides_a_constant() -> None:
    """The same activations in two batches travel as different words, all over the ring."""
    done = circle.train(Terms(1, 10), names=circle.NAMES, spoil=lambda made: np.ones_like(made))
    raw = [words.read(bytes(piece.entries)) for sender, _, piece in done.table.said if sender == "telecom"]
    drawn = np.concatenate(raw)
    assert len(set(drawn.tolist())) > 0.99 * len(drawn)
    assert 0.35 < (drawn >= 2**31).mean() < 0.65


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("micro", [1, 2])
def test_a_module_that_gives_no_number_is_named_and_sends_nothing(bad: float, micro: int) -> None:
    def spoil(made: wire.Rows) -> wire.Rows:
        made = made.copy()
        if len(made) > 7:
            made[7, 1] = bad
        return made

    done = circle.train(Terms(1, 16, micro), spoil=spoil)
    problem = done.table.errors["cards"]
    assert isinstance(problem, ParameterError)
    assert str(problem) == f"cards: the bottom module gave {bad} in row 7 of the batch"
    assert not [piece for sender, _, piece in done.table.said if sender == "cards"]
    assert isinstance(done.table.errors["bank"], ProtocolAborted)
    assert not [value for kind, value in done.top.told if kind == "exchange"]


def test_a_row_is_counted_through_the_micro_batches() -> None:
    calls = []

    def spoil(made: wire.Rows) -> wire.Rows:
        calls.append(len(made))
        made = made.copy()
        if len(calls) == 2:
            made[1] = np.nan
        return made

    done = circle.train(Terms(1, 16, 2), spoil=spoil)
    assert str(done.table.errors["cards"]) == "cards: the bottom module gave nan in row 9 of the batch"


def test_another_width_than_agreed_is_refused_at_the_first_message() -> None:
    done = circle.train(TERMS, widths={"bank": 5})
    assert isinstance(done.table.errors["bank"], MalformedMessage)
    assert done.table.errors["bank"].culprits == ("cards",)  # type: ignore[attr-defined]
    done = circle.train(TERMS, spoil=lambda made: made[:, :3])
    assert "(16, 4) was agreed" in str(done.table.errors["cards"])


def lie(sender: str, change: object) -> circle.Hand:
    def hand(one: str, other: str, piece: Piece) -> Piece | None:
        return change(piece) if one == sender else None  # type: ignore[operator, no-any-return]

    return hand


def filled(piece: Piece, value: float) -> memoryview:
    return memoryview(np.full(len(piece.entries) // 4, value, "<f4").tobytes())


LIES = {
    "nan": (lambda piece: Piece(piece.stage, piece.total, 0, filled(piece, np.nan)), MalformedMessage),
    "number": (lambda piece: Piece(piece.stage + 1, piece.total, 0, piece.entries), UnexpectedMessage),
    "rows": (lambda piece: Piece(piece.stage, piece.total + 1, 0, piece.entries), MalformedMessage),
    "place": (lambda piece: Piece(piece.stage, piece.total, 1, piece.entries), MalformedMessage),
    "short": (lambda piece: Piece(piece.stage, piece.total, 0, piece.entries[:-4]), MalformedMessage),
    "long": (
        lambda piece: Piece(piece.stage, piece.total, 0, memoryview(bytes(piece.entries) * 2)),
        MalformedMessage,
    ),
}


@pytest.mark.parametrize("liar", ["bank", "cards"])
@pytest.mark.parametrize("kind", LIES)
def test_a_liar_is_named_and_nothing_moves(liar: str, kind: str) -> None:
    change, error = LIES[kind]
    done = circle.train(Terms(1, 16, 2), hand=lie(liar, change))
    victim = "cards" if liar == "bank" else "bank"
    problem = done.table.errors[victim]
    assert isinstance(problem, error)
    assert problem.culprits == (liar,)  # type: ignore[attr-defined]
    told = done.bottoms["cards"].told if victim == "cards" else done.top.told
    assert not [name for name, _ in told if name in ("exchange", "backward", "step")]


def test_the_u_shape_equals_training_in_one_place_and_no_label_leaves() -> None:
    for micro in (1, 3):
        terms = Terms(3, 16, micro)
        table, own, head, middle = circle.u_shaped(terms)
        assert not table.errors
        other = circle.u_shaped(terms)
        fresh = circle.bottoms(("bank", "partner"), 40, 4)["partner"], circle.top(40, 3)
        m = (np.random.default_rng(3).normal(size=(4, 3)) / 2).astype(np.float64)
        w, v = fresh[0].w.astype(np.float64), fresh[1].v.astype(np.float64)
        schedule = circle.Schedule.of(table.context, terms)
        for epoch in range(terms.epochs):
            for batch in schedule.batches(epoch):
                places = np.concatenate(batch)
                x, y, n = own.x[places].astype(np.float64), head.y[places], len(places)
                a = x @ w
                f = a @ m
                down = (f @ v - y)[:, None] * v[None, :]
                v, m, w = (
                    v - 0.1 * f.T @ (f @ v - y) / n,
                    m - 0.1 * a.T @ down / n,
                    w - 0.1 * x.T @ (down @ m.T) / n,
                )
        for found, due in ((own.w, w), (middle.m, m), (head.v, v)):
            assert np.abs(found - due).max() < 1e-5
        assert np.array_equal(other[3].m, middle.m)
        labels = {head.y[np.concatenate(batch)].tobytes() for batch in schedule.batches(0)}
        assert not labels & {bytes(piece.entries) for _, _, piece in table.said}


@pytest.mark.parametrize("liar", ["bank", "partner"])
@pytest.mark.parametrize("kind", LIES)
def test_a_liar_in_the_u_shape_is_named(liar: str, kind: str) -> None:
    change, error = LIES[kind]
    table, *_ = circle.u_shaped(Terms(1, 16, 2), hand=lie(liar, change))
    problem = table.errors["partner" if liar == "bank" else "bank"]
    assert isinstance(problem, error)
    assert problem.culprits == (liar,)  # type: ignore[attr-defined]


@pytest.mark.parametrize("names", [circle.NAMES[:2], circle.NAMES])
def test_scores_are_made_of_all_rows_and_nobody_runs_ahead(names: tuple[str, ...]) -> None:
    rows, terms = 200, Terms(1, 4, 2)
    own = circle.bottoms(names, rows, 4)

    def roles(context: object, name: str, key: object, rng: object) -> object:
        line = Line(context, name, key, rng=rng)  # type: ignore[arg-type]
        if name == circle.LABEL:
            return predicting.label(line, terms, width=4)
        one = own[name]
        return predicting.host(line, terms, lambda part: one.x[part] @ one.w, width=4)

    table = Table(dict.fromkeys(names, 3), rows, roles, label=circle.LABEL, model=SPLIT).run()
    assert not table.errors
    due = sum(one.x @ one.w for one in own.values())
    assert np.abs(table.found["bank"] - due).max() < 1e-5
    acks = [piece for sender, _, piece in table.said if sender == "bank"]
    assert len(acks) == (100 - 16) * (len(names) - 1)
    assert not any(len(piece.entries) for piece in acks)


def test_scores_in_the_u_shape_come_from_features() -> None:
    rows, terms = 40, Terms(1, 8)
    own = copy.deepcopy(circle.bottoms(("bank", "partner"), rows, 4)["partner"])
    m = np.random.default_rng(3).normal(size=(4, 3)).astype(np.float32)

    def roles(context: object, name: str, key: object, rng: object) -> object:
        line = Line(context, name, key, rng=rng)  # type: ignore[arg-type]
        if name == circle.LABEL:
            return predicting.owner(line, terms, lambda part: own.x[part] @ own.w, width=4, back=3)
        return predicting.partner(line, terms, lambda rows: rows @ m, width=4, back=3)

    table = Table({"bank": 3, "partner": 0}, rows, roles, label=circle.LABEL, model=SPLIT).run()
    assert not table.errors
    assert np.abs(table.found["bank"] - own.x @ own.w @ m).max() < 1e-5
