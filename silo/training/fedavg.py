"""Federated averaging (McMahan et al., AISTATS 2017) under the secure sum.

Each round every member trains from the global parameters on its own rows, and the differences are averaged,
weighted by rows. What leaves a member is one masked vector; weights are masked with it.

A round that failed has used its update up: the next one trains on from the local parameters, so that the same
update is never sent to two cohorts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from silo.agreement import Round
from silo.crypto.errors import ParameterError
from silo.errors import NotAllowed, UpdateReused, UsageError
from silo.privacy import kept_head
from silo.protocols import rollcall
from silo.protocols.errors import OutOfStep, ProtocolAborted
from silo.protocols.rollcall import Term
from silo.session import Session
from silo.training import catch_up, checkpoint, learner
from silo.training.checkpoint import State
from silo.training.learner import Learner, Parameters

if TYPE_CHECKING:
    from silo.training.private.learner import PrivateLearner
    from silo.training.private.plan import DPSGD

_SYNC, _ROUND = f"{catch_up.TAG}/sync", f"{catch_up.TAG}/round"
_FAILURES_IN_A_ROW = 3


@dataclass(frozen=True, slots=True)
class FedAvg:
    """`rounds` of averaging, each after `epochs` passes over the own rows."""

    rounds: int
    epochs: int = 1
    learning_rate: float = 0.1

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.epochs < 1 or not self.learning_rate > 0:
            raise ParameterError(
                "FedAvg takes at least 1 round, at least 1 epoch and a learning rate above 0"
            )

    def terms(self) -> tuple[Term, ...]:
        """What the members must have alike; epochs and learning rate are each member's own."""
        return (Term("algorithm", f"FedAvg, {self.rounds} rounds"),)


@dataclass(frozen=True, slots=True)
class RoundReport:
    """One finished round, for `on_round`."""

    round: int
    rounds: int
    survivors: tuple[str, ...]
    seconds: float
    clipped: int


@dataclass
class Trained:
    """What `train` returns: the global parameters, and how the rounds went."""

    parameters: Parameters
    rounds: list[RoundReport] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def train(
    session: Session,
    model: Any,
    data: Any,
    *,
    algorithm: FedAvg,
    loss: Any = None,
    privacy: DPSGD | None = None,
    checkpoint_path: str | Path | None = None,
    on_round: Callable[[RoundReport], None] | None = None,
) -> Trained:
    """Train `model` on this member's `data` together with the others; the model ends with the global
    parameters.

    `model` is a torch module, `silo.Function`, or any object with parameters(), load() and fit(). With a
    `checkpoint_path` training goes on there after a crash. With `privacy` each member's own part is DP-SGD on
    its data set's budget; what the whole plan costs must fit before any row is read, and members weigh alike.
    Raises as `Session.mean`, `PrivacyBudgetExceeded`; three failed rounds in a row end the training with the
    last one's error.
    """
    left_out = [name for name in session.members if not session.charter.receives(name)]
    if left_out:
        raise NotAllowed(
            f"training shows every member the model, and {', '.join(left_out)} receives no results",
            "receivers",
            "all",
        )
    if privacy is not None and algorithm.epochs != 1:
        raise ParameterError(
            f"under privacy the rounds share the plan's {privacy.steps} steps, whatever epochs says: leave epochs out"
        )
    private = None if privacy is None else _private(session, model, loss, privacy, algorithm)
    own: Learner = private or learner.learner_of(model, loss)
    run = _Run(session, own, data, algorithm, Path(checkpoint_path) if checkpoint_path else None, private)
    if private is not None:
        private.require_room(algorithm.rounds - run.state.round)
    return run.all(on_round or (lambda _: None))


def _private(session: Session, model: Any, loss: Any, privacy: DPSGD, algorithm: FedAvg) -> PrivateLearner:
    if session.policy is None:
        raise UsageError(
            f"private training is charged to a ledger, and the charter has no privacy policy for {session.me}: "
            "agree on one (`silo charter new --privacy`)"
        )
    from silo.training.private.fit import require_extra

    require_extra()
    from silo.training.private.learner import PrivateLearner

    return PrivateLearner(
        model, loss, privacy, session.policy.account, rounds=algorithm.rounds, rng=session.rng
    )


class _Moved(Exception):
    """This member was brought up to the others: its update belongs to an old model."""


