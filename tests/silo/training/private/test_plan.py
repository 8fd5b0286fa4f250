"""DP-SGD's constants: every mistake in one sentence, and the cost before anything runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import silo
from silo.crypto.rng import SystemRng
from silo.errors import ParameterError
from silo.privacy import events
from silo.privacy.accountants.pld import PLD
from silo.privacy.budget import Budget
from silo.privacy.dataset import cost

FIGURES: dict[str, Any] = {"sampling": 0.05, "steps": 100, "clip": 1.0, "lot": 64.0, "noise_multiplier": 1.5}


def plan(**changes: Any) -> silo.DPSGD:
    return silo.DPSGD(**{**FIGURES, **changes})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sampling": 0.0}, "sampling is a probability above 0"),
        ({"sampling": 1.01}, "at most 1, not 1.01"),
        ({"sampling": -0.1}, "above 0"),
        ({"sampling": float("nan")}, "above 0"),
        ({"sampling": "0.1"}, "sampling is a number"),
        ({"steps": 0}, "steps is a whole number from 1"),
        ({"steps": 2.5}, "steps is a whole number"),
        ({"steps": True}, "steps is a whole number"),
        ({"clip": 0.0}, "clip is a norm above 0"),
        ({"clip": float("inf")}, "clip is a norm"),
        ({"lot": -1.0}, "lot is an expected batch size"),
        ({"lot": None}, "lot is a number, not None"),
        ({"noise_multiplier": -1.0}, "noise_multiplier is above 0"),
        ({"noise_multiplier": 0.0}, "noise_multiplier is above 0"),
        ({"noise_multiplier": None}, "takes a noise_multiplier, or a target epsilon"),
        ({"epsilon": 1.0, "delta": 1e-5}, "takes a noise_multiplier, or a target epsilon"),
        ({"noise_multiplier": None, "epsilon": 1.0}, "with its delta"),
        ({"noise_multiplier": None, "epsilon": 1.0, "delta": 1.0}, "delta of a budget is between 0 and 1"),
        ({"noise_multiplier": None, "epsilon": -1.0, "delta": 1e-5}, "epsilon of a budget"),
        ({"learning_rate": 0.0}, "learning_rate is above 0"),
        ({"momentum": 1.0}, "momentum is in"),
        ({"learning_rate": 0.1, "optimizer": list}, "or an optimizer that has its own"),
        ({"mode": "ew"}, "no other is sound"),
        ({"mode": "functorch"}, "no other is sound"),
        ({"physical_batch": 0}, "physical_batch is at least 1"),
        ({"chunk": 0}, "chunk is at least 1"),
        ({"weight": 0.0}, "weight is above 0"),
    ],
)
def test_every_mistake_is_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ParameterError, match=sentence) as caught:
        plan(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("unsound", ["rand_on_empty", "accountant", "poisson_sampling", "loss_reduction"])
def test_what_is_not_sound_in_opacus_has_no_word_here(unsound: str) -> None:
    with pytest.raises(TypeError, match=unsound):
        plan(**{unsound: "gdp"})


def test_numbers_of_numpy_become_plain() -> None:
    one = plan(sampling=np.float64(0.05), steps=np.int64(100), clip=np.float32(1))
    assert one == plan()
    assert one.plan().details(rng=SystemRng())["sampling q"] == "0.05"
    assert one.plan().details(rng=SystemRng())["steps T"] == "100"


def test_the_cost_is_known_before_anything_runs() -> None:
    found = plan().plan()
    assert found.epsilon == PLD().epsilon(found.event, 1e-5)
    assert "100 steps" in found.describe()
    assert f"epsilon {found.epsilon:.3f} at delta 1e-05" in found.describe()


@pytest.mark.parametrize(("sampling", "steps"), [(0.05, 100), (1.0, 10), (0.001, 3000)])
def test_a_target_takes_the_least_noise(sampling: float, steps: int) -> None:
    aim = plan(noise_multiplier=None, epsilon=2.0, delta=1e-5, sampling=sampling, steps=steps)
    found = aim.plan()
    assert found.epsilon <= 2.0
    less = plan(noise_multiplier=0.995 * found.noise_multiplier, sampling=sampling, steps=steps).plan()
    budget = Budget(2.0, 1e-5)
    assert not budget.admits(cost(events.dumps(less.step), steps, budget.order))
    assert float(f"{found.noise_multiplier:.3g}") == found.noise_multiplier


def test_a_target_out_of_reach_says_what_to_do() -> None:
    with pytest.raises(ParameterError, match="take fewer"):
        plan(noise_multiplier=None, epsilon=0.5, delta=1e-5, sampling=1.0, steps=10**9).plan()


def test_with_an_account_it_says_what_is_left(tmp_path: Any) -> None:
    with silo.Ledger.open(tmp_path / "ledger.db") as ledger:
        account = ledger.add("ward", Budget(4.0, 1e-5))
        two = plan().plan(account).describe().splitlines()
        assert len(two) == 2
        assert "the budget of ward (epsilon 4) is used to 0.0%" in two[1]
        assert two[1].endswith("it fits")
        assert plan(noise_multiplier=0.4).plan(account).describe().endswith("it does NOT fit")
        assert ledger.head.head.sequence == 2  # the ledger and the data set: planning writes nothing
