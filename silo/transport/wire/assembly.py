"""Chunks become messages again: one message at a time per sender, refused before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass, field

from silo.transport.errors import LinkViolation, MessageTooLarge
from silo.transport.wire.frames import Data


@dataclass(slots=True)
class Course:
    """Where one sender's current message stands, and whether its next chunk fits."""

    message: int = 0
    index: int = 0
    total: int = 0
    done: int = 0
    open: bool = False

    def check(self, data: Data, max_message: int) -> None:
        """Take note of the next chunk. Raises `LinkViolation` or `MessageTooLarge`."""
        if not self.open:
            if data.index != 0:
                raise LinkViolation("a message does not begin with its first chunk")
            if data.total > max_message:
                raise MessageTooLarge(data.total, max_message)
            self.message, self.index, self.total, self.done = data.message, 0, data.total, 0
        if (data.message, data.index, data.total) != (self.message, self.index, self.total):
            raise LinkViolation("the chunks of a message do not belong together")
        self.done += len(data.chunk)
        self.index += 1
        if self.done > self.total or data.last != (self.done == self.total):
            raise LinkViolation("the chunks of a message do not add up to its size")
        self.open = not data.last


@dataclass(slots=True)
class Assembly:
    """Puts the messages of several senders together; `max_message` in bytes."""

    max_message: int
    _courses: dict[str, Course] = field(default_factory=dict)
    _buffers: dict[str, bytearray] = field(default_factory=dict)

    def take(self, data: Data) -> memoryview | None:
        """Take one chunk; the whole message, read-only, when it was the last."""
        course = self._courses.setdefault(data.party, Course())
        start = course.done if course.open else 0
        course.check(data, self.max_message)
        if data.last and start == 0:
            return data.chunk
        if start == 0:
            # Zeroed by the system page by page, so a size that is only claimed takes no memory.
            self._buffers[data.party] = bytearray(data.total)
        buffer = self._buffers[data.party]
        buffer[start : course.done] = data.chunk
        if not data.last:
            return None
        return memoryview(self._buffers.pop(data.party)).toreadonly()

    def forget(self, party: str) -> None:
        """Drop what a party has begun and will not finish."""
        self._courses.pop(party, None)
        self._buffers.pop(party, None)
