"""The cosine attack on what a host really gets: without noise it reads every label, with it it stays below a bound."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

from sklearn.metrics import roc_auc_score  # noqa: E402
from torch import nn  # noqa: E402

import silo  # noqa: E402
from silo.privacy.budget import Budget  # noqa: E402
from silo.vertical import Noise, SplitNetwork  # noqa: E402
from silo.vertical.splitting.bottoms import Bottom  # noqa: E402
from tests.silo.vertical import split_table as st  # noqa: E402

ROWS, EPOCHS, CUT = 4000, 6, 4
_DRAW = np.random.default_rng(5)
X = {"bank": _DRAW.normal(size=(ROWS, 2)), "telecom": _DRAW.normal(size=(ROWS, 3))}
# Most of it cannot be predicted: what the attack finds it has from the gradients.
Y = (0.2 * X["bank"][:, 0] + 0.2 * X["telecom"][:, 0] + _DRAW.normal(size=ROWS) > 0).astype(int)


def received(noise: Noise | None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """(epochs, rows, cut) gradients as the host gets them."""
    found, waiting, at = np.zeros((EPOCHS, ROWS, CUT)), [], [0]
    begin, forward, backward = Bottom.begin, Bottom.forward, Bottom.backward

    def beginning(self: Bottom, epoch: int) -> None:
        at[0] = epoch
        begin(self, epoch)

    def forwards(self: Bottom, places: Any) -> Any:
        waiting.append(places)
        return forward(self, places)

    def backwards(self: Bottom, gradient: Any) -> None:
        found[at[0], waiting.pop(0)] = gradient
        backward(self, gradient)

    monkeypatch.setattr(Bottom, "begin", beginning)
    monkeypatch.setattr(Bottom, "forward", forwards)
    monkeypatch.setattr(Bottom, "backward", backwards)

    def work(session: silo.Session) -> None:
        leads = session.me == "bank"
        SplitNetwork(
            session,
            bottom=st.fixed(nn.Linear(X[session.me].shape[1], CUT), 1),
            top=st.fixed(nn.Sequential(nn.Linear(2 * CUT, 6), nn.ReLU(), nn.Linear(6, 1)), 2)
            if leads
            else None,
            epochs=EPOCHS,
            batch=400,
            gradients=noise if leads else None,
        ).fit(X[session.me], Y if leads else None)

    st.together(work, budget={"bank": Budget(50.0, 1e-5)} if noise else None)
    return found


def attacked(gradients: Any) -> tuple[float, float]:
    """AUC of the best direction, told by all labels, in one epoch and added up over all: no attacker knows more."""
    scores = []
    for one in gradients:
        direction = one[Y == 1].mean(axis=0) - one[Y == 0].mean(axis=0)
        score = one @ direction
        scores.append(score / score.std())
    return max(roc_auc_score(Y, score) for score in scores), float(roc_auc_score(Y, sum(scores)))


def test_without_noise_every_label_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    once, added = attacked(received(None, monkeypatch))
    assert once > 0.99
    assert added > 0.99


def test_with_noise_the_attack_stays_below_its_bound_however_it_adds_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noise = Noise(np.sqrt(EPOCHS) / 0.33)
    bound = noise.plan("gradients", EPOCHS).auc_bound
    assert bound < 0.6
    _, added = attacked(received(noise, monkeypatch))
    # Of 4,000 rows an AUC is known to a hundredth; what can be predicted without any gradient is in it as well.
    assert added < bound + 0.03
