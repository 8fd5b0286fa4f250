"""Steps are plain descriptions; the roles of the masked sum give them in their order."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from silo.protocols.cohort import Vote
from silo.protocols.control import Abort, Lost
from silo.protocols.envelope import Opened, Receipt
from silo.protocols.errors import ProtocolAborted, ProtocolViolation, TooFewParties
from silo.protocols.secagg import roles
from silo.protocols.step import Outgoing, Step, Wait
from tests.protocols.secagg.federation import RELAY, Federation, expected


def test_steps_are_frozen_and_a_wait_takes_all_by_default() -> None:
    wait = Wait("votes", (Vote,), frozenset({"ann"}), 1, 100)
    opened = Opened("ann", Vote(b"v" * 32), Receipt(b"", bytes(32), bytes(64)), b"")
    assert wait.accept(opened) is None
    for one in (wait, Step((), wait), Outgoing(("ann",), opened.message, "public")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(one, dataclasses.fields(one)[0].name, ())


class Table:
    """Moves all roles of one round by hand, without a driver."""

    def __init__(self, fed: Federation, gone: frozenset[str] = frozenset(), **options: Any) -> None:
        self.fed = fed
        plains = fed.plains(fed.one_hot())
        self.parties: dict[str, Any] = {RELAY: roles.aggregator(fed.context, **options)}
        for name in fed.names:
            receives = name in (options.get("receivers") or fed.names)
            self.parties[name] = roles.member(
                fed.context, name, plains[name], rng=fed.rngs[name], receives=receives
            )
        self.gone = gone
        self.results: dict[str, Any] = {}
        self.steps: dict[str, list[Step]] = {name: [] for name in self.parties}
        self.boxes: dict[str, list[Opened[Any]]] = {name: [] for name in self.parties}
        self.now: dict[str, Step] = {}
        self.plains = plains

    def run(self) -> Table:
        for name in list(self.parties):
            self._move(name, None)
        while self.now:
            moved = False
            for name in list(self.now):
                wait = self.now[name].wait
                inbox = self._inbox(name, wait)
                if inbox is not None:
                    self._move(name, inbox)
                    moved = True
            if not moved:
                raise AssertionError(f"nobody moves: {sorted(self.now)}")
        return self

    def _inbox(self, name: str, wait: Wait | None) -> dict[str, Opened[Any]] | None:
        if wait is None:
            return {name: self.last} if self.steps[name][-1].send else {}
        found = {}
        for one in list(self.boxes[name]):
            if isinstance(one.message, wait.kinds) and one.sender in wait.senders:
                found[one.sender] = one
        if set(found) != wait.senders - self.gone:
            return None
        for one in found.values():
            self.boxes[name].remove(one)
            assert len(one.frame) <= wait.limit
            wait.accept(one)
        return found

    def _move(self, name: str, inbox: Any) -> None:
        if name in self.gone and len(self.steps[name]) == 3:
            self.now.pop(name, None)
            return
        try:
            step = self.parties[name].send(inbox)
        except StopIteration as end:
            self.results[name] = end.value
            self.now.pop(name, None)
            return
        self.steps[name].append(step)
        self.now[name] = step
        for outgoing in step.send:
            one = outgoing.public or len(outgoing.to) != 1
            self.last = self.fed.sealed(
                name, outgoing.message, to="everybody" if one else outgoing.to[0], note=outgoing.note
            )
            for to in outgoing.to:
                self.boxes[to].append(self.last)
        if step.wait is None and name != RELAY:
            self._move(name, {name: self.last})


def test_a_round_of_roles_gives_the_sum_to_everybody() -> None:
    table = Table(Federation(4, length=4)).run()
    for name in table.fed.names:
        total, survivors = table.results[name]
        assert survivors == frozenset(table.fed.names) == table.results[RELAY].survivors
        got = table.plains[name].encoder.decode(total.words)
        assert np.array_equal(got, expected(table.plains, table.fed.names))


def test_a_round_over_a_drawn_graph_takes_one_step_more() -> None:
    short = Table(Federation(9, length=9)).run()
    long = Table(Federation(9, threshold=3, degree=6, length=9)).run()
    assert len(long.steps["m0000"]) == len(short.steps["m0000"]) + 1
    assert all(total.survivors == tuple(long.fed.names) for total, _ in map(long.results.get, long.fed.names))


def test_who_does_not_receive_gets_an_empty_result() -> None:
    table = Table(Federation(4, length=4), receivers=frozenset({"m0001"})).run()
    assert [name for name in table.fed.names if table.results[name][0] is not None] == ["m0001"]


def test_each_answer_that_is_given_once_is_marked_before_it_is_sent() -> None:
    table = Table(Federation(4, length=4)).run()
    marked = [(step.once, {type(o.message).__name__ for o in step.send}) for step in table.steps["m0000"]]
    assert [one for one in marked if one[0]] == [
        ("upload", {"Upload"}),
        ("vote", {"Vote"}),
        ("unmask", {"Unmasking"}),
    ]
    (vote,) = [step for step in table.steps["m0000"] if step.once == "vote"]
    assert vote.over == frozenset(table.fed.names)


def test_what_leaves_a_member_says_how_it_is_protected() -> None:
    table = Table(Federation(4, length=4)).run()
    said = {type(o.message).__name__: o.protection for step in table.steps["m0000"] for o in step.send}
    assert said["Upload"] == "masked"
    assert said["Shares"] == "end-to-end encrypted"
    assert set(said) == {"Advertise", "Shares", "Upload", "Vote", "Unmasking"}
    assert all(o.to == (RELAY,) for step in table.steps["m0000"] for o in step.send)


def test_a_wait_that_closes_with_too_few_ends_the_round() -> None:
    fed = Federation(4, length=4)
    role = roles.aggregator(fed.context)
    step = next(role)
    assert step.wait is not None
    assert (step.wait.senders, step.wait.enough) == (frozenset(fed.names), fed.threshold)
    with pytest.raises(TooFewParties) as caught:
        role.send({})
    assert caught.value.required == fed.threshold


def test_an_abort_carries_codes_and_figures_and_becomes_the_members_error() -> None:
    few = Abort("SILO-211", "the upload", 4, ("m0000",), (Lost("m0001", ""), Lost("m0002", "SILO-202")))
    error = few.as_error()
    assert isinstance(error, TooFewParties)
    assert (error.required, error.present, error.missing) == (4, ("m0000",), ("m0001", "m0002 (SILO-202)"))
    other = Abort("SILO-206", "the vote", 0, (), ()).as_error()
    assert type(other) is ProtocolAborted
    assert "SILO-206" in str(other)
    assert "the vote" in str(other)


def test_a_violation_says_who_where_and_what_differed() -> None:
    problem = ProtocolViolation("what", culprits=["a", "b"], round=3, expected=1, found=0)
    assert str(problem) == "a or b: what (expected 1, found 0), round 3"
    assert str(ProtocolViolation("what")) == "a party: what, round 0"
