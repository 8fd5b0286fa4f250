"""The relay's members: who is there, where a frame goes, who is told what. Runs on the network's thread.

A frame is acknowledged to its sender when it is taken up on the recipient's link, so nobody can make
the relay hold more than one window, and a member that takes nothing stops only those who send to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from silo.transport.base import Delivery, Presence, State
from silo.transport.errors import LinkViolation
from silo.transport.wire.assembly import Assembly, Course
from silo.transport.wire.backlog import Backlog
from silo.transport.wire.carrier import Carrier
from silo.transport.wire.frames import Bye, Data, Numbered, Refused
from silo.transport.wire.inbox import Inbox
from silo.transport.wire.link import Link, Ticket


@dataclass(eq=False)
class Seat:
    """One member; `link` is there from its login until it is gone."""

    name: str
    assembly: Assembly
    backlog: Backlog
    state: State = "awaited"
    link: Link | None = None
    token: bytes = b""
    carrier: Carrier | None = None
    heard: float = 0.0
    courses: dict[str, tuple[Course, Link | None]] = field(default_factory=dict)

    @property
    def progress(self) -> float:
        """When it was heard last (time.monotonic())."""
        carrier = self.carrier
        return max(self.heard, carrier.connection.heard) if carrier is not None else self.heard


class Seats:
    """All members of one relay."""

    def __init__(
        self,
        relay: str,
        members: Iterable[str],
        inbox: Inbox,
        max_message: int,
        backlog: int,
    ) -> None:
        self.relay = relay
        self._inbox = inbox
        self._max_message = max_message
        self._seats = {
            name: Seat(name, Assembly(max_message), Backlog(name, backlog)) for name in sorted(set(members))
        }

    def __getitem__(self, name: str) -> Seat:
        return self._seats[name]

    def __contains__(self, name: object) -> bool:
        return name in self._seats

    def __iter__(self) -> Iterator[Seat]:
        return iter(self._seats.values())

    def states(self) -> dict[str, State]:
        """The state of every member."""
        return {name: seat.state for name, seat in self._seats.items()}

    def enter(self, seat: Seat, token: bytes, window: int) -> Link:
        """Give a new process its seat; who had it before is gone."""
        self.depart(seat, "SILO-302")
        seat.link, seat.token = Link(window), token
        for other in self._seats.values():
            if other is not seat:
                seat.link.push_news(other.name, other.state)
        seat.link.push_news(self.relay, "present")  # the list of parties is complete
        self.announce(seat, "present")
        return seat.link

    def depart(self, seat: Seat, code: str) -> None:
        """Let a member go for good; nothing happens when it is not there."""
        if seat.link is None:
            return
        link, seat.link, seat.token = seat.link, None, b""
        self.announce(seat, "gone", code)
        link.close()
        seat.assembly = Assembly(self._max_message)
        seat.courses.clear()

    def announce(self, seat: Seat, state: State, code: str = "") -> None:
        """Note a member's state and tell everybody else, if it is a new one."""
        if seat.state == state:
            return
        seat.state = state
        for other in self._seats.values():
            if other is not seat and other.link is not None:
                other.link.push_news(seat.name, state, code)
        self._inbox.put(Presence(seat.name, state, code))

    def push(self, name: str, view: memoryview) -> None:
        """Send a message of the relay's own; dropped when the member is not there."""
        seat = self._seats[name]
        if seat.link is None:
            seat.backlog.leave(len(view))
        else:
            seat.link.push(self.relay, view, seat.backlog.leave)

    def taker(self, seat: Seat, link: Link) -> Callable[[Numbered | Refused, int], None]:
        """What takes the frames of one incarnation of a member."""

        def take(frame: Numbered | Refused, size: int) -> None:
            if isinstance(frame, Refused) or seat.link is not link:
                return
            ticket = link.admit(frame, size)
            if ticket is None:
                return
            if isinstance(frame, Data):
                self._data(seat, frame, ticket)
            elif isinstance(frame, Bye):
                ticket.take()
                seat.heard = time.monotonic()
                self.depart(seat, frame.code)
            else:
                raise LinkViolation("a member speaks for another one")

        return take

    def _data(self, seat: Seat, frame: Data, ticket: Ticket) -> None:
        if frame.party == self.relay:
            payload = seat.assembly.take(frame)
            if payload is not None:
                self._inbox.put(Delivery(seat.name, payload))
            self._inbox.when_room(ticket.take)
            return
        target = self._seats.get(frame.party)
        if target is None or target is seat:
            raise LinkViolation("a message is for nobody here")
        course, began = seat.courses.get(frame.party, (Course(), None))
        if not course.open:
            began = target.link
            seat.courses[frame.party] = course, began
        course.check(frame, self._max_message)
        # A message that began on another link would reach its reader without its beginning.
        if target.link is None or target.link is not began:
            ticket.take()
        else:
            target.link.route(frame, seat.name, ticket.take)
