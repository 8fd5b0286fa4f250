"""One end of a link that outlives its connections: numbers, window, acknowledgements, resending.

No input, output or clock. Numbered frames wait in a queue, go out while fewer than `window` bytes are not
acknowledged, and are kept until they are. An ACK does not say "came" but "was taken": it is the one means of
back-pressure, so the other end can always be read and a slow receiver holds up only whoever sends to it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from silo.transport.base import State
from silo.transport.errors import LinkViolation
from silo.transport.wire import frames
from silo.transport.wire.frames import Ack, Numbered

WINDOW: Final = 16 << 20
"""Bytes of one direction that may be under way; also the most that one link makes the other end hold."""
_OVERHEAD: Final = 128
_EMPTY: Final = memoryview(b"")
Done = Callable[[], None]
Release = Callable[[int], None]


def _nothing() -> None:
    pass


class _Message:
    """A whole message of this end, cut into chunks only as they go out."""

    __slots__ = ("id", "index", "offset", "party", "payload", "release")

    def __init__(self, party: str, payload: memoryview, id: int, release: Release) -> None:
        self.party, self.payload, self.id, self.release = party.encode(), payload, id, release
        self.index = self.offset = 0

    def next(self, number: int) -> tuple[_Sent, bool]:
        end = min(self.offset + frames.CHUNK, len(self.payload))
        last = end == len(self.payload)
        head = frames.data_head(number, self.id, self.index, len(self.payload), last, self.party)
        sent = _Sent(number, head, self.payload[self.offset : end], self.release)
        self.offset, self.index = end, self.index + 1
        return sent, last


class _Routed:
    """A chunk of somebody else's message; `done` tells its sender's link that it is on its way."""

    __slots__ = ("data", "done", "party")

    def __init__(self, data: frames.Data, party: str, done: Done) -> None:
        self.data, self.party, self.done = data, party.encode(), done

    def next(self, number: int) -> tuple[_Sent, bool]:
        data = self.data
        head = frames.data_head(number, data.message, data.index, data.total, data.last, self.party)
        self.done()
        return _Sent(number, head, data.chunk, None), True


class _Note:
    """A PRESENCE or BYE."""

    __slots__ = ("encode",)

    def __init__(self, encode: Callable[[int], bytes]) -> None:
        self.encode = encode

    def next(self, number: int) -> tuple[_Sent, bool]:
        return _Sent(number, self.encode(number), _EMPTY, None), True


class _Sent:
    __slots__ = ("body", "head", "number", "release", "size")

    def __init__(self, number: int, head: bytes, body: memoryview, release: Release | None) -> None:
        self.number, self.head, self.body, self.release = number, head, body, release
        self.size = len(head) + len(body) + _OVERHEAD


class Ticket:
    """A frame that came; it counts against the window until it is taken."""

    __slots__ = ("_link", "number", "size", "taken")

    def __init__(self, link: Link, number: int, size: int) -> None:
        self._link, self.number, self.size, self.taken = link, number, size, False

    def take(self) -> None:
        """Give the sender its room back."""
        self.taken = True
        self._link._advance()


class Link:
    """One end. `wake` is called when there may be something to send."""

    def __init__(self, window: int = WINDOW, wake: Done = _nothing) -> None:
        self.window = window
        self.wake = wake
        self.resent = 0
        self.received = 0
        self._queue: deque[_Message | _Routed | _Note] = deque()
        self._unacknowledged: deque[_Sent] = deque()
        self._again: deque[_Sent] = deque()
        self._number = self._acknowledged = self._in_flight = self._messages = 0
        self._open: deque[Ticket] = deque()
        self._held = self._taken = self._told = self._fresh = 0
        self.closed = False

    # what goes out

    def push(self, party: str, payload: memoryview, release: Release) -> None:
        """Queue a message; `release(n)` is called as its bytes are taken. Refers to the payload, no copy."""
        self._messages += 1
        self._add(_Message(party, payload, self._messages, release))

    def route(self, data: frames.Data, sender: str, done: Done) -> None:
        """Queue a chunk that came from `sender`."""
        self._add(_Routed(data, sender, done))

    def push_news(self, party: str, state: State, code: str = "") -> None:
        """Queue a party's new state."""
        self._add(_Note(lambda number: frames.encode_news(number, party, state, code)))

    def push_bye(self, code: str) -> None:
        """Queue the goodbye."""
        self._add(_Note(lambda number: frames.encode_bye(number, code)))

    def close(self) -> None:
        """Let go of everything; whoever waits for room gets it."""
        self.closed = True
        for item in self._queue:
            if isinstance(item, _Message):
                item.release(len(item.payload) - item.offset)
            elif isinstance(item, _Routed):
                item.done()
        for sent in self._unacknowledged:
            if sent.release is not None:
                sent.release(len(sent.body))
        self._queue.clear()
        self._unacknowledged.clear()
        self._again.clear()

    @property
    def settled(self) -> bool:
        """Whether the other end has taken everything."""
        return not self._queue and not self._unacknowledged

    @property
    def outstanding_messages(self) -> bool:
        """Whether something other than a goodbye waits to be taken."""
        return any(sent.release is not None for sent in self._unacknowledged) or any(
            not isinstance(item, _Note) for item in self._queue
        )

    @property
    def progress(self) -> int:
        """Grows as the other end takes frames."""
        return self._acknowledged

    def next(self) -> tuple[bytes, memoryview] | None:
        """Head and body of the next frame to send, or None."""
        if self._again:
            sent = self._again.popleft()
            self.resent += 1
            return sent.head, sent.body
        if not self._queue or self._in_flight >= self.window:
            return None
        self._number += 1
        sent, last = self._queue[0].next(self._number)
        if last:
            self._queue.popleft()
        self._unacknowledged.append(sent)
        self._in_flight += sent.size
        return sent.head, sent.body

    def acknowledgement(self, *, now: bool) -> bytes | None:
        """An ACK if one is due: an eighth of the window was taken, or with `now` anything."""
        if not self.untold or (not now and self._fresh < self.window // 8):
            return None
        self._told, self._fresh = self._taken, 0
        return frames.encode_ack(self._taken)

    @property
    def untold(self) -> bool:
        """Whether something was taken that the other end has not been told."""
        return self._taken != self._told

    def acknowledged(self, ack: Ack) -> None:
        """Note what the other end took. Raises `LinkViolation`."""
        if not self._acknowledged <= ack.number <= self._number:
            raise LinkViolation(f"frame {ack.number} of {self._number} was acknowledged")
        self._acknowledged = ack.number
        while self._unacknowledged and self._unacknowledged[0].number <= ack.number:
            sent = self._unacknowledged.popleft()
            self._in_flight -= sent.size
            if sent.release is not None:
                sent.release(len(sent.body))
        self.wake()

    def resume(self, received: int) -> None:
        """Begin on a new connection; the other end has all up to `received`. Raises `LinkViolation`."""
        if not self._acknowledged <= received <= self._number:
            raise LinkViolation(f"the other side claims to have frame {received} of {self._number}")
        self._again = deque(sent for sent in self._unacknowledged if sent.number > received)
        self._told = -1  # an ACK may have been lost with the old connection

    # what comes in

    def admit(self, frame: Numbered, size: int) -> Ticket | None:
        """A ticket for the next frame; None for one that came before. Raises `LinkViolation`."""
        if frame.number <= self.received:
            return None
        if frame.number != self.received + 1:
            raise LinkViolation(f"frame {frame.number} came after frame {self.received}")
        if self._held > self.window + 2 * frames.MAX_FRAME:
            raise LinkViolation("more is under way than the window allows")
        self.received += 1
        self._held += size
        ticket = Ticket(self, frame.number, size)
        self._open.append(ticket)
        return ticket

    def _advance(self) -> None:
        while self._open and self._open[0].taken:
            ticket = self._open.popleft()
            self._held -= ticket.size
            self._fresh += ticket.size
            self._taken = ticket.number
        self.wake()

    def _add(self, item: _Message | _Routed | _Note) -> None:
        self._queue.append(item)
        self.wake()
