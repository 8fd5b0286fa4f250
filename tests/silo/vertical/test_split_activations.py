"""A host's rows behind noise: activations and the gradients of its weights, both paid for."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

from torch import nn  # noqa: E402

import silo  # noqa: E402
from silo.crypto.rng import SystemRng  # noqa: E402
from silo.errors import ParameterError  # noqa: E402
from silo.privacy import events  # noqa: E402
from silo.privacy.budget import Budget  # noqa: E402
from silo.privacy.errors import PrivacyBudgetExceeded, TokenUsed  # noqa: E402
from silo.privacy.token import NoiseToken  # noqa: E402
from silo.protocols.split import words  # noqa: E402
from silo.protocols.split.shown import Shower  # noqa: E402
from silo.training.private import optimizer  # noqa: E402
from silo.vertical import Noise  # noqa: E402
from silo.vertical.splitting import bottoms  # noqa: E402
from silo.vertical.splitting.bottoms import Bottom, noised  # noqa: E402
from silo.vertical.splitting.part import Part  # noqa: E402
from silo.vertical.splitting.private_bottom import PrivateBottom  # noqa: E402
from tests.silo.vertical import split_table as st  # noqa: E402

ROOM = Budget(900.0, 1e-5)
X = st.X["telecom"].astype(np.float32)
EVENT = events.Composed((events.Gaussian(2.0), events.Gaussian(2.0)))


def plain(parameters: Any) -> Any:
    return torch.optim.SGD(parameters, lr=0.5, momentum=0.9)


def private(module: nn.Module, pay: Any = None, **figures: Any) -> PrivateBottom:
    plan = Noise(4.0, **figures).plan("activations", 3)
    return PrivateBottom(
        Part({"bottom": module}, plain), plain, X, plan, pay or (lambda epoch: NoiseToken(EVENT)), lambda done: None,
        who="telecom", width=st.CUT, most=None, rng=SystemRng(),
    )  # fmt: skip


def run(one: Bottom | PrivateBottom, micro: int = 2) -> npt.NDArray[Any]:
    """Three batches with gradients that follow from what was seen; the weights afterwards."""
    draw = np.random.default_rng(4)
    one.begin(0)
    for batch in np.array_split(draw.permutation(st.ROWS), 3):
        parts = np.array_split(batch, micro)
        seen = [one.forward(part) for part in parts]
        for part, rows in zip(parts, seen, strict=True):
            one.backward(np.sin(rows + len(part)).astype(np.float32))
        one.step(len(batch))
    return np.concatenate([value.ravel() for value in one.part.arrays().values()])


@pytest.mark.parametrize("micro", [1, 3])
def test_without_its_noise_and_clips_it_is_plain_training(
    micro: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = lambda count, std, *, rng: np.zeros(count)  # noqa: E731
    monkeypatch.setattr(bottoms, "gaussian", silent)
    monkeypatch.setattr(optimizer, "gaussian", silent)
    module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, st.CUT))
    one = private(module, clip=1e4, row_clip=1e4)
    one.rehearse()
    found = run(one, micro)
    one.close()
    due = run(Bottom(Part({"bottom": module}, plain), X, lambda done: None), micro)
    # The optimiser's state is that of the mean gradient in both.
    assert np.abs(found - due).max() < 1e-4
    assert not hasattr(one.part.modules["bottom"], "autograd_grad_sample_hooks")


def test_dropout_falls_alike_on_what_is_sent_and_what_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = lambda count, std, *, rng: np.zeros(count)  # noqa: E731
    monkeypatch.setattr(bottoms, "gaussian", silent)
    monkeypatch.setattr(optimizer, "gaussian", silent)
    module = nn.Sequential(nn.Linear(4, st.CUT, bias=False), nn.Dropout(0.5))
    one = private(module, clip=1e4, row_clip=1e4)
    one.begin(0)
    sent = one.forward(np.arange(40))
    torch.rand(7)  # what others draw meanwhile
    one.backward(np.ones_like(sent))
    kept = torch.from_numpy((sent != 0).astype(np.float32)) * 2
    due = (kept.T @ torch.from_numpy(X[:40])).ravel()
    assert torch.allclose(torch.cat(one._trainer.optimizer.sums()), due, atol=1e-3)
    one.close()


@pytest.mark.parametrize("clip", [0.3, 5.0])
def test_rows_are_cut_and_the_noise_has_its_deviation(clip: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(2).normal(size=(20_000, 6)).astype(np.float32)
    plan = Noise(3.0, clip=clip).plan("activations", 1)
    kept = rows * np.minimum(1, clip / np.linalg.norm(rows, axis=1, keepdims=True))
    added = noised(rows, plan, None, rng=SystemRng()) - kept
    assert abs(added.std() / (3.0 * clip) - 1) < 0.02
    monkeypatch.setattr(bottoms, "gaussian", lambda count, std, *, rng: np.zeros(count))
    bare = noised(rows, plan, None, rng=SystemRng())
    assert np.linalg.norm(bare, axis=1).max() <= clip * (1 + 1e-6)


def test_what_is_noised_always_has_a_place_in_the_ring() -> None:
    plan = Noise(100.0).plan("activations", 1)
    rows = noised(np.zeros((500, 4), np.float32), plan, bottoms.largest(2), rng=SystemRng())
    assert np.abs(rows).max() == words.LARGEST
    words.encode(rows, "telecom")
    assert bottoms.largest(1) is None


def test_a_row_that_overflows_counts_as_nothing() -> None:
    one = private(st.bottom("telecom"))
    one.begin(0)
    sent = one.forward(np.arange(10))
    one.backward(np.full_like(sent, 3e38))
    one.step(10)
    assert all(np.isfinite(value).all() for value in one.part.arrays().values())
    one.close()


class Mixed(nn.Module):
    """What a row becomes depends on the others."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, st.CUT)

    def forward(self, x: Any) -> Any:
        made = self.one(x)
        return made - made.mean(0)


