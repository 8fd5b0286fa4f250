"""Frames that came before their turn: how many bytes of them are kept, and in which order they are handed out.

A relay may drop, delay, double and reorder what members send each other. What is doubled is dropped, as nothing is lost
with it; beyond its room nothing is dropped without a word.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any, Final

from silo.protocols.envelope import Opened, read_header
from silo.protocols.errors import MalformedMessage, ProtocolAborted
from silo.transport.base import Delivery

ROOM: Final = 512 << 20
"""Bytes that are set aside for protocols whose turn has not come, of all parties together."""
_FRAME: Final = 1 << 10
"""What a frame takes beside its payload: so many empty ones are bounded too."""
_NUMBER: Final = 8


def numbered(number: int) -> bytes:
    """The note of a frame that has its place among those from its sender to its receiver."""
    return number.to_bytes(_NUMBER, "big")


class Aside:
    """Frames of other protocols than the one under way; nothing of them is trusted yet.

    A frame of any size finds its way while at most `room` bytes are kept. Beyond that whoever has most of them loses
    its own, so that nobody can push out what another sent.
    """

    def __init__(self, room: int = ROOM) -> None:
        self.room = room
        self._kept: dict[tuple[str, str], dict[bytes, Delivery]] = {}
        self._bytes: Counter[str] = Counter()
        self._over: set[tuple[str, str]] = set()

    def put(self, protocol: str, delivery: Delivery) -> str:
        """Keep a frame; returns what became of it if it was not kept: "repeated" or "no room"."""
        name, place = delivery.sender, (protocol, delivery.sender)
        digest = hashlib.sha256(delivery.payload).digest()
        if digest in self._kept.get(place, ()):
            return "repeated"
        size = _size(delivery)
        if place not in self._over and self._bytes.total() > self.room:
            self._bytes[name] += size
            most = max(self._bytes, key=self._bytes.__getitem__)
            self._bytes[name] -= size
            self._clear(most, protocol if most == name else "")
        if place in self._over:
            return "no room"
        self._kept.setdefault(place, {})[digest] = delivery
        self._bytes[name] += size
        return ""

    def take(self, protocol: str = "") -> tuple[list[Delivery], frozenset[str]]:
        """Take the frames of a protocol (none: of all), and learn of whom some were not kept for lack of room."""
        places = [place for place in self._kept if protocol in ("", place[0])]
        taken = [delivery for place in places for delivery in self._kept.pop(place).values()]
        for delivery in taken:
            self._bytes[delivery.sender] -= _size(delivery)
        over = {place for place in self._over if protocol in ("", place[0])}
        self._over -= over
        return taken, frozenset(name for _, name in over)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._bytes.clear()
        self._over.clear()

    def _clear(self, name: str, coming: str) -> None:
        """Drop all of one party, and what is `coming` of it; mark the protocols that lack something of it now."""
        for place in [place for place in self._kept if place[1] == name]:
            del self._kept[place]
            self._over.add(place)
        del self._bytes[name]
        if coming:
            self._over.add((coming, name))


class Turns:
    """The frames of each party in one drive, verified, and put into the order of the numbers that it gave them."""

    def __init__(self) -> None:
        self._next: Counter[str] = Counter()
        self._kept: dict[str, dict[int, Opened[Any]]] = {}
        self._bytes: Counter[str] = Counter()

    def put(self, opened: Opened[Any], round: int) -> bool:
        """Keep a frame for its turn; False if it was there before. Raises `MalformedMessage` if it has no number."""
        name = opened.sender
        note = read_header(opened.receipt, name, round).note
        if len(note) != _NUMBER:
            raise MalformedMessage(
                "a frame does not say its place in the order", culprits=(name,), round=round
            )
        number, kept = int.from_bytes(note, "big"), self._kept.setdefault(name, {})
        if number < self._next[name] or number in kept:
            return False
        kept[number] = opened
        self._bytes[name] += len(opened.frame) + _FRAME
        return True

    def take(self, name: str) -> Opened[Any] | None:
        """The next frame of a party, if it is there."""
        opened = self._kept.get(name, {}).pop(self._next[name], None)
        if opened is not None:
            self._next[name] += 1
            self._bytes[name] -= len(opened.frame) + _FRAME
        return opened

    def rest(self) -> list[Opened[Any]]:
        """Take all whose turn has not come."""
        taken = [opened for kept in self._kept.values() for _, opened in sorted(kept.items())]
        self._kept.clear()
        self._bytes.clear()
        return taken

    def gap(self, name: str) -> int | None:
        """The number of the frame that is missing while later ones of the party are there."""
        kept, number = self._kept.get(name), self._next[name]
        return number if kept and number not in kept else None

    def require_room(self, name: str, room: int, what: str) -> None:
        """Raise `ProtocolAborted` if more than `room` bytes of a party wait for their turn."""
        if self._bytes[name] <= room:
            return
        number = self.gap(name)
        if number is None:
            raise ProtocolAborted(
                f"{name} is more than {room} bytes ahead of what is agreed to be kept while {what} is waited for",
                (name,),
            )
        raise ProtocolAborted(
            f"message {number} of {name} is missing, and more than {room} bytes came after it, which is all that is "
            f"kept while {what} is waited for: the relay lost it or holds it back"
        )


def _size(delivery: Delivery) -> int:
    return len(delivery.payload) + _FRAME
