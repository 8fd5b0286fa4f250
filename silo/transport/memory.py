"""All parties in one process: for `simulate`, for tests, and for the faults that tests need."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping

from silo.crypto.rng import SystemRng
from silo.transport.base import (
    Buffer,
    Delivery,
    Endpoint,
    Event,
    Presence,
    Reset,
    State,
    Traffic,
    TransportError,
    freeze,
)

Tamper = Callable[[str, str, bytes], list[bytes] | None]


class Hub:
    """Connects endpoints by name.

    `tamper(sender, recipient, payload)` gives what arrives instead: none, changed or several; None leaves it.
    """

    def __init__(self, tamper: Tamper | None = None) -> None:
        self.epoch = SystemRng().bytes(16).hex()
        self._tamper = tamper
        self._seats: dict[str, MemoryEndpoint] = {}
        self._states: dict[str, State] = {}
        self._lock = threading.RLock()

    def endpoint(self, name: str) -> Endpoint:
        """A seat for `name`; a second one under the same name replaces the first, as a new process would."""
        with self._lock:
            if self._states.get(name) == "present":
                self._announce(name, "gone", "SILO-302")
            seat = MemoryEndpoint(name, self)
            self._seats[name] = seat
            for other, state in self._states.items():
                if other != name:
                    seat._events.put(Presence(other, state))
            self._announce(name, "present")
            return seat

    def cut(self, name: str, code: str = "SILO-303") -> None:
        """Lose a party for good."""
        with self._lock:
            self._announce(name, "away")
            self._announce(name, "gone", code)

    def restart(self) -> None:
        """Do as a relay that was restarted: another epoch, everything in flight is lost."""
        with self._lock:
            self.epoch = SystemRng().bytes(16).hex()
            for seat in self._seats.values():
                seat.epoch = self.epoch
                while not seat._events.empty():
                    seat._events.get_nowait()
                seat._events.put(Reset(self.epoch))

    def _announce(self, name: str, state: State, code: str = "") -> None:
        self._states[name] = state
        for other, seat in self._seats.items():
            if other != name:
                seat._events.put(Presence(name, state, code))

    def _deliver(self, sender: str, recipient: str, payload: Buffer) -> None:
        sent: list[Buffer] = [freeze(payload)]
        if self._tamper is not None:
            changed = self._tamper(sender, recipient, bytes(payload))
            if changed is not None:
                sent = [*changed]
        with self._lock:
            seat = self._seats.get(recipient)
            if seat is None or self._states.get(recipient) == "gone":
                return
            for one in sent:
                seat.traffic.bytes_received += len(one)
                seat.traffic.payload_received += len(one)
                seat._events.put(Delivery(sender, freeze(one)))


class MemoryEndpoint(Endpoint):
    """One seat at a `Hub`."""

    def __init__(self, name: str, hub: Hub) -> None:
        self.name = name
        self.epoch = hub.epoch
        self.traffic = Traffic()
        self._hub = hub
        self._events: queue.Queue[Event] = queue.Queue()
        self._left = False

    def parties(self) -> Mapping[str, State]:
        with self._hub._lock:
            return {name: state for name, state in self._hub._states.items() if name != self.name}

    def send(self, recipient: str, payload: Buffer) -> None:
        if self._left or self._hub._seats.get(self.name) is not self:
            raise TransportError(f"{self.name} has left and cannot send to {recipient}")
        self.traffic.frames_sent += 1
        self.traffic.bytes_sent += len(payload)
        self.traffic.payload_sent += len(payload)
        self._hub._deliver(self.name, recipient, payload)

    def receive(self, timeout: float | None) -> Event | None:
        if self._left and self._events.empty():
            raise TransportError(f"{self.name} has left: join again")
        try:
            return self._events.get(timeout=timeout)
        except queue.Empty:
            return None

    def progress(self, party: str) -> float:
        return time.monotonic()

    def leave(self, code: str = "") -> None:
        with self._hub._lock:
            if not self._left and self._hub._seats.get(self.name) is self:
                self._hub._announce(self.name, "gone", code)
            self._left = True