@pytest.mark.parametrize(
    "module",
    [Mixed(), nn.Sequential(nn.Linear(4, st.CUT), nn.BatchNorm1d(st.CUT))],
    ids=["mean", "batch norm"],
)
def test_a_module_whose_rows_are_not_each_their_own_is_refused(module: nn.Module) -> None:
    def work(session: silo.Session) -> Any:
        return st.fitted(session, telecom={"bottom": module, "activations": Noise(4.0)})

    with pytest.raises(ParameterError, match="row"):
        st.together(work, budget={"telecom": ROOM})


def test_a_token_pays_for_one_epoch() -> None:
    token = NoiseToken(EVENT)
    one = private(st.bottom("telecom"), lambda epoch: token)
    run(one)
    one.begin(1)
    with pytest.raises(TokenUsed):
        one.forward(np.arange(3))
    one.close()
    with pytest.raises(ParameterError, match="paid for"):
        private(st.bottom("telecom")).step(3)


def spent(session: silo.Session) -> dict[str, int]:
    return dict(session.policy.account.ledger.books.datasets["rows"].events) if session.policy else {}


@pytest.mark.parametrize("names", [("bank", "telecom"), st.NAMES], ids=["two", "three"])
def test_each_epoch_and_each_scoring_is_paid_for(names: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, list[Any]] = {}
    show = Shower.show

    def showing(self: Shower, rows: Any, first: int = 0) -> bytes:
        shown.setdefault(self._who, []).append(rows.copy())
        return show(self, rows, first)

    monkeypatch.setattr(Shower, "show", showing)
    noise = {"activations": Noise(4.0)}

    def work(session: silo.Session) -> Any:
        model = st.fitted(session, telecom=noise, cards=noise)
        chances = model.predict_proba(st.X[session.me])
        model.predict(st.X[session.me])
        return chances, spent(session), model.parts_

    hosts = names[1:]
    found = st.together(work, names, budget=dict.fromkeys(hosts, ROOM), vertical=None)
    assert np.isfinite(found["bank"][0]).all()
    for name in hosts:
        assert found[name][1] == {events.dumps(EVENT): 3, events.dumps(events.Gaussian(2.0)): 2}
        # The activations have norms of at most 1; what is shown of them is mostly noise.
        drawn = np.concatenate(shown[name])
        assert len(drawn) == 3 * st.ROWS + 2 * st.ROWS
        assert 3.7 < drawn.std() < 4.4
        exact = bottoms.scored(found[name][2]["bottom"].modules["bottom"], st.X[name].astype(np.float32))
        assert not np.array_equal(drawn[-st.ROWS :], exact)


def test_a_top_that_learns_on_costs_hosts_one_showing_and_labels_nothing() -> None:
    def work(session: silo.Session) -> Any:
        st.fitted(session, finish=5, telecom={"activations": Noise(4.0)}, bank={"gradients": Noise(4.0)})
        return spent(session)

    found = st.together(work, budget=ROOM)
    assert found["telecom"] == {events.dumps(EVENT): 3, events.dumps(events.Gaussian(2.0)): 1}
    assert found["bank"] == {events.dumps(events.Gaussian(4.0)): 3}


def test_beyond_the_budget_nothing_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(Shower, "show", lambda self, rows, first=0: shown.append(rows))

    def work(session: silo.Session) -> Any:
        return st.fitted(session, telecom={"activations": Noise(0.5)})

    with pytest.raises(PrivacyBudgetExceeded):
        st.together(work, budget={"telecom": Budget(2.0, 1e-5)})
    assert not shown


def test_what_it_costs_is_said_for_replaced_rows() -> None:
    plan = Noise(8.0).plan("activations", 5)
    assert plan.event == events.Composed((events.Gaussian(4.0), events.Gaussian(4.0)))
    assert plan.mu == pytest.approx((5 * 2 * (2 / 8.0) ** 2) ** 0.5)
    assert "one row replaced" in plan.details(rng=SystemRng())["neighbours"]
    assert "two rows" in plan.describe()


def test_a_row_that_is_not_finite_counts_as_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would show itself through any noise; so would an error that names it."""
    plan = Noise(4.0).plan("activations", 3)
    monkeypatch.setattr(bottoms, "gaussian", lambda count, std, *, rng: np.zeros(count))
    made = np.ones((4, 2), np.float32)
    made[1, 0], made[2, 1] = np.inf, np.nan
    found = noised(made, plan, None, rng=SystemRng())
    assert found[[1, 2]].tolist() == [[0.0, 0.0]] * 2
    assert np.linalg.norm(found[[0, 3]], axis=1) == pytest.approx(1.0)