class _Run:
    def __init__(
        self,
        session: Session,
        own: Learner,
        data: Any,
        algorithm: FedAvg,
        path: Path | None,
        private: PrivateLearner | None,
    ) -> None:
        self.session, self.own, self.data, self.algorithm, self.path = session, own, data, algorithm, path
        self.like = own.parameters()
        if session.task.model:
            session.task.allow_model(learner.digest(self.like))
        self.private = private
        if path and private and session.policy:
            kept_head.check(path, session.policy.account.ledger)
        saved = checkpoint.load(path, like=self.like) if path else None
        self.state = saved or State(self.like, session.position, 0)
        self.done = Trained(self.state.parameters)

    def all(self, on_round: Callable[[RoundReport], None]) -> Trained:
        self._adopt(self.state)
        self._meet()
        failures = 0
        spent = b""
        fresh = True
        while self.state.round < self.algorithm.rounds:
            try:
                if failures and self.private:
                    self._meet()
                if fresh:
                    self.own.load(self.state.parameters)
                begun = time.monotonic()
                weight = self.own.fit(
                    self.data, epochs=self.algorithm.epochs, learning_rate=self.algorithm.learning_rate
                )
                fresh = self._round(weight, begun, on_round)
                failures = 0
            except OutOfStep:
                raise
            except UpdateReused:
                # It left in a failed round of an earlier process: train on, as after any failed round.
                local = learner.digest(self.own.parameters())
                if local == spent:
                    raise
                spent, fresh = local, False
            except ProtocolAborted as problem:
                failures += 1
                self.done.failed.append(str(problem))
                if failures >= _FAILURES_IN_A_ROW:
                    raise
                fresh = False
        self.own.load(self.state.parameters)
        self.done.parameters = self.state.parameters
        return self.done

    def _round(self, weight: float, begun: float, on_round: Callable[[RoundReport], None]) -> bool:
        """One round; True when the next one starts from the global parameters."""
        session, state = self.session, self.state
        local = self.own.parameters()
        update = {key: np.subtract(local[key], state.parameters[key], dtype=np.float64) for key in self.like}
        before = session.saturated
        try:
            mean = session.collect(
                update,
                weight=weight,
                average=True,
                tag=_ROUND,
                state=state.digest,
                terms=self.algorithm.terms(),
                compare=self._together,
                charges=self.private.charges if self.private else (),
            )
        except _Moved:
            return True
        new = {key: (state.parameters[key] + mean[key]).astype(self.like[key].dtype) for key in self.like}
        self._adopt(State(new, session.position, state.round + 1))
        survivors = session.last.survivors if session.last else ()
        seconds, clipped = time.monotonic() - begun, session.saturated - before
        report = RoundReport(self.state.round, self.algorithm.rounds, survivors, seconds, clipped)
        self.done.rounds.append(report)
        on_round(report)
        return True

    def _together(self, round_: Round) -> bool:
        """False when others had to be helped and the roll is called again; raises `_Moved` when this one was."""
        steps = catch_up.plan(round_)
        if steps is None and all(one.tag == _ROUND for one in round_.presents.values()):
            rollcall.compare(round_.presents)
            return True
        if steps is not None:
            self._help(round_, steps)
            if self.session.me in steps.receivers:
                raise _Moved
        return False

    def _meet(self) -> None:
        """Find out where the others stand before any work is done."""
        while True:
            said = (Term("task", self.session.task.name), *self.algorithm.terms())
            round_ = self.session.roll_call(_SYNC, said, self.state.digest)
            if self.private:
                # Steps cost privacy: none is taken unless a sum over those who are here can end well.
                round_.check_present(self.session.charter.sum.minimum_cohort)
            steps = catch_up.plan(round_)
            if steps is not None:
                self._help(round_, steps)
            if any(one.tag == _ROUND for one in round_.presents.values()):
                return  # the others wait at a round: go there
            if steps is None:
                rollcall.compare(round_.presents)
                return

    def _help(self, round_: Round, steps: catch_up.Plan) -> None:
        state = catch_up.carry_out(self.session, round_, steps, self.state, like=self.like)
        if state is not self.state:
            self._adopt(state)

    def _adopt(self, state: State) -> None:
        self.state = state
        self.session.position = state.position
        if self.path:
            checkpoint.save(self.path, state)
            if self.private and self.session.policy:
                kept_head.keep(self.path, self.session.policy.account.ledger)
