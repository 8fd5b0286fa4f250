"""Labels behind noise: what leaves is worked out from noised residuals alone, and paid for before it leaves."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

import silo  # noqa: E402
from silo.crypto.rng import InsecureSeededRng, SystemRng  # noqa: E402
from silo.errors import UsageError  # noqa: E402
from silo.privacy import events  # noqa: E402
from silo.privacy.budget import Budget  # noqa: E402
from silo.privacy.errors import TokenUsed  # noqa: E402
from silo.privacy.token import NoiseToken  # noqa: E402
from silo.protocols.split.line import Line  # noqa: E402
from silo.vertical import Noise, RandomizedLabels  # noqa: E402
from silo.vertical.splitting import residuals  # noqa: E402
from silo.vertical.splitting.guided import GuidedTop  # noqa: E402
from silo.vertical.splitting.part import Part  # noqa: E402
from silo.vertical.splitting.paying import Payer  # noqa: E402
from silo.vertical.splitting.residuals import NoisedResiduals, ToldResiduals  # noqa: E402
from tests.silo.vertical import split_table as st  # noqa: E402

ROOM = Budget(50.0, 1e-5)


def free(event: events.Event) -> Callable[[int], NoiseToken]:
    """Tokens that nobody paid for."""
    return lambda epoch: NoiseToken(event)


def noised(labels: Any, logits: int, sigma: float, rng: Any = None) -> NoisedResiduals:
    return NoisedResiduals(labels, logits, sigma, free(events.Gaussian(sigma)), rng=rng or SystemRng())


@pytest.mark.parametrize("logits", [1, 3])
def test_the_noise_has_the_deviation_that_is_accounted_for(logits: int) -> None:
    rows = 60_000
    labels = np.random.default_rng(1).integers(0, max(2, logits), rows)
    z = np.random.default_rng(2).normal(size=(rows, logits))
    one = noised(labels, logits, 3.0)
    one.begin(0)
    exact = residuals.residual(z, residuals.one_hot(labels, logits))
    added = one.of(z, np.arange(rows)) - exact
    bound = 1.0 if logits == 1 else math.sqrt(2)
    assert abs(added.std() / (3.0 * bound) - 1) < 0.02
    assert abs(added.mean()) < 0.05 * bound
    assert abs(np.corrcoef(added[:-1, 0], added[1:, 0])[0, 1]) < 0.02


@pytest.mark.parametrize("logits", [1, 2, 5])
def test_one_label_changes_a_residual_by_what_the_noise_covers(logits: int) -> None:
    classes, bound = max(2, logits), 1.0 if logits == 1 else math.sqrt(2)
    z = np.random.default_rng(3).normal(scale=30, size=(400, logits))
    every = [residuals.residual(z, residuals.one_hot(np.full(400, k), logits)) for k in range(classes)]
    for one in every:
        assert np.linalg.norm(one, axis=1).max() <= bound * (1 + 1e-12)
        assert np.linalg.norm(residuals.clipped(one, bound), axis=1).max() <= bound * (1 + 1e-15)
        for other in every:
            assert np.linalg.norm(one - other, axis=1).max() <= bound * (1 + 1e-12)


def test_a_rows_noise_hides_one_residual_only() -> None:
    one = noised(st.Y, 1, 2.0)
    one.begin(0)
    first = one.of(np.zeros((4, 1)), np.arange(4))
    with pytest.raises(UsageError, match="one residual only"):
        one.of(np.ones((2, 1)), np.array([9, 3]))
    one.begin(1)
    assert (one.of(np.zeros((4, 1)), np.arange(4)) != first).all()


class Compensated(NoisedResiduals):
    """Noise that makes up for one changed label, so that the noised residuals are the same."""

    moved: Any = None

    def _draw(self) -> None:
        super()._draw()
        if self.moved is not None:
            self._noise += self.moved


def transcript(labels: Any, logits: int, moved: Any, columns: float = 1.0) -> tuple[list[Any], GuidedTop]:
    """All gradients that the hosts get over two epochs, and the label party's work; its columns times `columns`."""
    modules = {"top": st.top(logits=logits), "bottom": st.bottom("bank")}
    make = lambda parameters: torch.optim.Adam(parameters, lr=0.05)  # noqa: E731
    event = events.Gaussian(2.0)
    hidden = Compensated(labels, logits, 2.0, free(event), rng=InsecureSeededRng(4))
    hidden.moved = moved
    x = columns * st.X["bank"].astype(np.float32)
    torch.manual_seed(5)
    top = GuidedTop(
        Part(modules, make), x, labels, lambda done: None,
        who="bank", residuals=hidden, width=st.CUT, logits=logits, rate=0.05, epochs=3,
    )  # fmt: skip
    draw, sent = np.random.default_rng(6), []
    for epoch in range(2):
        top.begin(epoch)
        for places in np.array_split(draw.permutation(st.ROWS), 6):
            sent.append(top.exchange(places, draw.normal(size=(len(places), st.CUT)).astype(np.float32)))
            top.step(len(places))
    return sent, top


@pytest.mark.parametrize("logits", [1, 3])
def test_what_leaves_is_a_function_of_noised_residuals_alone(logits: int) -> None:
    """One label changed, and noise that makes up for it: not a bit of what leaves, or of the guide, is another."""
    labels = st.Y.astype(np.int64) if logits == 1 else st.THREE.astype(np.int64)
    other = labels.copy()
    other[17] = (labels[17] + 1) % max(2, logits)
    moved = residuals.one_hot(other, logits) - residuals.one_hot(labels, logits)
    sent, top = transcript(labels, logits, None)
    again, changed = transcript(other, logits, moved)
    assert all(np.allclose(one, two, rtol=0, atol=1e-6) for one, two in zip(sent, again, strict=True))
    for key, value in top.guide.arrays().items():
        assert np.allclose(value, changed.guide.arrays()[key], rtol=0, atol=1e-5)
    # The real modules learned the label, and the test would see it had they been used.
    away = [np.abs(value - changed.real.arrays()[key]).max() for key, value in top.real.arrays().items()]
    assert max(away) > 1e-3
    plain, _ = transcript(other, logits, None)
    assert any(not np.allclose(one, two, atol=1e-3) for one, two in zip(sent, plain, strict=True))


