"""How much one party was sent and has not taken: where a sender waits."""

from __future__ import annotations

import threading

from silo.transport.errors import Stalled


class Backlog:
    """A message enters while at most `limit` bytes wait, so one of any size always finds its way."""

    def __init__(self, party: str, limit: int) -> None:
        self._party = party
        self._limit = limit
        self._waiting = 0
        self._error: Exception | None = None
        self._changed = threading.Condition()

    def enter(self, size: int, timeout: float) -> None:
        """Wait for room, then take it. Raises `Stalled` after `timeout` seconds, or what `fail` was given."""
        with self._changed:
            free = self._changed.wait_for(
                lambda: self._error is not None or self._waiting <= self._limit, timeout
            )
            if self._error is not None:
                raise self._error
            if not free:
                raise Stalled(self._party, timeout)
            self._waiting += size

    def leave(self, size: int) -> None:
        """Give room back."""
        with self._changed:
            self._waiting -= size
            self._changed.notify_all()

    def fail(self, error: Exception) -> None:
        """Raise `error` to whoever waits or comes."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()
