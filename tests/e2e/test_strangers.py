"""Who has not the charter's keys does not come in; who begins with an unlike model is named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from silo import expiry
from silo.crypto import labels, signing
from silo.crypto.rng import SystemRng
from silo.identity import Identity
from silo.relay import Relay
from silo.transport.base import Patience
from silo.transport.errors import NotAdmitted, PinMismatch, TransportError
from silo.transport.relay import RelayServer
from silo.transport.websocket import WebSocketEndpoint
from silo.transport.wire.login import Credentials
from tests.e2e.conftest import Found
from tests.e2e.site import MEMBERS, Site

TRIO = MEMBERS[:3]
CALM = Patience(reconnect=20.0, silence=20.0, work=60.0)
"""Nobody here is waited for so long; a refusal comes at once, also on a busy machine."""


@pytest.fixture
def site(found: Found) -> Site:
    return found(names=TRIO)


@pytest.fixture
def relay(site: Site) -> Iterator[Relay]:
    identity = Identity.load(site.keys("relay"))
    with Relay(site.charter, identity, host="127.0.0.1", port=site.port) as serving:
        yield serving


def stranger(site: Site, name: str) -> Identity:
    return Identity.create(
        name, site.home / "forged" / name, passphrase=None, rng=SystemRng(), now=expiry.utc_now()
    )


def verify(site: Site) -> Any:
    keys = {**site.charter.keys, "relay": site.charter.relay.card.key}
    return lambda name, message, signature: signing.verify(keys[name], labels.LINK_LOGIN, message, signature)


def credentials(site: Site, name: str, pen: Identity, charter: bytes = b"") -> Credentials:
    return Credentials(
        name, charter or site.charter.digest, lambda message: pen.sign(labels.LINK_LOGIN, message)
    )


def dial(site: Site, name: str, *, tls: Identity, pen: Identity, charter: bytes = b"") -> WebSocketEndpoint:
    """Dial as `name`, with one identity's certificate and one's signing key."""
    card = site.charter.relay.card
    return WebSocketEndpoint(
        site.charter.relay.url,
        credentials=credentials(site, name, pen, charter),
        relay="relay",
        pin=card.certificate_fingerprint,
        verify=verify(site),
        ssl_context=tls.ssl_client_context([card.certificate]),
        patience=CALM,
        proxy=None,
    )


def test_a_certificate_outside_the_charter_gets_no_connection(site: Site, relay: Relay) -> None:
    own = site.people[TRIO[0]]
    with pytest.raises(TransportError):
        dial(site, TRIO[0], tls=stranger(site, TRIO[0]), pen=own)
    assert relay.server.endpoint.parties()[TRIO[0]] == "awaited"
    assert TRIO[0] not in relay.server.traffic.from_party
    dial(site, TRIO[0], tls=own, pen=own).leave()  # the door itself is open


@pytest.mark.parametrize(
    ("name", "tls", "pen", "reason"),
    [
        (TRIO[0], TRIO[1], TRIO[0], "name"),
        (TRIO[0], TRIO[1], TRIO[1], "name"),
        (TRIO[0], TRIO[0], "stranger", "key"),
        ("stranger", TRIO[0], TRIO[0], "name"),
        ("relay", TRIO[0], TRIO[0], "name"),
    ],
)
def test_nobody_comes_in_under_another_name(
    site: Site, relay: Relay, name: str, tls: str, pen: str, reason: str
) -> None:
    people = {**site.people, "stranger": stranger(site, "stranger")}
    with pytest.raises(NotAdmitted) as refusal:
        dial(site, name, tls=people[tls], pen=people[pen])
    assert refusal.value.reason == reason
    assert set(relay.server.endpoint.parties().values()) == {"awaited"}


def test_another_charter_is_refused(site: Site, relay: Relay) -> None:
    own = site.people[TRIO[0]]
    with pytest.raises(NotAdmitted) as refusal:
        dial(site, TRIO[0], tls=own, pen=own, charter=b"c" * 32)
    assert refusal.value.reason == "charter"


def test_a_relay_with_another_certificate_is_not_spoken_to(site: Site) -> None:
    """Somebody who took over the relay's address: members stop before they say anything."""
    false, own = stranger(site, "relay"), site.people[TRIO[0]]
    cards = site.charter.members
    server = RelayServer(
        "127.0.0.1",
        site.port,
        ssl_context=false.ssl_server_context([card.certificate for card in cards]),
        members={card.certificate_fingerprint: card.name for card in cards},
        credentials=credentials(site, "relay", false),
        verify=verify(site),
        patience=CALM,
    )
    server.start()
    try:
        with pytest.raises(PinMismatch):
            dial(site, TRIO[0], tls=own, pen=own)
        process = site.join(TRIO[0], "rounds=1")
        assert process.end() == 2
        (line,) = process.last_lines
        assert line.startswith("error [SILO-312]: ")
        assert not server.traffic.from_party
    finally:
        server.stop()


def test_two_models_are_named(site: Site) -> None:
    site.relay()
    members = [site.join(TRIO[0], "rounds=2", "start=0.25"), *(site.join(n, "rounds=2") for n in TRIO[1:])]
    for process in members:
        assert process.end() == 1, process.stderr
        assert process.last_lines[0].split() == ["who:", TRIO[0]]
        assert "SILO-213" in process.last_lines[1]
        assert "unlike models" in process.last_lines[1]
        assert len(process.last_lines) <= 5
    assert all(not site.rounds(name) for name in TRIO)
