"""What a review of the linear guide found: what of the label party's own shows to partners, and honest fits stopped."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

from torch import nn  # noqa: E402

import silo  # noqa: E402
from silo.errors import NotAllowed, ParameterError  # noqa: E402
from silo.privacy.budget import Budget  # noqa: E402
from silo.protocols.errors import ProtocolAborted, UnlikeTerms  # noqa: E402
from silo.vertical import Noise, RandomizedLabels, SplitNetwork  # noqa: E402
from silo.vertical.splitting import declaring  # noqa: E402
from tests.attacks.test_split_again import seen_by  # noqa: E402
from tests.silo.vertical import split_table as st  # noqa: E402
from tests.silo.vertical.test_split_network import u_shaped  # noqa: E402

BANK = {"bank": Budget(900.0, 1e-5)}


class Refusing(nn.Module):
    """Raises where a row is out of range, as checked lookups do."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(3, st.CUT)

    def forward(self, x: Any) -> Any:
        if bool((x.abs() > 50).any()):
            raise ValueError("out of range")
        return self.one(x)


def summing() -> nn.Module:
    own = nn.Linear(3, st.CUT)
    nn.init.ones_(own.weight)
    return own


@pytest.mark.parametrize(("bottom", "value"), [(summing, 3e38), (Refusing, 99.0)])
def test_a_row_that_the_own_bottom_cannot_take_does_not_show(bottom: Any, value: float) -> None:
    """Claimed (docs/split.md): columns of the label party are in nothing that leaves. A trial of the own bottom on its
    own rows ended the fit where one of them overflowed, and the host waited in vain."""
    views = []
    for one in (1.0, value):
        x = {**st.X, "bank": st.X["bank"].copy()}
        x["bank"][17] = one

        def work(session: silo.Session, x: Any = x) -> None:
            own = {"bottom": bottom(), "gradients": Noise(8.0)}
            st.member(session, epochs=1, bank=own).fit(x[session.me], st.Y if session.me == "bank" else None)

        views.append(seen_by("telecom", work, budget=BANK))
    assert views[0] == views[1]


class Steep(nn.Module):
    """Gives infinite logits, in training only."""

    def __init__(self, logits: int) -> None:
        super().__init__()
        self.one = nn.Linear(2 * st.CUT, logits)

    def forward(self, x: Any) -> Any:
        made = self.one(x)
        return made * 1e38 * 1e38 if self.training and torch.is_grad_enabled() else made


def test_logits_that_overflow_end_no_fit_where_numpy_raises() -> None:
    """Claimed (silo.vertical.splitting.metering): `saw` and `end` raise nothing."""

    def work(session: silo.Session, top: Any) -> None:
        with np.errstate(invalid="raise", over="raise"):
            st.fitted(session, y=st.THREE, epochs=1, bank={"top": top, "gradients": Noise(8.0)})

    tops = (st.top(logits=3), Steep(3))
    one, other = (seen_by("telecom", lambda s, top=top: work(s, top), budget=BANK) for top in tops)
    assert one == other


