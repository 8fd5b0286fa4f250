"""What every transport gives a party: whole messages to and from named parties, and who is there.

Payloads are bytes-like and handed over read-only. Messages between two parties arrive exactly once and in
order, or the party is gone. Deadlines watch progress (bytes, or an answer to a ping), never total duration.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from silo.crypto.errors import SiloError

Buffer = bytes | bytearray | memoryview
State = Literal["awaited", "present", "away", "gone"]


class TransportError(SiloError):
    """The network, the relay or its certificate; nothing of the protocol."""

    code = "SILO-301"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One whole message."""

    sender: str
    payload: Buffer


@dataclass(frozen=True, slots=True)
class Presence:
    """A party came, lost its connection (away) or left for good (gone, with a code when it failed)."""

    party: str
    state: State
    code: str = ""


@dataclass(frozen=True, slots=True)
class Reset:
    """The relay is a new process: everything in flight is lost."""

    epoch: str


Event = Delivery | Presence | Reset


@dataclass(frozen=True, slots=True)
class Patience:
    """The only three settings of time, in seconds.

    `reconnect`: how long a lost party may stay away; `silence`: how long a connected one may show no sign of
    life; `work`: how long a living one may compute before it comes to the next step.
    """

    reconnect: float = 15.0
    silence: float = 30.0
    work: float = 3600.0


@dataclass(slots=True)
class Traffic:
    """What one endpoint sent and received; bytes are WebSocket payload, headers and resends included.

    `payload_*` are the messages' own bytes; `per_party` both directions with each neighbour,
    `from_party` one. A
    relay's figures include what it routes. `resent` counts frames.
    """

    frames_sent: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    payload_sent: int = 0
    payload_received: int = 0
    resent: int = 0
    reconnects: int = 0
    per_party: dict[str, int] = field(default_factory=dict)
    from_party: dict[str, int] = field(default_factory=dict)

    def sent(self, party: str, size: int) -> None:
        """Count one frame to `party`, `size` bytes."""
        self.frames_sent += 1
        self.bytes_sent += size
        self.per_party[party] = self.per_party.get(party, 0) + size

    def received(self, party: str, size: int) -> None:
        """Count one frame from `party`."""
        self.bytes_received += size
        self.from_party[party] = self.from_party.get(party, 0) + size
        self.per_party[party] = self.per_party.get(party, 0) + size


class Endpoint(ABC):
    """One party's seat at a transport; used from one thread."""

    name: str
    epoch: str
    traffic: Traffic

    @abstractmethod
    def parties(self) -> Mapping[str, State]:
        """The last known state of every other party."""

    @abstractmethod
    def send(self, recipient: str, payload: Buffer) -> None:
        """Send one message; blocks while the way is full. Raises `TransportError`."""

    @abstractmethod
    def receive(self, timeout: float | None) -> Event | None:
        """The next event, or None when `timeout` seconds passed. Raises `TransportError`."""

    @abstractmethod
    def progress(self, party: str) -> float:
        """The clock (time.monotonic) of the last sign of life of a party."""

    @abstractmethod
    def leave(self, code: str = "") -> None:
        """Flush, say goodbye with a code, close; a second time changes nothing."""


def freeze(payload: Buffer) -> memoryview:
    """A flat read-only view; what somebody could still write to is copied."""
    view = memoryview(payload)
    if not view.readonly or not view.c_contiguous:
        return memoryview(view.tobytes())
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")
