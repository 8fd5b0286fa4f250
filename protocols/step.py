"""What a driver needs to know to move any protocol: what to send, and what is waited for.

A role (one party's side of one protocol) is a generator: it yields `Step`s and is sent an `Inbox` for each.
The states do the work; the role only strings them together, and the driver alone knows sockets, clocks and
disks.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from silo.protocols.codec import Message
from silo.protocols.envelope import Opened

R = TypeVar("R")


def _take_all(_: Opened[Any]) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message on its way to each of `to`.

    `public`: signed for everybody, so that whoever gets it can pass it on with its signature. `protection` is
    what the outbox tells the data protection officer; `note` goes into the signed header. `ordered`: the driver puts
    the message's place among those to the same recipient there, for a receiver that waits with `ahead`.
    """

    to: tuple[str, ...]
    message: Message
    protection: str
    public: bool = False
    note: bytes = b""
    ordered: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """What a state waits for.

    It closes when all `senders` have answered, or when the driver gives up the silent ones and at least
    `enough` have. `accept` checks a message (and may take it in) and raises `ProtocolViolation`: that sender
    then counts as lost and nothing has changed. `limit` bounds each frame in bytes. Between members the relay is not
    trusted with the order: where `ahead` is given, frames are `ordered` by their senders and taken in that order, and
    so many bytes of each party may come before their turn, and are kept. More of them end the role.
    """

    name: str
    kinds: tuple[type[Message], ...]
    senders: frozenset[str]
    enough: int
    limit: int
    accept: Callable[[Opened[Any]], None] = field(default=_take_all)
    ahead: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """Send these, then wait for that; without a `wait` the inbox holds the last message as it was sealed, by own name.

    `once` names an answer that is given at most once per round, marked on disk before it is sent; `over` are
    the parties it speaks of.
    """

    send: tuple[Outgoing, ...]
    wait: Wait | None
    once: str = ""
    over: frozenset[str] = frozenset()


Inbox = Mapping[str, Opened[Any]]
Role = Generator[Step, Inbox, R]
