"""Two ends of a link over a wire that loses, holds back and breaks: nothing twice, nothing missing."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silo.transport.errors import LinkViolation
from silo.transport.wire import frames
from silo.transport.wire.assembly import Assembly
from silo.transport.wire.frames import Ack, Data
from silo.transport.wire.link import Link, Ticket


class End:
    """One end with its wire towards the other."""

    def __init__(self, window: int) -> None:
        self.link = Link(window)
        self.wire: deque[bytes] = deque()
        self.assembly = Assembly(1 << 22)
        self.got: list[bytes] = []
        self.tickets: list[Ticket] = []
        self.room = 0

    def send(self, count: int) -> None:
        for _ in range(count):
            raw = self.link.acknowledgement(now=True)
            if raw is not None:
                self.wire.append(raw)
            following = self.link.next()
            if following is None:
                return
            self.wire.append(b"".join(following))

    def receive(self, wire: deque[bytes], count: int) -> None:
        for _ in range(min(count, len(wire))):
            raw = wire.popleft()
            frame = frames.decode(raw)
            if isinstance(frame, Ack):
                self.link.acknowledged(frame)
                continue
            assert isinstance(frame, Data)
            ticket = self.link.admit(frame, len(raw) + 128)
            if ticket is None:
                continue
            whole = self.assembly.take(frame)
            if whole is not None:
                self.got.append(bytes(whole))
            self.tickets.append(ticket)

    def take(self, count: int) -> None:
        for ticket in self.tickets[:count]:
            ticket.take()
        del self.tickets[:count]


def reconnect(one: End, other: End) -> None:
    one.wire.clear()
    other.wire.clear()
    one.link.resume(other.link.received)
    other.link.resume(one.link.received)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["push", "send", "receive", "take", "break"]), st.booleans(), st.integers(1, 6)
    ),
    max_size=60,
)


@given(STEPS)
def test_messages_arrive_once_and_in_order_however_the_wire_behaves(
    steps: list[tuple[str, bool, int]],
) -> None:
    ends = End(3000), End(3000)
    sent: tuple[list[bytes], list[bytes]] = ([], [])
    released = [0, 0]

    def release(who: int, size: int) -> None:
        released[who] += size

    for number, (what, first, count) in enumerate(steps):
        who = 0 if first else 1
        end, other = ends[who], ends[1 - who]
        if what == "push":
            payload = bytes([number]) * (count * 500)
            sent[who].append(payload)
            end.link.push("x", memoryview(payload), lambda size, who=who: release(who, size))  # type: ignore[misc]
        elif what == "send":
            end.send(count)
        elif what == "receive":
            end.receive(other.wire, count)
        elif what == "take":
            end.take(count)
        else:
            reconnect(end, other)
    while not (ends[0].link.settled and ends[1].link.settled):
        for end, other in (ends, ends[::-1]):
            end.send(100)
            other.receive(end.wire, 100)
            other.take(100)
    assert (ends[1].got, ends[0].got) == sent
    assert released == [sum(map(len, one)) for one in sent]


def test_no_more_than_the_window_goes_out_until_something_is_taken() -> None:
    one, other = End(4000), End(4000)
    for _ in range(10):
        one.link.push("x", memoryview(bytes(1000)), lambda size: None)
    one.send(100)
    under_way = len(one.wire)
    assert under_way == 4
    other.receive(one.wire, 100)
    other.send(100)
    one.receive(other.wire, 100)
    one.send(100)
    assert not one.wire
    other.take(1)
    other.send(1)
    one.receive(other.wire, 1)
    one.send(100)
    assert len(one.wire) == 1


def test_a_frame_that_was_skipped_is_refused() -> None:
    end = End(1000)
    with pytest.raises(LinkViolation, match="2"):
        end.receive(deque([frames.data_head(2, 1, 0, 1, True, b"x") + b"a"]), 1)


def test_what_was_never_sent_cannot_be_acknowledged_or_resumed() -> None:
    link = Link()
    with pytest.raises(LinkViolation):
        link.acknowledged(Ack(1))
    with pytest.raises(LinkViolation):
        link.resume(1)


def test_who_sends_more_than_the_window_is_refused() -> None:
    end = End(1000)
    big = bytes(frames.CHUNK)
    wire = deque(frames.data_head(number, number, 0, len(big), True, b"x") + big for number in range(1, 10))
    with pytest.raises(LinkViolation, match="window"):
        end.receive(wire, 10)


def test_closing_gives_everybody_room() -> None:
    link, given_back = Link(window=2 << 20), []
    for _ in range(4):
        link.push("x", memoryview(bytes(1 << 20)), given_back.append)
    while link.next() is not None:
        pass
    link.close()
    assert sum(given_back) == 4 << 20
    assert link.settled
