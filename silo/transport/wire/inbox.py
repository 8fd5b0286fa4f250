"""Events on their way from the network's thread to the caller's, and the room for them.

While more than `limit` bytes wait to be received, frames that come are kept but not acknowledged, so their
sender stops after its window; nothing is dropped and the network's thread never waits.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from silo.transport.base import Delivery, Event

LIMIT = 256 << 20
Done = Callable[[], None]


class Inbox:
    """`call` runs a function on the network's thread."""

    def __init__(self, call: Callable[[Done], None], limit: int = LIMIT) -> None:
        self._call = call
        self._limit = limit
        self._events: deque[Event] = deque()
        self._bytes = 0
        self._deferred: deque[Done] = deque()
        self._error: Exception | None = None
        self._changed = threading.Condition()

    def put(self, event: Event) -> None:
        """Add an event."""
        with self._changed:
            self._events.append(event)
            if isinstance(event, Delivery):
                self._bytes += len(event.payload)
            self._changed.notify()

    def when_room(self, take: Done) -> None:
        """Call `take` now if there is room, else later; on the network's thread."""
        with self._changed:
            if self._bytes > self._limit:
                self._deferred.append(take)
                return
        take()

    def restart(self, event: Event) -> None:
        """Forget everything and begin with `event`."""
        with self._changed:
            self._events.clear()
            self._bytes = 0
        self._release()
        self.put(event)

    def fail(self, error: Exception) -> None:
        """Raise `error` to whoever receives, after the events that are there."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def get(self, timeout: float | None) -> Event | None:
        """The next event; None after `timeout` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._events:
                if self._error is not None:
                    raise self._error
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self._changed.wait(left)
            event = self._events.popleft()
            if isinstance(event, Delivery):
                self._bytes -= len(event.payload)
            room = self._deferred and self._bytes <= self._limit
        if room:
            self._call(self._release)
        return event

    def _release(self) -> None:
        with self._changed:
            if self._bytes > self._limit:
                return
            taken, self._deferred = self._deferred, deque()
        for take in taken:
            take()