class Sparse(nn.Module):
    """Has a gradient that few functions of torch take."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Embedding(8, 4, sparse=True)
        self.one = nn.Linear(2 * st.CUT + 4, 1)

    def forward(self, x: Any) -> Any:
        return self.one(torch.cat([x, self.look((x[:, 0].abs() * 4).long().clamp(0, 7))], 1))


def test_sparse_gradients_of_the_real_top_end_no_fit() -> None:
    own = {"top": Sparse(), "gradients": Noise(8.0), "optimizer": lambda p: torch.optim.SGD(p, lr=0.01)}
    st.together(lambda session: st.fitted(session, epochs=1, bank=own), budget=BANK)


def test_a_guide_has_the_type_of_what_travels() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        st.together(
            lambda session: st.fitted(session, epochs=1, watch=False, bank={"gradients": Noise(8.0)}),
            budget=BANK,
        )
    finally:
        torch.set_default_dtype(torch.float32)


class Late:
    """Makes optimisers that share the norm of all their gradients, from the fourth step on: a warm-up."""

    def __init__(self) -> None:
        self.norm = 0.0

    def __call__(self, parameters: Any) -> Any:
        every, made, steps = list(parameters), torch.optim.SGD, [0]
        found = made(every, lr=0.1)

        def scale(*_: Any) -> None:
            steps[0] += 1
            if steps[0] > 3:
                self.norm = 0.9 * self.norm + 0.1 * sum(float(p.grad.norm()) for p in every)
                for p in every:
                    p.grad.div_(1e-3 + self.norm)

        found.register_step_pre_hook(scale)
        return found


def test_an_optimizer_whose_memory_begins_after_a_warm_up_is_refused() -> None:
    def work(session: silo.Session) -> Any:
        own = {"gradients": Noise(8.0), "activations": Noise(8.0), "optimizer": Late()}
        return u_shaped(session, watch=False, **(own if session.me == "bank" else {}))

    with pytest.raises(ParameterError, match="other labels"):
        st.together(work, budget=BANK)


class Standard(nn.Module):
    """Standardises a batch in training, without an epsilon."""

    def forward(self, x: Any) -> Any:
        return x / x.std(0) if self.training else x


def test_a_top_that_divides_by_a_batchs_deviation_is_not_refused_for_made_up_rows() -> None:
    top = nn.Sequential(Standard(), st.top())
    st.together(
        lambda session: st.fitted(session, epochs=1, bank={"top": top, "gradients": Noise(8.0)}), budget=BANK
    )


def test_residuals_smaller_than_the_wires_steps_stop_no_honest_fit() -> None:
    x = np.where(st.Y[:, None] > 0, 1.0, -1.0) * np.ones((1, 4)) + 0.01 * st.X["telecom"]

    def work(session: silo.Session) -> None:
        own: dict[str, Any] = {"bottom": st.fixed(nn.Linear(4, st.CUT), 3)}
        if session.me == "bank":
            own = {"top": st.top(st.CUT), "gradients": RandomizedLabels(20.0, corrected=False)}
        else:
            with torch.no_grad():
                own["bottom"].weight.mul_(20)
        model = SplitNetwork(session, epochs=40, batch=40, lr=0.03, wire="float16", **own)
        model.fit(None if session.me == "bank" else x, st.Y if session.me == "bank" else None)

    st.together(work, budget=BANK)


def test_a_host_is_warned_where_so_many_classes_are_declared_that_no_hijacker_would_show(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Claimed (docs/split.md): a host whose label party declares as many classes as the cut is wide is warned."""
    monkeypatch.setattr(declaring, "word", lambda how, classes: f"8 of {st.CUT}")
    st.together(lambda session: st.fitted(session, epochs=1, bank={"gradients": Noise(8.0)}), budget=BANK)
    with caplog.at_level(logging.WARNING, "silo.vertical"):
        assert f"telecom: bank declares {st.CUT} classes, and the cut is {st.CUT} wide" in caplog.text


@pytest.mark.parametrize(("declared", "agreed"), [(3, 2), (4, 3)])
def test_a_label_party_that_declares_more_classes_than_were_agreed_is_refused_by_the_host(
    declared: int, agreed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claimed (docs/split.md): where the charter names the number of classes nobody gains room for a hijack by more."""
    monkeypatch.setattr(declaring, "word", lambda how, classes: f"8 of {declared}")
    strict = declaring.read

    def lenient(setting: Any, said: str) -> declaring.Declared:
        return declaring.Declared(8.0, declared) if setting.who == "bank" else strict(setting, said)

    monkeypatch.setattr(declaring, "read", lenient)
    refused, came = [], []

    def work(session: silo.Session) -> None:
        try:
            st.fitted(session, epochs=1, bank={"gradients": Noise(8.0)})
        except UnlikeTerms as refusal:
            refused.append((session.me, str(refusal)))
        except ProtocolAborted:
            came.extend(one.kind for one in session.seat.transcript)

    st.together(work, budget=BANK, vertical=replace(st.OPEN, classes=agreed))
    ((who, said),) = refused
    assert who == "telecom"
    assert f"declares {declared} classes, and the charter agrees on {agreed}" in said
    assert "Private" not in came


def test_a_label_party_with_more_classes_than_were_agreed_says_nothing() -> None:
    def work(session: silo.Session) -> None:
        st.fitted(session, st.THREE, epochs=1, bank={"top": st.top(logits=3), "gradients": Noise(8.0)})

    with pytest.raises(NotAllowed, match="the classes of a split network"):
        st.together(work, budget=BANK, vertical=replace(st.OPEN, classes=2))
    st.together(work, budget=BANK, vertical=replace(st.OPEN, classes=3))
