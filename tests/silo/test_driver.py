"""The driver moves any role over any transport; here over memory, with frames changed on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from silo.crypto.rng import InsecureSeededRng
from silo.crypto.signing import SigningKey
from silo.driver import Drive, Left, RelayRestarted, Seat, Watch
from silo.protocols.cohort import Vote
from silo.protocols.control import Abort
from silo.protocols.envelope import Bearings, Opened
from silo.protocols.errors import (
    BadSignature,
    MalformedMessage,
    ProtocolAborted,
    ProtocolViolation,
    TooFewParties,
    UnexpectedMessage,
)
from silo.protocols.secagg import roles
from silo.protocols.step import Outgoing, Step, Wait
from silo.transport.base import Delivery, Patience
from silo.transport.memory import Hub
from tests.protocols.secagg.federation import RELAY, Federation, expected

HERE = Bearings("test", b"p" * 32, b"s" * 32, 3)
NAMES = ("ann", "bob", "eve", "relay")
PENS = {name: SigningKey.generate(rng=InsecureSeededRng(40 + i)) for i, name in enumerate(NAMES)}
KEYS = {name: pen.public for name, pen in PENS.items()}
VOTE = Vote(b"v" * 32)
SOON = Patience(reconnect=1.0, silence=60.0, work=60.0)


def seat(hub: Hub, name: str, **options: Any) -> Seat:
    return Seat(hub.endpoint(name), name, PENS[name], options.pop("patience", SOON), **options)


def drive(one: Seat, **options: Any) -> Drive:
    return Drive(one, options.pop("where", HERE), KEYS, **options)


def sends(one: Seat, to: str, message: Any = VOTE, **where: Any) -> Opened[Any]:
    bearings = where.pop("where", HERE)
    return one.send(Outgoing((to,), message, "signed", public=where.pop("public", False)), bearings)


def waits(*senders: str, kinds: tuple[Any, ...] = (Vote,), limit: int = 4096, **options: Any) -> Wait:
    return Wait("votes", kinds, frozenset(senders), 1, limit, **options)


def once(step: Step) -> Any:
    """A role of one step that returns what came."""
    inbox = yield step
    return dict(inbox)


def test_a_role_is_sent_what_it_waits_for() -> None:
    hub = Hub()
    ann, bob = seat(hub, "ann"), seat(hub, "bob")
    sends(bob, "ann")
    inbox = drive(ann).run(once(Step((Outgoing(("bob",), VOTE, "signed"),), waits("bob"))))
    assert {name: one.message for name, one in inbox.items()} == {"bob": VOTE}
    assert [one.verdict for one in ann.transcript] == ["taken"]
    got = drive(bob).run(once(Step((), waits("ann"))))
    assert got["ann"].receipt.digest == inbox["bob"].receipt.digest


def test_a_step_without_a_wait_returns_what_was_sent() -> None:
    hub = Hub()
    ann, _ = seat(hub, "ann"), seat(hub, "bob")
    sent = drive(ann).run(once(Step((Outgoing(("bob",), VOTE, "signed"),), None)))
    assert sent["ann"].message == VOTE


def test_what_leaves_is_written_down_before_and_what_is_answered_once_is_marked_first() -> None:
    order: list[str] = []
    hub = Hub(tamper=lambda *_: order.append("sent"))  # type: ignore[func-returns-value]
    left: list[Left] = []

    def record(one: Left) -> None:
        order.append("recorded")
        left.append(one)

    ann = seat(hub, "ann", record=record, once=lambda session, round, step: order.append(step.once))
    bob = seat(hub, "bob")
    drive(ann).run(once(Step((Outgoing(("bob", "relay"), VOTE, "masked", public=True),), None, once="vote")))
    assert order == ["vote", "recorded", "sent", "recorded", "sent"]
    assert [(one.recipient, one.kind, one.protection, one.round) for one in left] == [
        ("bob", "Vote", "masked", 3),
        ("relay", "Vote", "masked", 3),
    ]
    event = bob.endpoint.receive(1)
    while not hasattr(event, "payload"):
        event = bob.endpoint.receive(1)
    assert len(event.payload) == left[0].size


def test_a_mark_that_is_refused_sends_nothing() -> None:
    sent: list[str] = []
    hub = Hub(tamper=lambda sender, to, payload: sent.append(to))  # type: ignore[func-returns-value]

    def refuse(session: bytes, round: int, step: Step) -> None:
        raise RuntimeError("answered before")

    ann = seat(hub, "ann", once=refuse)
    with pytest.raises(RuntimeError, match="answered before"):
        drive(ann).run(once(Step((Outgoing(("bob",), VOTE, "signed"),), None, once="vote")))
    assert sent == []


Bend = Callable[[bytes], list[bytes] | None]


def _flip(raw: bytes) -> list[bytes]:
    return [raw[:-1] + bytes([raw[-1] ^ 1])]


@pytest.mark.parametrize(
    ("bend", "code"),
    [
        (_flip, BadSignature.code),
        (lambda raw: [raw[:-1]], BadSignature.code),
        (lambda raw: [raw + b"\0"], BadSignature.code),
        (lambda raw: [b""], MalformedMessage.code),
        (lambda raw: [b"GET / HTTP/1.1"], MalformedMessage.code),
        (lambda raw: [bytes(5000)], MalformedMessage.code),
    ],
)
def test_the_sender_of_a_bad_frame_counts_as_lost_at_the_aggregator(bend: Bend, code: str) -> None:
    hub = Hub(tamper=lambda sender, to, raw: bend(raw) if sender == "bob" else None)
    relay, ann, bob = seat(hub, "relay"), seat(hub, "ann"), seat(hub, "bob")
    sends(bob, "relay")
    sends(ann, "relay")
    going = drive(relay)
    inbox = going.run(once(Step((), waits("ann", "bob"))))
    assert set(inbox) == {"ann"}
    assert going.lost == {"bob": code}
    assert {one.verdict for one in relay.transcript} == {"taken", code}


def test_a_member_that_hears_a_bad_frame_of_the_aggregator_stops_and_names_it() -> None:
    hub = Hub(tamper=lambda sender, to, raw: _flip(raw))
    ann, relay = seat(hub, "ann"), seat(hub, "relay")
    sends(relay, "ann")
    with pytest.raises(BadSignature) as caught:
        drive(ann).run(once(Step((), waits("relay"))))
    assert caught.value.culprits == ("relay",)


@pytest.mark.parametrize(
    "where",
    [Bearings("test", b"p" * 32, b"s" * 32, 2), Bearings("test", b"p" * 32, b"t" * 32, 3)],
    ids=["round", "session"],
)
def test_an_old_frame_is_ignored_and_its_sender_may_still_answer(where: Bearings) -> None:
    hub = Hub()
    relay, ann = seat(hub, "relay"), seat(hub, "ann")
    sends(ann, "relay", Vote(b"o" * 32), where=where)
    sends(ann, "relay")
    going = drive(relay)
    inbox = going.run(once(Step((), waits("ann"))))
    assert inbox["ann"].message == VOTE
    assert going.lost == {}
    assert [one.verdict for one in relay.transcript] == ["replayed", "taken"]


def test_a_frame_that_another_party_copied_harms_nobody() -> None:
    hub = Hub()
    relay, ann, eve = seat(hub, "relay"), seat(hub, "ann"), seat(hub, "eve")
    copied = sends(ann, "relay", public=True)
    eve.endpoint.send("relay", copied.frame)
    sends(eve, "relay", Vote(b"e" * 32))
    going = drive(relay)
    inbox = going.run(once(Step((), waits("ann", "eve"))))
    assert (inbox["ann"].message, inbox["eve"].message) == (VOTE, Vote(b"e" * 32))
    assert going.lost == {}
    assert "replayed" in [one.verdict for one in relay.transcript]


def test_a_repeated_frame_is_taken_once() -> None:
    hub = Hub(tamper=lambda sender, to, raw: [raw, raw, raw])
    relay, ann, bob = seat(hub, "relay"), seat(hub, "ann"), seat(hub, "bob")
    taken: list[str] = []
    sends(ann, "relay")
    sends(bob, "relay")
    wait = waits("ann", "bob", accept=lambda opened: taken.append(opened.sender))
    assert set(drive(relay).run(once(Step((), wait)))) == {"ann", "bob"}
    assert taken == ["ann", "bob"]


def test_a_message_that_the_state_refuses_loses_its_sender() -> None:
    hub = Hub()
    relay, ann, bob = seat(hub, "relay"), seat(hub, "ann"), seat(hub, "bob")
    sends(ann, "relay")
    sends(bob, "relay")

    def accept(opened: Opened[Any]) -> None:
        if opened.sender == "ann":
            raise UnexpectedMessage("not that", culprits=("ann",))

    going = drive(relay)
    assert set(going.run(once(Step((), waits("ann", "bob", accept=accept))))) == {"bob"}
    assert going.lost == {"ann": UnexpectedMessage.code}


def test_a_party_that_nobody_waits_for_is_not_in_the_inbox() -> None:
    hub = Hub()
    ann, relay, eve = seat(hub, "ann"), seat(hub, "relay"), seat(hub, "eve")
    sends(eve, "ann", Vote(b"e" * 32))
    sends(relay, "ann")
    inbox = drive(ann).run(once(Step((), waits("relay"))))
    assert set(inbox) == {"relay"}


def test_who_counts_as_lost_is_not_taken_in_afterwards() -> None:
    hub = Hub()
    relay, ann, bob = seat(hub, "relay"), seat(hub, "ann"), seat(hub, "bob")
    ann.endpoint.send("relay", b"nonsense")
    sends(ann, "relay")
    sends(bob, "relay")
    going = drive(relay)
    inbox = going.run(once(Step((), waits("ann", "bob"))))
    assert not set(inbox) & set(going.lost)


EARLY = Bearings("private", b"c" * 32, b"s" * 32, 3)


def test_frames_that_are_set_aside_are_bounded() -> None:
    hub = Hub()
    relay, ann, eve = seat(hub, "relay"), seat(hub, "ann"), seat(hub, "eve")
    for _ in range(10_000):
        sends(eve, "relay", where=EARLY)
    sends(ann, "relay")
    drive(relay).run(once(Step((), waits("ann"))))
    assert len(relay.early()) < 10_000


def test_a_flood_of_one_party_does_not_push_out_what_another_sent_early() -> None:
    hub = Hub()
    relay, ann, eve = seat(hub, "relay"), seat(hub, "ann"), seat(hub, "eve")
    sends(ann, "relay", where=EARLY)
    for _ in range(10_000):
        sends(eve, "relay", where=EARLY)
    sends(ann, "relay")
    drive(relay).run(once(Step((), waits("ann"))))
    assert "ann" in {one.sender for one in relay.early()}


def test_a_frame_that_came_early_is_taken_when_its_protocol_begins() -> None:
    hub = Hub()
    relay, ann = seat(hub, "relay"), seat(hub, "ann")
    sends(ann, "relay", Vote(b"1" * 32), where=EARLY)
    sends(ann, "relay")
    assert drive(relay).run(once(Step((), waits("ann"))))["ann"].message == VOTE
    got = drive(relay, where=EARLY).run(once(Step((), waits("ann"))))
    assert got["ann"].message == Vote(b"1" * 32)
    assert relay.early() == []


def test_who_is_gone_or_came_back_as_another_process_is_lost_at_once() -> None:
    hub = Hub()
    relay, _, _ = seat(hub, "relay"), seat(hub, "ann"), seat(hub, "bob")
    going = drive(relay)
    hub.cut("ann", "SILO-303")
    seat(hub, "bob")
    assert going.run(once(Step((), waits("ann", "bob")))) == {}
    assert going.lost == {"ann": "SILO-303", "bob": "SILO-302"}


def test_silence_and_endless_work_are_given_up() -> None:
    for patience, code in (
        (Patience(silence=0.0, work=60.0), "SILO-304"),
        (Patience(silence=60.0, work=0.0), "SILO-305"),
    ):
        hub = Hub()
        relay = seat(hub, "relay", patience=patience)
        seat(hub, "ann")
        # Memory's endpoints always show a sign of life; this one had its last an hour ago.
        if code == "SILO-304":
            relay.endpoint.progress = lambda party: time.monotonic() - 3600  # type: ignore[method-assign]
        going = drive(relay)
        assert going.run(once(Step((), waits("ann", "bob")))) == {}
        assert going.lost == {"ann": code, "bob": code}
        alone = drive(relay)
        with pytest.raises(ProtocolAborted, match=code):
            alone.run(once(Step((), waits("ann"))))


def test_a_relay_that_restarts_ends_the_round() -> None:
    hub = Hub()
    ann = seat(hub, "ann")
    ann.set_aside(Delivery("bob", sends(seat(hub, "bob"), "relay", where=EARLY).frame))
    hub.restart()
    with pytest.raises(RelayRestarted):
        drive(ann).run(once(Step((), waits("relay"))))
    assert ann.early() == []


def test_only_the_one_that_is_waited_for_can_end_a_members_round() -> None:
    hub = Hub()
    ann, relay, eve = seat(hub, "ann"), seat(hub, "relay"), seat(hub, "eve")
    abort = Abort(TooFewParties.code, "the upload", 4, ("ann",), ())
    sends(eve, "ann", abort)
    sends(relay, "ann")
    inbox = drive(ann).run(once(Step((), waits("relay"))))
    assert inbox["relay"].message == VOTE
    sends(relay, "ann", abort)
    with pytest.raises(TooFewParties) as caught:
        drive(ann).run(once(Step((), waits("relay"))))
    assert caught.value.required == 4
    # A member does not stop the aggregator.
    sends(ann, "relay", abort)
    sends(eve, "relay")
    going = drive(relay)
    assert set(going.run(once(Step((), waits("ann", "eve"))))) == {"eve"}
    assert going.lost == {"ann": UnexpectedMessage.code}


def test_progress_is_told_when_it_changes() -> None:
    hub = Hub()
    seen: list[Watch] = []
    relay, ann, bob = seat(hub, "relay", watch=seen.append), seat(hub, "ann"), seat(hub, "bob")
    sends(ann, "relay")
    sends(bob, "relay")
    drive(relay).run(once(Step((), waits("ann", "bob"))))
    assert [(one.waiting_for, one.present) for one in seen] == [
        (("ann", "bob"), ()),
        (("bob",), ("ann",)),
        ((), ("ann", "bob")),
    ]
    assert {(one.round, one.step) for one in seen} == {(3, "votes")}


def federate(fed: Federation, tamper: Any = None) -> tuple[dict[str, Any], dict[str, Drive]]:
    """A whole masked sum, each party in a thread of its own; what each returned or raised."""
    hub, plains = Hub(tamper), fed.plains(fed.one_hot())
    keys = {**fed.context.roster.keys, RELAY: fed.relay_key.public}
    jobs: dict[str, Any] = {RELAY: roles.aggregator(fed.context)}
    jobs |= {n: roles.member(fed.context, n, plains[n], rng=fed.rngs[n]) for n in fed.names}
    pens = {**fed.keys, RELAY: fed.relay_key}
    drives = {
        name: Drive(Seat(hub.endpoint(name), name, pens[name], SOON), fed.context.bearings, keys)
        for name in jobs
    }
    ended: dict[str, Any] = {}

    def work(name: str) -> None:
        try:
            ended[name] = drives[name].run(jobs[name])
        except (ProtocolViolation, ProtocolAborted) as problem:
            ended[name] = problem
        finally:
            drives[name].seat.endpoint.leave()

    threads = [threading.Thread(target=work, args=(name,), daemon=True) for name in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(ended) == set(jobs)
    return ended, drives


@pytest.mark.parametrize("degree", [0, 6])
def test_a_whole_round_in_threads(degree: int) -> None:
    fed = Federation(9, threshold=3 if degree else 0, degree=degree, length=9)
    ended, _ = federate(fed)
    plains = fed.plains(fed.one_hot())
    for name in fed.names:
        total, survivors = ended[name]
        assert survivors == frozenset(fed.names) == ended[RELAY].survivors
        assert np.array_equal(plains[name].encoder.decode(total.words), expected(plains, fed.names))


def test_a_member_whose_upload_was_changed_on_the_way_is_left_out() -> None:
    fed = Federation(6, length=6)

    def tamper(sender: str, to: str, raw: bytes) -> list[bytes] | None:
        return _flip(raw) if sender == "m0002" and b"Upload" in raw[:256] else None

    ended, drives = federate(fed, tamper)
    assert drives[RELAY].lost == {"m0002": BadSignature.code}
    assert ended[RELAY].survivors == frozenset(fed.names) - {"m0002"}
    assert isinstance(ended["m0002"], ProtocolAborted)
    plains = fed.plains(fed.one_hot())
    total, survivors = ended["m0000"]
    assert plains["m0000"].encoder.decode(total.words).tolist() == [1, 1, 0, 1, 1, 1]
    assert "m0002" not in survivors
