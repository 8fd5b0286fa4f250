"""Training under the secure sum equals training without it, whatever is trained."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import silo
from silo.crypto.errors import ParameterError
from silo.errors import NotAllowed
from silo.protocols.errors import OutOfStep
from silo.session import Session
from silo.simulation import simulate
from silo.training import checkpoint
from silo.training.checkpoint import State
from silo.training.linear import LogisticRegression

NAMES = ["ada", "bob", "cyd", "dan"]
SIZES = [40, 7, 90, 23]


def rows() -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(0)
    true = rng.normal(size=5)
    out = []
    for size in SIZES:
        x = rng.normal(size=(size, 5))
        out.append((x, (x @ true > 0).astype(float)))
    return out


def plain(parties: list[tuple[Any, Any]], rounds: int, epochs: int, rate: float) -> dict[str, Any]:
    """The same arithmetic with nothing hidden."""
    now = LogisticRegression(5).parameters()
    for _ in range(rounds):
        update = {key: np.zeros_like(value) for key, value in now.items()}
        for x, y in parties:
            own = LogisticRegression(5)
            own.load(now)
            weight = own.fit((x, y), epochs=epochs, learning_rate=rate)
            for key, value in own.parameters().items():
                update[key] += weight * (value - now[key])
        now = {key: value + update[key] / sum(SIZES) for key, value in now.items()}
    return now


@pytest.mark.parametrize("terms", [{}, {"blinded": True}, {"bits": 24}, {"bits": 40}])
def test_logistic_regression_equals_the_plain_one(terms: dict[str, Any]) -> None:
    def party(session: Session, own: Any) -> Any:
        model = LogisticRegression(5)
        done = silo.train(session, model, own, algorithm=silo.FedAvg(8, epochs=3, learning_rate=0.5))
        assert [one.round for one in done.rounds] == list(range(1, 9))
        assert not done.failed
        return model.parameters()

    found = simulate(NAMES, party, rows(), rows=100, clip=4.0, **terms)
    want = plain(rows(), 8, 3, 0.5)
    for parameters in found.values():
        for key, value in want.items():
            assert np.max(np.abs(parameters[key] - value)) < (1e-3 if terms.get("bits") == 24 else 1e-6)


def test_a_plain_update_function() -> None:
    def step(parameters: dict[str, Any], own: Any) -> tuple[dict[str, Any], float]:
        return {"centre": parameters["centre"] + 0.5 * (own.mean(axis=0) - parameters["centre"])}, len(own)

    def party(session: Session, own: Any) -> Any:
        model = silo.Function({"centre": np.zeros(5)}, step)
        return silo.train(session, model, own[0], algorithm=silo.FedAvg(30)).parameters["centre"]

    pooled = np.concatenate([x for x, _ in rows()]).mean(axis=0)
    for centre in simulate(NAMES, party, rows(), rows=100).values():
        assert np.allclose(centre, pooled, atol=1e-5)


def test_a_torch_module_with_buffers() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    # No bias before the normalisation: its gradient is nothing but rounding.
    start = torch.nn.Sequential(
        torch.nn.Linear(5, 8, bias=False), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 2)
    )

    def party(session: Session, own: Any) -> Any:
        model = copy.deepcopy(start)
        x, y = torch.tensor(own[0], dtype=torch.float32), torch.tensor(own[1]).long()
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(x, y), batch_size=10, drop_last=True
        )
        own_data = loader if len(x) >= 10 else [(x, y)]
        silo.train(session, model, own_data, algorithm=silo.FedAvg(4, epochs=2, learning_rate=0.2))
        return {
            key: value.numpy().copy()
            for key, value in model.state_dict().items()
            if value.is_floating_point()
        }

    found = simulate(NAMES, party, rows(), rows=200, clip=4.0)
    for key, value in found["ada"].items():
        assert all(np.array_equal(value, other[key]) for other in found.values())
        assert not np.array_equal(value, start.state_dict()[key].numpy()) or value.size == 0


def test_unlike_starts_are_named() -> None:
    def party(session: Session, own: Any) -> Any:
        model = LogisticRegression(5)
        if session.me == "cyd":
            model.load({"weight": np.ones(5), "bias": np.zeros(1)})
        silo.train(session, model, own, algorithm=silo.FedAvg(2))

    with pytest.raises(OutOfStep, match=r"unlike models \(cyd against .*torch.manual_seed"):
        simulate(NAMES, party, rows())


def test_unlike_plans_are_named() -> None:
    def party(session: Session, own: Any) -> Any:
        silo.train(
            session, LogisticRegression(5), own, algorithm=silo.FedAvg(3 if session.me == "dan" else 2)
        )

    with pytest.raises(silo.ProtocolAborted, match="dan has FedAvg, 3 rounds"):
        simulate(NAMES, party, rows())


def test_what_cannot_be_trained_is_refused() -> None:
    def party(session: Session) -> Any:
        silo.train(session, object(), None, algorithm=silo.FedAvg(1))

    with pytest.raises(ParameterError, match="cannot be trained"):
        simulate(3, party)
    for bad in ({"rounds": 0}, {"rounds": 1, "epochs": 0}, {"rounds": 1, "learning_rate": float("nan")}):
        with pytest.raises(ParameterError):
            silo.FedAvg(**bad)


def test_training_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    def party(session: Session, own: Any, rounds: int = 3) -> Any:
        model = LogisticRegression(5)
        done = silo.train(
            session,
            model,
            own,
            algorithm=silo.FedAvg(6, learning_rate=0.5),
            checkpoint_path=tmp_path / f"{session.me}.npz",
            on_round=lambda report: _stop_after(report, rounds),
        )
        return done.parameters["weight"], len(done.rounds)

    with pytest.raises(_EnoughError):
        simulate(NAMES, party, rows(), rows=100)
    found = simulate(NAMES, lambda session, own: party(session, own, 99), rows(), rows=100)
    for weight, rounds in found.values():
        assert rounds == 3
        assert np.allclose(weight, plain(rows(), 6, 1, 0.5)["weight"], atol=1e-6)


class _EnoughError(Exception):
    pass


def _stop_after(report: Any, rounds: int) -> None:
    if report.round == rounds:
        raise _EnoughError


def test_checkpoints_are_whole_or_refused(tmp_path: Path) -> None:
    like = {"a": np.arange(3.0), "b": np.ones((2, 2))}
    path = tmp_path / "deep" / "state.npz"
    assert checkpoint.load(path, like=like) is None
    checkpoint.save(path, State(like, 7, 5))
    again = checkpoint.load(path, like=like)
    assert again is not None
    assert (again.position, again.round) == (7, 5)
    assert list(path.parent.iterdir()) == [path]
    raw = path.read_bytes()
    for broken in (b"", b"PK", raw[:-30], b"\x80\x04K\x01."):
        path.write_bytes(broken)
        with pytest.raises(ParameterError, match="cannot be read"):
            checkpoint.load(path, like=like)
    with pytest.raises(ParameterError, match="another model"):
        State.from_bytes(raw, like={"a": np.arange(4.0), "b": np.ones((2, 2))})
    with pytest.raises(ParameterError, match="another model"):
        State.from_bytes(raw, like={"a": np.arange(3.0)})


def test_training_is_refused_where_somebody_receives_nothing() -> None:
    def party(session: Session, own: Any) -> Any:
        session.charter = dataclasses.replace(session.charter, receivers=("ada",), signatures=())
        silo.train(session, LogisticRegression(5), own, algorithm=silo.FedAvg(1))

    with pytest.raises(NotAllowed, match="bob, cyd, dan receives no results"):
        simulate(NAMES, party, rows())
