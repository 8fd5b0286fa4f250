"""A relay and members over real sockets and real TLS, for the tests of the transport."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from silo.crypto import labels, signing
from silo.identity import Identity
from silo.transport.base import Delivery, Endpoint, Event, Patience, Presence, Reset
from silo.transport.relay import RelayServer
from silo.transport.websocket import WebSocketEndpoint
from silo.transport.wire.login import Credentials, fingerprint
from tests.silo.federation import NOW, identity

CHARTER = b"c" * 32
BRISK = Patience(reconnect=5.0, silence=5.0, work=60.0)
LONG_AGO = NOW - timedelta(days=900)


@dataclass
class Site:
    """Keys of a relay and its members; everything that was opened is closed at the end."""

    home: Path
    names: tuple[str, ...] = ("clinic", "mercy", "northside")
    people: dict[str, Identity] = field(default_factory=dict)
    opened: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in (*self.names, "relay"):
            self.people[name] = identity(self.home, name)

    def verify(self, name: str, message: bytes, signature: bytes) -> None:
        signing.verify(self.people[name].public, labels.LINK_LOGIN, message, signature)

    def credentials(self, who: Identity, charter: bytes = CHARTER) -> Credentials:
        return Credentials(
            who.name, charter, lambda message: who.sign(labels.LINK_LOGIN, message), who.card.certificate
        )

    def relay(self, port: int = 0, **options: Any) -> RelayServer:
        own = self.people["relay"]
        members = [self.people[name].card for name in self.names]
        settings: dict[str, Any] = {
            "ssl_context": own.ssl_server_context(card.certificate for card in members),
            "members": {fingerprint(card.der): card.name for card in members},
            "credentials": self.credentials(own),
            "verify": self.verify,
            "patience": BRISK,
        }
        server = RelayServer("127.0.0.1", port, **(settings | options))
        server.start()
        self.opened.append(server.stop)
        return server

    def member(
        self, name: str, port: int, who: Identity | None = None, *, host: str = "localhost", **options: Any
    ) -> WebSocketEndpoint:
        own = who or self.people[name]
        relay = self.people["relay"].card
        settings: dict[str, Any] = {
            "credentials": self.credentials(own),
            "relay": "relay",
            "pin": relay.certificate_fingerprint,
            "verify": self.verify,
            "ssl_context": own.ssl_client_context([relay.certificate]),
            "patience": BRISK,
            "proxy": None,
        }
        endpoint = WebSocketEndpoint(f"wss://{host}:{port}", **(settings | options))
        self.opened.append(endpoint.leave)
        return endpoint

    def close(self) -> None:
        for close in reversed(self.opened):
            close()


@contextmanager
def site(home: Path, *names: str) -> Iterator[Site]:
    made = Site(home, names) if names else Site(home)
    try:
        yield made
    finally:
        made.close()


def next_of(endpoint: Endpoint, *kinds: type[Event], seconds: float = 20.0) -> Any:
    """The next event of one of the kinds; others are passed over."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        event = endpoint.receive(left)
        if isinstance(event, kinds):
            return event
    raise AssertionError(f"{endpoint.name} got no {[kind.__name__ for kind in kinds]}")


def message(endpoint: Endpoint, seconds: float = 20.0) -> tuple[str, bytes]:
    delivery = next_of(endpoint, Delivery, seconds=seconds)
    return delivery.sender, bytes(delivery.payload)


def presence(endpoint: Endpoint, party: str, state: str, seconds: float = 20.0) -> Presence:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        event = next_of(endpoint, Presence, Reset, seconds=seconds)
        if isinstance(event, Presence) and (event.party, event.state) == (party, state):
            return event
    raise AssertionError(f"{endpoint.name} never saw {party} {state}")


def noise(size: int) -> bytes:
    return os.urandom(size)


def drain(endpoint: Endpoint, seconds: float = 20.0) -> None:
    """Receive until that raises, or for `seconds`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        endpoint.receive(until - time.monotonic())
