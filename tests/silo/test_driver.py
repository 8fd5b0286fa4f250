"""The driver moves any role over any transport; here over memory, with frames changed on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silo.crypto.keys import AgreementKey
from silo.crypto.rng import InsecureSeededRng
from silo.crypto.signing import SigningKey
from silo.driver import Drive, Left, RelayRestarted, Seat, Watch
from silo.early import Aside
from silo.protocols.cohort import Vote
from silo.protocols.control import Abort
from silo.protocols.envelope import Bearings, Opened, seal
from silo.protocols.errors import (
    BadSignature,
    MalformedMessage,
    ProtocolAborted,
    ProtocolViolation,
    TooFewParties,
    UnexpectedMessage,
)
from silo.protocols.private import Private
from silo.protocols.psi.context import PROTOCOL as PSI
from silo.protocols.roster import Roster
from silo.protocols.secagg import roles
from silo.protocols.step import Outgoing, Step, Wait
from silo.protocols.transit import PIECE, Intake, carry, entries
from silo.protocols.vertical.context import Context, Parameters
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


@pytest.mark.parametrize("distinct", [False, True])
def test_whoever_floods_loses_its_own_early_frames_and_is_found_out(distinct: bool) -> None:
    hub = Hub()
    relay, ann, eve = seat(hub, "relay", aside=Aside(64 << 10)), seat(hub, "ann"), seat(hub, "eve")
    sends(ann, "relay", Vote(b"1" * 32), where=EARLY)
    for number in range(1000):
        sends(eve, "relay", Vote((number * distinct).to_bytes(32, "big")), where=EARLY)
    sends(ann, "relay")
    assert drive(relay).run(once(Step((), waits("ann"))))["ann"].message == VOTE
    verdicts = {one.verdict for one in relay.transcript}
    assert verdicts == {"taken", "no room" if distinct else "repeated"}
    going = drive(relay, where=EARLY)
    if not distinct:
        assert set(going.run(once(Step((), waits("ann", "eve"))))) == {"ann", "eve"}
        return
    with pytest.raises(ProtocolAborted, match="65536 bytes are kept") as caught:
        going.run(once(Step((), waits("ann", "eve"))))
    assert caught.value.missing == ("eve",)


def test_what_is_set_aside_is_bounded_and_one_frame_of_any_size_finds_its_way() -> None:
    aside = Aside(1000)
    assert aside.put("psi", Delivery("ann", bytes(5000))) == ""
    assert aside.put("psi", Delivery("ann", bytes(5000))) == "repeated"
    assert aside.put("psi", Delivery("bob", b"small")) == ""
    assert aside.take("psi") == ([Delivery("bob", b"small")], frozenset({"ann"}))
    assert aside.take() == ([], frozenset())
    assert aside.put("psi", Delivery("ann", bytes(5000))) == ""
    assert aside.put("private", Delivery("ann", b"later")) == "no room"
    assert aside.take("psi") == ([], frozenset({"ann"}))
    assert aside.take("private") == ([], frozenset({"ann"}))
    assert aside.put("psi", Delivery("ann", b"again")) == ""
    aside.clear()
    assert aside.take() == ([], frozenset())


# Members do not trust the relay with the order of what they send each other.

AHEAD = 64 << 10


def ordered(
    name: str, count: int, *, where: Bearings = HERE, to: str = "relay", size: int = 32
) -> list[bytes]:
    """The frames in which one party sends `count` messages to another, as they leave."""
    left: list[bytes] = []

    def keep(sender: str, recipient: str, payload: bytes) -> list[bytes]:
        left.append(payload)
        return []

    def role() -> Any:
        for number in range(count):
            words = Private(memoryview(number.to_bytes(size, "big")))
            yield Step((Outgoing((to,), words, "sealed", ordered=True),), None)

    hub = Hub(keep)
    one, _ = seat(hub, name), seat(hub, to)
    drive(one, where=where).run(role())
    return left


def taking(counts: dict[str, int], *, ahead: int = AHEAD, limit: int = 4096) -> Any:
    """A role that takes so many messages of each, one of all who have more in a step; what each said."""
    said: dict[str, list[int]] = {name: [] for name in counts}
    while any(len(said[name]) < counts[name] for name in counts):
        awaited = [name for name in counts if len(said[name]) < counts[name]]
        inbox = yield Step((), waits(*awaited, kinds=(Private,), ahead=ahead, limit=limit))
        for name, opened in inbox.items():
            said[name].append(int.from_bytes(opened.message.ciphertext, "big"))
        if len(inbox) < len(awaited):
            break
    return said


def arrive(frames: list[tuple[str, bytes]], **options: Any) -> Seat:
    """A seat at which frames have come, in this order."""
    hub = Hub()
    relay = seat(hub, "relay", **options)
    ends = {name: hub.endpoint(name) for name in ("ann", "bob", "eve")}
    for name, frame in frames:
        ends[name].send("relay", frame)
    return relay


LEFT = {name: ordered(name, 6) for name in ("ann", "bob")}
ALL = [(name, frame) for name, frames in LEFT.items() for frame in frames]


@given(st.permutations(ALL * 2))
def test_an_order_that_the_relay_changes_and_copies_that_it_makes_change_nothing(
    frames: list[tuple[str, bytes]],
) -> None:
    relay = arrive(frames)
    going = drive(relay)
    assert going.run(taking({"ann": 6, "bob": 6})) == {"ann": [*range(6)], "bob": [*range(6)]}
    assert going.lost == {}
    verdicts = [one.verdict for one in relay.transcript]
    assert verdicts.count("taken") == 12
    assert set(verdicts) <= {"taken", "repeated"}


EARLIER = Bearings(PSI, b"c" * 32, b"s" * 32, 3)
EARLIER_LEFT = [("ann", frame) for frame in ordered("ann", 6, where=EARLIER)]


@given(st.permutations(EARLIER_LEFT * 2), st.integers(0, 12))
def test_what_comes_before_its_protocol_is_put_in_order_too(
    frames: list[tuple[str, bytes]], before: int
) -> None:
    hub = Hub()
    relay, ann, bob = seat(hub, "relay"), seat(hub, "ann"), seat(hub, "bob")
    for _, frame in frames[:before]:
        ann.endpoint.send("relay", frame)
    sends(bob, "relay")
    drive(relay).run(once(Step((), waits("bob"))))
    for _, frame in frames[before:]:
        ann.endpoint.send("relay", frame)
    going = drive(relay, where=EARLIER)
    assert going.run(taking({"ann": 6})) == {"ann": [*range(6)]}
    assert going.lost == {}


@pytest.mark.parametrize(("fast", "slow"), [(200, 1), (200, 200), (65, 2)])
def test_who_is_fast_is_not_lost_because_another_is_slow(fast: int, slow: int) -> None:
    frames = [("ann", one) for one in ordered("ann", fast)] + [("bob", one) for one in ordered("bob", slow)]
    going = drive(arrive(frames))
    assert going.run(taking({"ann": fast, "bob": slow}, ahead=1 << 20)) == {
        "ann": [*range(fast)],
        "bob": [*range(slow)],
    }
    assert going.lost == {}


def test_who_sends_more_than_is_kept_ends_the_role_and_the_bound_is_told() -> None:
    frames = [("ann", one) for one in ordered("ann", 200)]
    with pytest.raises(ProtocolAborted, match=f"ann is more than {AHEAD} bytes ahead") as caught:
        drive(arrive(frames)).run(taking({"ann": 200, "bob": 200}))
    assert caught.value.missing == ("ann",)


def test_large_frames_are_bounded_by_their_bytes() -> None:
    frames = [("ann", one) for one in ordered("ann", 4, size=30_000)]
    with pytest.raises(ProtocolAborted, match=f"more than {AHEAD} bytes"):
        drive(arrive(frames)).run(taking({"ann": 4, "bob": 4}, limit=40_000))


def test_a_message_that_the_relay_holds_back_is_not_laid_at_its_senders_door() -> None:
    frames = [("ann", one) for one in ordered("ann", 200)]
    with pytest.raises(ProtocolAborted, match=f"message 1 of ann is missing, and more than {AHEAD}") as full:
        drive(arrive([frames[0], *frames[2:]])).run(taking({"ann": 200}))
    assert full.value.missing == ()
    late = arrive([frames[0], frames[2]], patience=Patience(silence=60.0, work=0.3))
    with pytest.raises(ProtocolAborted, match="message 1 of ann did not come") as caught:
        drive(late).run(taking({"ann": 3}))
    assert caught.value.missing == ()
    with pytest.raises(ProtocolAborted, match="ann was given up"):
        drive(arrive(frames[:2], patience=Patience(silence=60.0, work=0.3))).run(taking({"ann": 3}))


UNNUMBERED = seal(
    Private(memoryview(b"words")), HERE, sender="ann", recipient="relay", signer=PENS["ann"]
).frame


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (_flip(LEFT["ann"][0])[0], BadSignature.code),
        (bytes(UNNUMBERED), MalformedMessage.code),
        (b"GET / HTTP/1.1", MalformedMessage.code),
    ],
    ids=["changed", "without its place", "no frame"],
)
@pytest.mark.parametrize("before", [False, True])
def test_a_frame_without_its_place_in_the_order_loses_its_sender(
    frame: bytes, code: str, before: bool
) -> None:
    def role() -> Any:
        if before:
            yield Step((), waits("bob", "eve", kinds=(Private,), ahead=AHEAD))
        return (yield Step((), waits("ann", "bob", kinds=(Private,), ahead=AHEAD)))

    frames = [("ann", frame), ("eve", ordered("eve", 1)[0]), *(("bob", one) for one in LEFT["bob"][:2])]
    going = drive(arrive(frames))
    assert set(going.run(role())) == {"bob"}
    assert going.lost == {"ann": code}


def test_a_kept_frame_is_held_against_the_limit_of_its_step() -> None:
    frames = [("ann", one) for one in ordered("ann", 1, size=9000)] + [("bob", ordered("bob", 1)[0])]
    going = drive(arrive(frames))
    assert going.run(taking({"ann": 1, "bob": 1})) == {"ann": [], "bob": [0]}
    assert going.lost == {"ann": MalformedMessage.code}


def test_what_nobody_took_is_in_the_transcript() -> None:
    relay = arrive([("ann", one) for one in LEFT["ann"]])
    drive(relay).run(taking({"ann": 2}))
    drive(relay).run(once(Step((), None)))
    assert [one.verdict for one in relay.transcript] == ["taken", "taken"]
    relay = arrive([("ann", one) for one in LEFT["ann"][:3]] + [("bob", LEFT["bob"][0])])
    drive(relay).run(taking({"bob": 1}))
    assert [one.verdict for one in relay.transcript] == [
        "taken",
        "not asked for",
        "not asked for",
        "not asked for",
    ]


def test_a_copy_of_an_earlier_step_changes_nothing() -> None:
    hub = Hub()
    relay, ann = seat(hub, "relay"), seat(hub, "ann")

    def role() -> Any:
        yield Step((), waits("ann"))
        inbox = yield Step((), waits("ann", kinds=(Private,)))
        return inbox["ann"].message.ciphertext

    copied = sends(ann, "relay")
    ann.endpoint.send("relay", copied.frame)
    sends(ann, "relay", Private(memoryview(b"words")))
    going = drive(relay)
    assert bytes(going.run(role())) == b"words"
    assert going.lost == {}
    assert [one.verdict for one in relay.transcript] == ["taken", "repeated", "taken"]


@pytest.mark.parametrize(
    ("width", "count", "each"), [(8, 600_000, PIECE), (1, 5_000_000, 1 << 20), (33, 0, PIECE)]
)
def test_a_whole_list_may_come_before_the_first_piece_of_another(width: int, count: int, each: int) -> None:
    pieces = max(1, -(-count // each))
    frames = count * width + pieces * (len(ordered("ann", 1)[0]) + 1024 + 64)
    assert frames <= Intake(width, count).coming(each)


def test_lists_of_members_are_whole_over_a_relay_that_doubles_and_delays_all_they_send() -> None:
    names, rows = ("ann", "bob", "eve"), 40_000
    channels = {name: AgreementKey.generate(rng=InsecureSeededRng(60 + i)) for i, name in enumerate(names)}
    columns = dict.fromkeys(names, 1)
    context = Context(
        HERE.session,
        HERE.round,
        Roster.of({name: KEYS[name] for name in names}),
        Parameters("linear", "ann", rows, columns, bytes(32)),
        {name: one.public for name, one in channels.items()},
    )
    draw = np.random.default_rng(7)
    passing: set[int] = set()
    late: list[threading.Timer] = []

    def tamper(sender: str, recipient: str, payload: bytes) -> list[bytes] | None:
        if threading.get_ident() in passing:
            return None

        def deliver() -> None:
            passing.add(threading.get_ident())
            hub._deliver(sender, recipient, payload)
            passing.discard(threading.get_ident())

        for _ in range(2):
            late.append(threading.Timer(draw.uniform(0, 0.05), deliver))
            late[-1].start()
        return []

    hub = Hub(tamper)
    lists = {name: draw.bytes(8 * rows) for name in names}

    def role(name: str) -> Any:
        peers = ("bob", "eve") if name == "ann" else ("ann",)
        lots = dict.fromkeys(peers, entries(lists[name], 8))
        came = {peer: Intake(8, rows, least=rows) for peer in peers}
        how: dict[str, Any] = {"rng": InsecureSeededRng(70)}
        own = channels[name]
        # There in one go, back in one go, and once more in step.
        there, back = ({}, came) if name == "ann" else (lots, {}), (lots, {}) if name == "ann" else ({}, came)
        for stage, (send, take) in enumerate((there, back)):
            yield from carry(context, name, own, stage, send=send, take=take, **how)
        again = {peer: Intake(8, rows, least=rows) for peer in peers}
        yield from carry(context, name, own, 2, send=lots, take=again, **how)
        assert all(again[peer].joined() == came[peer].joined() for peer in peers)
        return {peer: one.joined() for peer, one in came.items()}

    found: dict[str, Any] = {}
    seats = {name: seat(hub, name) for name in names}
    keys = {name: KEYS[name] for name in names}

    def work(name: str) -> None:
        try:
            found[name] = Drive(seats[name], context.bearings, keys).run(role(name))
        except (ProtocolViolation, ProtocolAborted) as problem:
            found[name] = problem

    threads = [threading.Thread(target=work, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for one in late:
        one.join()
    assert found == {
        "ann": {name: lists[name] for name in ("bob", "eve")},
        "bob": {"ann": lists["ann"]},
        "eve": {"ann": lists["ann"]},
    }


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


def test_a_long_wait_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("silo.driver._TOLD_AGAIN", 0.0)
    hub = Hub()
    seen: list[Watch] = []

    def watch(now: Watch) -> None:
        seen.append(now)
        if len(seen) == 3:
            sends(ann, "relay")

    relay, ann = seat(hub, "relay", watch=watch), seat(hub, "ann")
    drive(relay).run(once(Step((), waits("ann"))))
    assert {(one.waiting_for, one.present) for one in seen[:3]} == {(("ann",), ())}
    assert (seen[-1].waiting_for, seen[-1].present) == ((), ("ann",))


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
