"""One end of a link that outlives its connections: numbers, acknowledgements, resending, reassembly.

It does no input or output. What is handed to `push*` comes out of `take`, in order, as fast as the window of
unacknowledged bytes allows, and again after `resume` until the other end has acknowledged it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from silo.link import frames
from silo.link.frames import Ack, Alive, Bye, Data, News
from silo.transport.base import Buffer, Delivery, State
from silo.transport.errors import LinkViolation, MessageTooLarge

WINDOW: Final = 16 * 1024 * 1024
ACK_EVERY: Final = 8


@dataclass(slots=True)
class _Letter:
    name: str
    payload: memoryview
    sent: int = 0


@dataclass(slots=True)
class Link:
    """`max_message` bounds a received message in bytes, before anything is allocated for it."""

    max_message: int
    waiting: deque[_Letter | News | Bye] = field(default_factory=deque)
    waiting_bytes: int = 0
    resent: int = 0
    received: int = 0
    parted: bool = False
    """Whether the goodbye has left: nothing is said after it, so that both ends count the same bytes."""
    _sent: int = 0
    _kept: deque[tuple[int, bytes]] = field(default_factory=deque)
    _kept_bytes: int = 0
    _again: deque[bytes] = field(default_factory=deque)
    _partial: dict[str, tuple[bytearray, int]] = field(default_factory=dict)
    _unacknowledged: int = 0

    def push(self, name: str, payload: Buffer) -> None:
        """Queue one message; the payload is referred to, not copied, until it has left."""
        view = memoryview(payload).cast("B") if len(payload) else memoryview(b"")
        self.waiting.append(_Letter(name, view))
        self.waiting_bytes += len(view)

    def push_news(self, name: str, state: State, code: str) -> None:
        """Queue a party's new state."""
        self.waiting.append(News(0, name, state, code))

    def push_bye(self, code: str) -> None:
        """Queue the goodbye."""
        self.waiting.append(Bye(0, code))

    @property
    def settled(self) -> bool:
        """Whether all that was pushed has left and was acknowledged."""
        return not self.waiting and not self._kept

    def take(self) -> bytes | None:
        """The next frame to send, or None while there is none or the window is full."""
        if self._again:
            frame = self._again.popleft()
            self.resent += len(frame)
            return frame
        if not self.waiting or self._kept_bytes >= WINDOW:
            return None
        self._sent += 1
        first = self.waiting[0]
        if isinstance(first, News):
            frame = frames.news(self._sent, first.name, first.state, first.code)
            self.waiting.popleft()
        elif isinstance(first, Bye):
            frame = frames.bye(self._sent, first.code)
            self.waiting.popleft()
            self.parted = True
        else:
            piece = first.payload[first.sent : first.sent + frames.CHUNK]
            frame = frames.data(self._sent, len(first.payload), first.name, piece)
            first.sent += len(piece)
            self.waiting_bytes -= len(piece)
            if first.sent == len(first.payload):
                self.waiting.popleft()
        self._kept.append((self._sent, frame))
        self._kept_bytes += len(frame)
        return frame

    def resume(self, received: int) -> None:
        """Begin on a new connection: the other end has all up to `received`. Raises `LinkViolation`."""
        self.acknowledged(received)
        self._again = deque(frame for _, frame in self._kept)
        self._unacknowledged = 0

    def acknowledged(self, seq: int) -> None:
        """The other end has all up to `seq`."""
        if seq > self._sent:
            raise LinkViolation(f"frame {seq} was acknowledged and only {self._sent} were sent")
        while self._kept and self._kept[0][0] <= seq:
            self._kept_bytes -= len(self._kept.popleft()[1])

    def take_in(self, frame: frames.Frame) -> Delivery | News | Bye | None:
        """Take one frame in; gives what is complete with it. Raises `LinkViolation`."""
        if isinstance(frame, Ack):
            self.acknowledged(frame.seq)
            return None
        if isinstance(frame, Alive) or frame.seq <= self.received:
            return None  # sent again after a reconnect, and here already
        if frame.seq != self.received + 1:
            raise LinkViolation(f"frame {frame.seq} came after {self.received}: one is missing")
        done = self._assemble(frame) if isinstance(frame, Data) else frame
        self.received += 1
        self._unacknowledged += 1
        return done

    def ack_due(self, *, now: bool = False) -> bytes | None:
        """An acknowledgement, when enough frames have come since the last (or any, with `now`)."""
        if self.parted or not self._unacknowledged or (self._unacknowledged < ACK_EVERY and not now):
            return None
        self._unacknowledged = 0
        return frames.ack(self.received)

    def _assemble(self, frame: Data) -> Delivery | None:
        if frame.size > self.max_message:
            raise MessageTooLarge(frame.size, self.max_message)
        buffer, filled = self._partial.pop(frame.name, (None, 0))
        if buffer is None:
            if frame.size == len(frame.piece):
                return Delivery(frame.name, frame.piece)
            buffer = bytearray(frame.size)
        end = filled + len(frame.piece)
        if len(buffer) != frame.size or end > frame.size:
            raise LinkViolation("the pieces of a message do not fit together")
        buffer[filled:end] = frame.piece
        if end < frame.size:
            self._partial[frame.name] = (buffer, end)
            return None
        return Delivery(frame.name, memoryview(buffer).toreadonly())