@pytest.mark.parametrize("columns", [-7.0, float("nan")])
def test_what_leaves_is_no_function_of_the_label_partys_columns(columns: float) -> None:
    labels = st.Y.astype(np.int64)
    sent, _ = transcript(labels, 1, None)
    again, changed = transcript(labels, 1, None, columns)
    assert all(np.array_equal(one, two) for one, two in zip(sent, again, strict=True))
    assert changed.lost == (12 if np.isnan(columns) else 0)


def test_all_labels_changed_and_made_up_for_leave_no_trace() -> None:
    labels = st.Y.astype(np.int64)
    sent, _ = transcript(labels, 1, None)
    moved = residuals.one_hot(1 - labels, 1) - residuals.one_hot(labels, 1)
    again, _ = transcript(1 - labels, 1, moved)
    assert all(np.allclose(one, two, rtol=0, atol=1e-5) for one, two in zip(sent, again, strict=True))


def gradients(session: silo.Session, **options: Any) -> Any:
    """One epoch with a torch seed that is known; the first weights of the host's bottom afterwards."""
    torch.manual_seed(0)
    model = st.fitted(session, epochs=1, bank={"gradients": Noise(2.0)}, **options)
    return [one.copy() for part in model.parts_.values() for one in part.arrays().values()]


def test_a_known_seed_does_not_give_the_noise() -> None:
    one, other = (st.together(gradients, budget={"bank": ROOM})["telecom"] for _ in range(2))
    assert not any(np.array_equal(a, b) for a, b in zip(one[:2], other[:2], strict=True))


def spent(session: silo.Session) -> dict[str, int]:
    """How often each event was charged to this member."""
    return dict(session.policy.account.ledger.books.datasets["rows"].events) if session.policy else {}


def test_each_epoch_is_reserved_before_its_first_gradient_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    pay, out = Payer.pay, Line.out

    def paying(self: Payer, event: events.Event, what: str) -> NoiseToken:
        told.append(f"pays for {what}")
        return pay(self, event, what)

    def leaving(self: Line, *args: Any) -> Any:
        if self.me == "bank":
            told.append("gradient")
        return out(self, *args)

    monkeypatch.setattr(Payer, "pay", paying)
    monkeypatch.setattr(Line, "out", leaving)

    def work(session: silo.Session) -> Any:
        model = st.fitted(session, micro_batches=2, bank={"gradients": Noise(4.0)})
        return (
            spent(session),
            model.charges_,
            session.policy and len(session.policy.account.ledger.books.covered),
        )

    charged, charges, covered = st.together(work, budget={"bank": ROOM})["bank"]
    # Three batches an epoch, in two micro-batches each.
    assert told == [
        f"pays for epoch {epoch}" if not at else "gradient" for epoch in (1, 2, 3) for at in range(7)
    ]
    assert charged == {events.dumps(events.Gaussian(4.0)): 3}
    assert len(set(charges)) == 3
    assert covered == 3


def test_randomised_labels_are_told_once_a_fit() -> None:
    def work(session: silo.Session) -> Any:
        st.fitted(session, bank={"gradients": RandomizedLabels(1.0)})
        return spent(session)

    found = st.together(work, budget={"bank": ROOM})["bank"]
    assert found == {events.dumps(RandomizedLabels(1.0).event(2)): 1}


def test_labels_are_told_at_the_rate_that_is_accounted_for() -> None:
    how, labels = RandomizedLabels(1.0), np.random.default_rng(1).integers(0, 4, 40_000)
    event = how.event(4)
    told = how.tell(labels, 4, NoiseToken(event), rng=SystemRng())
    assert abs((told == labels).mean() - math.e / (math.e + 3)) < 0.01
    shares = [np.bincount(told[labels == k], minlength=4) / (labels == k).sum() for k in range(4)]
    other = 1 / (math.e + 3)
    assert all(abs(shares[k][m] - other) < 0.02 for k in range(4) for m in range(4) if m != k)
    # On average what the loss compares with is the truth.
    mean = np.stack([how.targets(told, 4)[labels == k].mean(axis=0) for k in range(4)])
    assert np.abs(mean - np.eye(4)).max() < 0.1
    token = NoiseToken(event)
    how.tell(labels, 4, token, rng=SystemRng())
    with pytest.raises(TokenUsed):
        how.tell(labels, 4, token, rng=SystemRng())


def test_told_residuals_keep_what_was_told() -> None:
    how = RandomizedLabels(0.5, corrected=False)
    one = ToldResiduals(st.Y.astype(np.int64), 1, how, free(how.event(2)), rng=SystemRng())
    one.begin(0)
    every = np.arange(st.ROWS)
    first = one.of(np.zeros((st.ROWS, 1)), every)
    one.begin(1)
    assert np.array_equal(one.of(np.zeros((st.ROWS, 1)), every), first)
    assert set(np.unique(first)) == {-0.5, 0.5}

    def never(epoch: int) -> NoiseToken:
        raise AssertionError("paid twice")

    other = ToldResiduals(st.Y.astype(np.int64), 1, how, never, rng=SystemRng())
    other.load(one.arrays())
    assert np.array_equal(other.of(np.zeros((st.ROWS, 1)), every), first)
