"""Split training is training: it equals the same network in one process, step by step."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

from torch import nn  # noqa: E402

import silo  # noqa: E402
from silo.errors import NotAllowed, ParameterError  # noqa: E402
from silo.privacy.budget import Budget  # noqa: E402
from silo.protocols.errors import UnlikeTerms  # noqa: E402
from silo.vertical import Noise, RandomizedLabels, SplitNetwork  # noqa: E402
from silo.vertical.splitting.part import Part  # noqa: E402
from tests.silo.vertical import split_table as st  # noqa: E402

TWO, THREE = ("bank", "telecom"), st.NAMES


def apart(
    model: SplitNetwork, chances: Any, names: Any, y: Any = st.Y, own: bool = True, **options: Any
) -> float:
    """How far the probabilities of a joint network are from those of its twin."""
    who = names if own else names[1:]
    settings: dict[str, Any] = {"epochs": 3, "batch": 40, "lr": 0.01} | options
    twin = SplitNetwork(bottom=st.Joined(who, own=own), order=model.order_, **settings)
    due = twin.fit(st.table(who), y).predict_proba(st.table(who))
    return float(np.abs(due - chances).max())


@pytest.mark.parametrize("names", [TWO, THREE], ids=["two", "three"])
@pytest.mark.parametrize("micro", [1, 3])
def test_it_equals_its_twin(names: tuple[str, ...], micro: int) -> None:
    def work(session: silo.Session) -> Any:
        model = st.fitted(session, micro_batches=micro)
        return model, model.predict_proba(st.X[session.me]), model.predict(st.X[session.me])

    found = st.together(work, names)
    model, chances, classes = found["bank"]
    assert apart(model, chances, names, top=st.top()) < 1e-5
    assert np.array_equal(classes, (chances[:, 1] > 0.5).astype(int))
    assert all(found[name][1] is None and found[name][2] is None for name in names[1:])


@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_it_equals_its_twin_after_each_epoch_by_plain_steps_too(epochs: int) -> None:
    def plain(parameters: Any) -> Any:
        return torch.optim.SGD(parameters, lr=0.5, momentum=0.9)

    options: dict[str, Any] = {"epochs": epochs, "optimizer": plain}

    def work(session: silo.Session) -> Any:
        model = st.fitted(session, **options)
        return model, model.predict_proba(st.X[session.me])

    model, chances = st.together(work)["bank"]
    assert apart(model, chances, TWO, top=st.top(), **options) < 1e-5


def test_a_label_party_without_columns_of_its_own() -> None:
    def work(session: silo.Session) -> Any:
        model = st.member(session, bank={"bottom": None, "top": st.top(st.CUT)})
        if session.me == "bank":
            model.fit(y=st.Y)
            return model, model.predict_proba()
        return model.fit(st.X[session.me]).predict_proba(st.X[session.me])

    model, chances = st.together(work, THREE)["bank"]
    twin = SplitNetwork(
        bottom=st.Joined(THREE[1:], own=False),
        top=st.top(st.CUT),
        epochs=3,
        batch=40,
        lr=0.01,
        order=model.order_,
    ).fit(st.table(THREE[1:]), st.Y)
    assert np.abs(twin.predict_proba(st.table(THREE[1:])) - chances).max() < 1e-5


def test_the_top_learns_on_from_bottoms_that_no_longer_move() -> None:
    def work(session: silo.Session) -> Any:
        model = st.fitted(session, finish=4)
        return model, model.predict_proba(st.X[session.me])

    found = st.together(work, THREE)
    model, chances = found["bank"]
    # The same by hand: the twin of three epochs, and four more of its top and own bottom alone.
    twin = SplitNetwork(
        bottom=st.Joined(THREE), top=st.top(), epochs=3, batch=40, lr=0.01, order=model.order_
    )
    whole = twin.fit(st.table(THREE), st.Y).parts_["network"]
    joined = whole.modules["network"][0]
    for name in THREE[1:]:
        own, other = found[name][0].parts_["bottom"].arrays(), dict(joined.bottoms[name].state_dict())
        assert np.abs(own["bottom|0.weight"] - other["0.weight"].numpy()).max() < 1e-5
        for p in joined.bottoms[name].parameters():
            p.requires_grad_(False)
    x, y = torch.from_numpy(st.table(THREE).astype(np.float32)), torch.from_numpy(st.Y).float()
    whole.train()
    for epoch in range(4):
        for batch in twin._schedule(st.ROWS).batches(epoch):
            (places,) = batch
            made = whole.modules["network"](x[places])[:, 0]
            torch.nn.functional.binary_cross_entropy_with_logits(made, y[places], reduction="sum").backward()
            whole.step(len(places))
    due = torch.sigmoid(whole.modules["network"](x)[:, 0]).detach().numpy()
    assert np.abs(chances[:, 1] - due).max() < 1e-5


def test_three_classes_and_their_names() -> None:
    names = np.array(["low", "middle", "high"])[st.THREE]

    def work(session: silo.Session) -> Any:
        model = st.fitted(session, names, bank={"top": st.top(logits=3)})
        return model, model.predict_proba(st.X[session.me]), model.predict(st.X[session.me])

    model, chances, classes = st.together(work)["bank"]
    assert chances.shape == (st.ROWS, 3)
    assert set(classes) <= {"low", "middle", "high"}
    assert apart(model, chances, TWO, names, top=st.top(logits=3)) < 1e-5


@pytest.mark.parametrize(("wire", "close"), [("float16", 5e-3), ("int8", 2e-2)])
def test_smaller_forms_on_the_wire_come_near(wire: str, close: float) -> None:
    def work(session: silo.Session) -> Any:
        model = st.fitted(session, wire=wire)
        return model, model.predict_proba(st.X[session.me])

    model, chances = st.together(work)["bank"]
    assert 0 < apart(model, chances, TWO, top=st.top()) < close


def u_shaped(session: silo.Session, **options: Any) -> SplitNetwork:
    middle = st.fixed(nn.Sequential(nn.Linear(st.CUT, 6), nn.Tanh()), 8)
    settings: dict[str, Any] = {"epochs": 3, "batch": 40, "lr": 0.01}
    if session is None:
        return SplitNetwork(bottom=st.bottom("bank"), middle=middle, top=st.top(6), **settings, **options)
    if session.me == "bank":
        return SplitNetwork(
            session, bottom=st.bottom("bank"), top=st.top(6), u_shaped=True, **settings, **options
        ).fit(st.X["bank"], st.Y)
    options.pop("gradients", None)
    options.pop("activations", None)
    return SplitNetwork(session, middle=middle, cut=st.CUT, **settings, **options).fit()


@pytest.mark.parametrize("micro", [1, 4])
def test_the_u_shape_equals_its_twin(micro: int) -> None:
    def work(session: silo.Session) -> Any:
        model = u_shaped(session, micro_batches=micro)
        return model, model.predict_proba(st.X["bank"] if session.me == "bank" else None)

    found = st.together(work)
    model, chances = found["bank"]
    twin = u_shaped(None, order=model.order_).fit(st.X["bank"], st.Y)  # type: ignore[arg-type]
    assert np.abs(twin.predict_proba(st.X["bank"]) - chances).max() < 1e-5
    assert found["telecom"][1] is None


def test_a_model_is_saved_and_scores_again(tmp_path: Path) -> None:
    modules = {
        "bank": {"bottom": st.bottom("bank"), "top": st.top()},
        "telecom": {"bottom": st.bottom("telecom")},
    }

    def work(session: silo.Session) -> Any:
        path = tmp_path / session.me
        model = st.fitted(session)
        before = model.predict_proba(st.X[session.me])
        model.save(path)
        with pytest.raises(ParameterError, match=r"not passed: silo\.vertical\.load"):
            silo.vertical.load(path, session)
        again = silo.vertical.load(path, session, **modules[session.me])
        return (
            before,
            again.predict_proba(st.X[session.me]),
            again.score(st.X[session.me], st.Y if session.me == "bank" else None),
        )

    found = st.together(work)
    assert np.array_equal(found["bank"][0], found["bank"][1])
    assert found["bank"][2] > 0.5
    assert found["telecom"] == (None, None, None)


def test_what_is_kept_of_an_optimiser_goes_on_as_if_nothing_was() -> None:
    def moved(part: Part, steps: int) -> None:
        for step in range(steps):
            made = part.modules["one"](torch.full((4, 3), float(step + 1)))
            made.square().sum().backward()
            part.step(4)

    make = lambda parameters: torch.optim.Adam(parameters, lr=0.1)  # noqa: E731
    torch.manual_seed(1)
    module = nn.Linear(3, 2)
    whole, first, second = (Part({"one": module}, make) for _ in range(3))
    moved(whole, 4)
    moved(first, 4)
    second.load(first.arrays())
    moved(whole, 3)
    moved(second, 3)
    assert all(np.array_equal(value, second.arrays()[key]) for key, value in whole.arrays().items())
    with pytest.raises(ParameterError, match=r"weight is \(2, 3\) there, and \(2, 4\) here"):
        Part({"one": nn.Linear(4, 2)}, make).load(first.arrays())


def adam(parameters: Any) -> Any:
    return torch.optim.Adam(parameters)


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"telecom": {"batch": 39}}, UnlikeTerms, "rows of a batch"),
    ({"telecom": {"epochs": 4}}, UnlikeTerms, "epochs"),
    ({"telecom": {"micro_batches": 2}}, UnlikeTerms, "micro-batches"),
    ({"telecom": {"wire": "int8"}}, UnlikeTerms, "form on the wire"),
    ({"telecom": {"u_shaped": True}}, UnlikeTerms, "shape"),
    ({"bank": {"cut": 6}}, UnlikeTerms, "width of the cut"),
    ({"telecom": {"bottom": nn.Linear(4, 6)}}, ParameterError, "bank: the top module cannot take rows of 11"),
    ({"telecom": {"bottom": nn.Linear(9, 5)}}, ParameterError, "telecom: the bottom module cannot take rows of 4"),
    ({"bank": {"top": None}}, ParameterError, "bank: pass top=, a torch.nn.Module"),
    ({"telecom": {"bottom": "module"}}, ParameterError, "telecom: bottom is a torch.nn.Module, not a str"),
    ({"bank": {"top": st.top(logits=3)}}, ParameterError, "gives 3 logits, and y has 2 classes"),
    ({"telecom": {"bottom": nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5))}, "micro_batches": 2},
     ParameterError, "telecom: the bottom module has a batch norm"),
    ({"epochs": 101}, NotAllowed, "epochs of a split network"),
    ({"telecom": {"activations": 1.0}}, ParameterError, "activations is a silo.vertical.Noise"),
    ({"bank": {"gradients": "noise"}}, ParameterError, "gradients is a silo.vertical.Noise"),
    ({"bank": {"order": bytes(32)}}, ParameterError, "order is for a training without others"),
    ({"bank": {"lr": -1.0}}, ParameterError, "lr is a number above 0"),
    ({"telecom": {"lr": "0.1"}}, ParameterError, "below 1000, not '0.1'"),
    ({"bank": {"lr": 0, "optimizer": adam}}, ParameterError, "below 1000, not 0"),
    ({"telecom": {"optimizer": lambda p: None}}, ParameterError, "returns a torch optimizer, not a NoneType"),
    ({"telecom": {"optimizer": 3}}, ParameterError, "optimizer is a function of parameters"),
    ({"bank": {"batch": 2.5}}, ParameterError, "batch is a whole number"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "error", "words"), BAD, ids=[words[:40] for *_, words in BAD])
def test_what_does_not_fit_is_named(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        st.together(lambda session: st.fitted(session, **options), vertical=st.OPEN)


def test_scores_that_are_no_numbers_are_said(caplog: pytest.LogCaptureFixture) -> None:
    def work(session: silo.Session) -> Any:
        model = st.fitted(session, epochs=1)
        if session.me == "bank":
            with torch.no_grad():
                next(model.parts_["real"].modules["top"].parameters()).fill_(float("nan"))
        return model.predict_proba(st.X[session.me])

    assert np.isnan(st.together(work)["bank"]).all()
    assert f"bank: {st.ROWS} of {st.ROWS} rows have no score: the network diverged" in caplog.text


@pytest.mark.parametrize("noise", [None, Noise(4.0), RandomizedLabels(1.0)])
def test_under_a_guide_the_others_take_ever_smaller_steps(noise: Any) -> None:
    """After three epochs a third of the rate is left at a host, a compute partner and the bottom of an owner."""

    def rate(part: Part) -> float:
        assert part.optimizer is not None
        return float(part.optimizer.param_groups[0]["lr"])

    budget = {"bank": Budget(900.0, 1e-5)} if noise else None
    own = {"gradients": noise} if noise else {}
    flat = st.together(lambda session: st.fitted(session, bank=own).parts_, budget=budget)
    shown = {"activations": Noise(8.0)} if noise else {}
    bent = st.together(lambda session: u_shaped(session, **own, **shown).parts_, budget=budget)
    left = 0.01 / 3 if noise else 0.01
    for part in (flat["telecom"]["bottom"], bent["bank"]["bottom"], bent["telecom"]["middle"]):
        assert rate(part) == pytest.approx(left)
    for part in (flat["bank"]["real"], bent["bank"]["real"]):
        assert rate(part) == 0.01


def test_a_member_with_another_order_of_rows_is_noticed() -> None:
    def work(session: silo.Session) -> Any:
        ids = np.arange(st.ROWS) if session.me == "bank" else np.arange(st.ROWS)[::-1].copy()
        y = st.Y if session.me == "bank" else None
        return st.member(session).fit(st.X[session.me], y, ids=ids)

    with pytest.raises(UnlikeTerms, match="order of the rows"):
        st.together(work)


def test_a_member_with_other_rows_is_noticed() -> None:
    def work(session: silo.Session) -> Any:
        less = 0 if session.me == "bank" else 1
        return st.member(session).fit(st.X[session.me][less:], st.Y if session.me == "bank" else None)

    with pytest.raises(UnlikeTerms, match="rows"):
        st.together(work)


def test_a_compute_partner_says_the_cut() -> None:
    def work(session: silo.Session) -> Any:
        if session.me == "bank":
            return u_shaped(session)
        return SplitNetwork(session, middle=nn.Linear(5, 6), epochs=3, batch=40).fit()

    with pytest.raises(ParameterError, match="say cut="):
        st.together(work)


def test_who_brings_nothing_is_told() -> None:
    with pytest.raises(ParameterError, match="pass X, y or both"):
        st.together(lambda session: st.member(session).fit())
    with pytest.raises(ParameterError, match="requires y to be passed"):
        SplitNetwork(top=nn.Linear(3, 1)).fit(st.X["bank"])
    with pytest.raises(ParameterError, match="y has 1 class"):
        SplitNetwork(top=nn.Linear(3, 1)).fit(st.X["bank"], np.zeros(st.ROWS))
    with pytest.raises(ParameterError, match="pass bottom, top, or both"):
        SplitNetwork().fit(st.X["bank"], st.Y)


def test_names_load_without_torch() -> None:
    program = (
        "import sys, silo.vertical as v; v.SplitNetwork; v.Noise(2.0).plan('gradients', 3).mu; v.RandomizedLabels(1.0);"
        "assert 'torch' not in sys.modules, 'torch was loaded'"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("who", [st.NAMES[:2], st.NAMES])
def test_no_more_is_sent_than_was_foreseen_once_the_widths_are_known(who: Any) -> None:
    """A label party without a bottom knows nothing of the cut before the roll call."""

    def work(session: silo.Session) -> tuple[int, list[int]]:
        asked: list[int] = []
        honest = session.check_leaving

        def listening(coming: int, rounds: int = 0) -> None:
            asked.append(coming)
            honest(coming, rounds=rounds)

        session.check_leaving = listening  # type: ignore[method-assign]
        before = session.seat.endpoint.traffic.bytes_sent
        st.fitted(session, bank={"bottom": None, "top": st.top(st.CUT)})
        return session.seat.endpoint.traffic.bytes_sent - before, asked

    words = {"two_party": silo.TWO_PARTY_WORDS} if len(who) == 2 else {}
    found = silo.simulate(who, work, vertical=st.OPEN, **words)
    for name, (sent, asked) in found.items():
        assert 0 < sent <= max(asked), f"{name} sent {sent} bytes and asked for {asked}"
    # The label party asks again once it knows how wide the cut is.
    before, after = (one for one in found["bank"][1] if one)
    assert after - before == 3 * st.ROWS * 4 * (st.CUT - 1) * (len(who) - 1)
