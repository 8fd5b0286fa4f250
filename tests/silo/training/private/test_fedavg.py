"""Private training inside a federation."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

import silo  # noqa: E402
from silo.errors import ParameterError, UsageError  # noqa: E402
from silo.privacy.errors import NotCovered, PrivacyBudgetExceeded  # noqa: E402
from silo.protocols.errors import TooFewParties  # noqa: E402
from silo.session import Session  # noqa: E402

NAMES = ("ada", "bob", "cyd")
START = torch.nn.Linear(3, 2)


def rows(seed: int) -> tuple[Any, Any]:
    source = np.random.default_rng(seed)
    x = source.uniform(-1, 1, (60, 3)).astype(np.float32)
    return x, (x[:, 0] + 0.5 * x[:, 1] > 0).astype(np.int64)


INPUTS = {name: rows(seed) for seed, name in enumerate(NAMES)}


def plan(**changes: Any) -> silo.DPSGD:
    figures: dict[str, Any] = {
        "sampling": 1.0,
        "steps": 8,
        "clip": 1.0,
        "lot": 60.0,
        "noise_multiplier": 4.0,
        "learning_rate": 2.0,
    }
    return silo.DPSGD(**{**figures, **changes})


def train(session: Session, own: Any, privacy: silo.DPSGD, rounds: int = 4) -> Any:
    model = copy.deepcopy(START)
    silo.train(session, model, own, algorithm=silo.FedAvg(rounds), privacy=privacy)
    account = session.policy.account if session.policy else None
    return model.state_dict(), account


def test_everybody_pays_for_each_step_and_gets_one_model() -> None:
    def party(session: Session, own: Any) -> Any:
        state, account = train(session, own, plan())
        kinds = [record.fields()["kind"] for record in account.ledger.records()]
        return state, account.epsilon(), kinds.count("reserve"), account.ledger.books.witnessed

    found = silo.simulate(NAMES, party, INPUTS, rows=100, clip=8.0, budget=silo.Budget(6.0, 1e-3))
    first = found["ada"][0]
    for name, (state, epsilon, reserved, witnessed) in found.items():
        assert all(torch.equal(state[key], first[key]) for key in first)
        assert 2 < epsilon < 6
        assert reserved == 4
        assert set(witnessed) == set(NAMES) - {name}
    assert not torch.equal(first["weight"], START.weight)


def test_what_does_not_fit_is_refused_before_a_row_is_read() -> None:
    class Untouched:
        def __len__(self) -> int:
            raise AssertionError("the rows were looked at")

        def __getitem__(self, index: int) -> Any:
            raise AssertionError("the rows were read")

    def party(session: Session) -> Any:
        with pytest.raises(PrivacyBudgetExceeded):
            train(session, Untouched(), plan(noise_multiplier=0.3))
        assert session.policy is not None
        return [record.fields()["kind"] for record in session.policy.account.ledger.records()]

    for kinds in silo.simulate(NAMES, party, budget=silo.Budget(1.0, 1e-3)).values():
        assert kinds == ["ledger", "open", "refuse"]


def test_nobody_pays_while_a_member_is_refused() -> None:
    def party(session: Session, own: Any) -> Any:
        assert session.policy is not None
        try:
            train(session, own, plan())
        except (PrivacyBudgetExceeded, TooFewParties) as problem:
            return type(problem), session.policy.account.epsilon()
        raise AssertionError("it trained")

    budgets = dict.fromkeys(NAMES, silo.Budget(6.0, 1e-3)) | {"cyd": silo.Budget(0.5, 1e-3)}
    found = silo.simulate(NAMES, party, INPUTS, rows=100, clip=8.0, budget=budgets)
    assert found["cyd"] == (PrivacyBudgetExceeded, 0.0)
    assert found["ada"] == found["bob"] == (TooFewParties, 0.0)


def test_a_simulation_raises_the_error_of_the_member_that_was_refused() -> None:
    budgets = dict.fromkeys(NAMES, silo.Budget(6.0, 1e-3)) | {"cyd": silo.Budget(0.5, 1e-3)}
    with pytest.raises(PrivacyBudgetExceeded) as raised:
        silo.simulate(
            NAMES,
            lambda session, own: train(session, own, plan()),
            INPUTS,
            rows=100,
            clip=8.0,
            budget=budgets,
        )
    assert raised.value.__notes__ == ["raised by party cyd"]


def test_a_member_that_leaves_costs_the_others_one_round() -> None:
    """A round that failed is paid for; the next one is not begun before the roll call finds enough members."""

    class Leaves(Exception):
        pass

    def party(session: Session, own: Any) -> Any:
        assert session.policy is not None

        def gone(report: Any) -> None:
            raise Leaves

        model = copy.deepcopy(START)
        with pytest.raises((Leaves, TooFewParties)):
            silo.train(
                session,
                model,
                own,
                algorithm=silo.FedAvg(4),
                privacy=plan(),
                on_round=gone if session.me == "cyd" else None,
            )
        book = session.policy.account.ledger
        return [record.fields()["kind"] for record in book.records()].count("reserve")

    found = silo.simulate(NAMES, party, INPUTS, rows=100, clip=8.0, budget=silo.Budget(6.0, 1e-3))
    assert found == {"ada": 2, "bob": 2, "cyd": 1}


def test_epochs_mean_nothing_here_and_are_refused() -> None:
    def party(session: Session, own: Any) -> Any:
        silo.train(session, copy.deepcopy(START), own, algorithm=silo.FedAvg(4, epochs=5), privacy=plan())

    with pytest.raises(ParameterError, match="leave epochs out"):
        silo.simulate(NAMES, party, INPUTS, rows=100, clip=8.0, budget=silo.Budget(6.0, 1e-3))


def test_without_a_policy_there_is_nothing_to_pay_with() -> None:
    def party(session: Session, own: Any) -> Any:
        train(session, own, plan())

    with pytest.raises(UsageError, match="no privacy policy"):
        silo.simulate(NAMES, party, INPUTS)


def test_a_number_without_noise_is_refused_under_a_policy() -> None:
    def party(session: Session, own: Any) -> Any:
        for release in (
            lambda: session.sum([1]),
            lambda: session.mean([1.0], weight=3),
            lambda: silo.standardize(session, own[0]),
            lambda: silo.train(session, copy.deepcopy(START), own, algorithm=silo.FedAvg(1)),
        ):
            with pytest.raises(NotCovered, match="would leave without noise"):
                release()
        return silo.standardize(session, own[0], low=-1, high=1)

    found = silo.simulate(NAMES, party, INPUTS, budget=silo.Budget(1.0, 1e-3))
    assert np.allclose(found["ada"], INPUTS["ada"][0])


def test_steps_are_shared_among_rounds() -> None:
    def party(session: Session, own: Any) -> Any:
        train(session, own, plan(steps=7))

    with pytest.raises(ValueError, match="multiple of 4"):
        silo.simulate(NAMES, party, INPUTS, budget=silo.Budget(6.0, 1e-3))
