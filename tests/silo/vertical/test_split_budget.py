"""What noise on labels costs, and what is refused before anything leaves."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

import silo  # noqa: E402
from silo.errors import NotAllowed, ParameterError, UsageError  # noqa: E402
from silo.privacy import events  # noqa: E402
from silo.privacy.budget import Budget  # noqa: E402
from silo.privacy.errors import NotCovered, PrivacyBudgetExceeded  # noqa: E402
from silo.vertical import Noise, RandomizedLabels  # noqa: E402
from tests.silo.vertical import split_table as st  # noqa: E402

ROOM = Budget(50.0, 1e-5)


def spent(session: silo.Session) -> dict[str, int]:
    """How often each event was charged to this member."""
    return dict(session.policy.account.ledger.books.datasets["rows"].events) if session.policy else {}


def test_a_plan_keeps_its_target_with_the_least_noise() -> None:
    plan = Noise(epsilon=2.0, delta=1e-5).plan("gradients", 20)
    budget = Budget(2.0, 1e-5)
    from silo.privacy.dataset import cost

    def kept(sigma: float) -> bool:
        return budget.admits(cost(events.dumps(events.Gaussian(sigma)), 20, budget.order))

    assert kept(plan.noise_multiplier)
    assert not kept(plan.noise_multiplier * 0.99)
    assert plan.epsilon <= 2.0
    assert plan.mu == pytest.approx(math.sqrt(20) / plan.noise_multiplier)
    known = Noise(math.sqrt(20) / 0.33).plan("gradients", 20)
    assert known.auc_bound == pytest.approx(0.5923, abs=1e-4)
    assert "AUC above 0.592" in known.describe()
    assert known.describe().endswith(
        "needs epsilon 1.38 at least, as its filter counts, and 1.41 to go on once after a break"
    )
    with pytest.raises(ParameterError, match="one epoch or more, not 0"):
        Noise(2.0).plan("gradients", 0)


@pytest.mark.parametrize(
    "figures",
    [{}, {"noise_multiplier": 0.0}, {"noise_multiplier": 1.0, "epsilon": 1.0}, {"epsilon": 1.0},
     {"epsilon": -1.0, "delta": 1e-5}, {"noise_multiplier": 1.0, "clip": 0.0},
     {"noise_multiplier": 1.0, "row_clip": math.inf}, {"noise_multiplier": math.nan}],
)  # fmt: skip
def test_noise_out_of_bounds_is_refused(figures: dict[str, float]) -> None:
    with pytest.raises(ParameterError):
        Noise(**figures)


def test_another_delta_than_the_budgets_is_refused() -> None:
    def work(session: silo.Session) -> Any:
        return st.fitted(session, bank={"gradients": Noise(epsilon=1.0, delta=1e-6)})

    with pytest.raises(ParameterError, match="take the budget's"):
        st.together(work, budget={"bank": ROOM})


REFUSED: list[tuple[Any, Any, type[Exception], str]] = [
    (Noise(0.5), Budget(2.0, 1e-5), PrivacyBudgetExceeded, "epsilon 2"),
    (RandomizedLabels(3.0), Budget(2.0, 1e-5), PrivacyBudgetExceeded, "epsilon 2"),
    (None, ROOM, NotCovered, "gradients of split learning would leave bank without noise"),
    (Noise(2.0), None, UsageError, "no privacy policy for bank"),
]


@pytest.mark.parametrize(
    ("how", "budget", "error", "words"), REFUSED, ids=["noise", "told", "none", "policy"]
)
def test_what_is_not_paid_for_is_refused_before_anything_leaves(
    how: Any, budget: Any, error: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    roll_call = silo.Session.roll_call

    def calling(self: silo.Session, *args: Any, **options: Any) -> Any:
        called.append(self.me)
        return roll_call(self, *args, **options)

    monkeypatch.setattr(silo.Session, "roll_call", calling)

    def work(session: silo.Session) -> Any:
        return st.fitted(session, bank={"gradients": how})

    with pytest.raises(error, match=words):
        st.together(work, budget={"bank": budget} if budget else None)
    assert "bank" not in called


def test_a_charter_that_asks_for_noise_gets_it() -> None:
    for options, words in (
        (
            {"bank": {"gradients": None}, "telecom": {"activations": Noise(4.0)}},
            "gradients of split learning",
        ),
        (
            {"bank": {"gradients": Noise(4.0)}, "telecom": {"activations": None}},
            "activations of split learning",
        ),
    ):

        def work(session: silo.Session, options: Any = options) -> Any:
            return st.fitted(session, **options)

        with pytest.raises(NotAllowed, match=words):
            st.together(work, budget=ROOM, vertical=st.STRICT)


def test_where_the_policy_records_the_ledger_shows_no_privacy() -> None:
    from dataclasses import replace

    def work(session: silo.Session) -> Any:
        if session.policy:
            terms = replace(session.policy.terms, without_noise="record")
            session.policy = replace(session.policy, terms=terms)
        st.fitted(session)
        return session.policy.account.epsilon() if session.policy else None

    assert st.together(work, budget={"bank": ROOM})["bank"] == math.inf


@pytest.mark.parametrize("bad", ["bottom", "top"])
def test_a_module_that_gives_no_number_costs_nothing(bad: str) -> None:
    def work(session: silo.Session) -> Any:
        name = session.me
        options: dict[str, Any] = {"bank": {"gradients": Noise(4.0)}}
        broken = copy.deepcopy(st.bottom("telecom") if bad == "bottom" else st.top())
        if bad == "bottom":
            broken = torch.nn.Sequential(broken, Failing(3))
            options["telecom"] = {"bottom": broken}
        else:
            options["bank"]["top"] = torch.nn.Sequential(broken, Failing(1))
        try:
            st.fitted(session, **options)
        except silo.SiloError as problem:
            return type(problem).__name__, str(problem), spent(session)
        return name

    found = st.together(work, budget={"bank": ROOM})
    culprit = "telecom" if bad == "bottom" else "bank"
    kind, said, _ = found[culprit]
    assert kind == "ParameterError"
    assert f"{culprit}: the {bad} module gave nan in row 0 of the batch" in said
    assert found["bank"][2] == {}


class Failing(torch.nn.Module):
    """Gives numbers out of training, and NaN in it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Any) -> Any:
        return x * float("nan") if self.training else x


def test_labels_in_the_u_shape_are_protected_alike() -> None:
    from tests.silo.vertical.test_split_network import u_shaped

    def work(session: silo.Session) -> Any:
        model = u_shaped(session, gradients=Noise(4.0), activations=Noise(8.0))
        chances = model.predict_proba(st.X["bank"] if session.me == "bank" else None)
        return spent(session), chances

    found, chances = st.together(work, budget={"bank": ROOM}, vertical=st.STRICT)["bank"]
    half = events.Gaussian(4.0)
    assert found == {events.dumps(half): 4, events.dumps(events.Composed((half, half))): 3}
    assert np.isfinite(chances).all()
