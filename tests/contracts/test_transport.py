"""What every transport promises, asked of the in-memory one and of the one over sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from silo.transport.base import Delivery, Endpoint, TransportError
from silo.transport.memory import Hub
from tests.silo.transport.sites import Site, drain, message, next_of, noise, presence


class Federation(Protocol):
    relay: Endpoint

    def join(self, name: str) -> Endpoint: ...


class InMemory:
    def __init__(self) -> None:
        self.hub = Hub()
        self.relay = self.hub.endpoint("relay")

    def join(self, name: str) -> Endpoint:
        return self.hub.endpoint(name)


class OverSockets:
    def __init__(self, site: Site) -> None:
        self.site = site
        self.server = site.relay()
        self.relay = self.server.endpoint

    def join(self, name: str) -> Endpoint:
        endpoint = self.site.member(name, self.server.port)
        until = time.monotonic() + 20
        while self.relay.parties().get(name) != "present" and time.monotonic() < until:
            time.sleep(0.005)
        return endpoint


@pytest.fixture(params=["memory", "websocket"])
def federation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Federation]:
    if request.param == "memory":
        yield InMemory()
        return
    site = Site(tmp_path)
    try:
        yield OverSockets(site)
    finally:
        site.close()


def test_messages_arrive_whole_once_and_in_order(federation: Federation) -> None:
    mercy, clinic = federation.join("mercy"), federation.join("clinic")
    sent = [noise(size) for size in (0, 1, 1000, 1 << 20, (1 << 20) + 1, 3_000_000, 5)]
    for payload in sent:
        mercy.send("relay", payload)
        mercy.send("clinic", payload)
        federation.relay.send("mercy", payload)
    for payload in sent:
        assert message(federation.relay) == ("mercy", payload)
        assert message(clinic) == ("mercy", payload)
        assert message(mercy) == ("relay", payload)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_bytes_may_be_sent_and_what_arrives_is_read_only(federation: Federation, kind: type) -> None:
    mercy = federation.join("mercy")
    mercy.send("relay", kind(b"abc"))
    delivery = next_of(federation.relay, Delivery)
    assert bytes(delivery.payload) == b"abc"
    with pytest.raises(TypeError):
        delivery.payload[0] = 1


def test_a_buffer_may_be_reused_after_it_was_sent(federation: Federation) -> None:
    mercy = federation.join("mercy")
    buffer = bytearray(b"a" * 2_000_000)
    mercy.send("relay", buffer)
    buffer[:] = b"b" * len(buffer)
    assert message(federation.relay) == ("mercy", b"a" * 2_000_000)


def test_presence_is_told_to_those_who_are_there_and_to_those_who_come(federation: Federation) -> None:
    mercy = federation.join("mercy")
    assert presence(federation.relay, "mercy", "present").code == ""
    clinic = federation.join("clinic")
    presence(mercy, "clinic", "present")
    presence(clinic, "mercy", "present")
    assert clinic.parties()["mercy"] == "present"
    assert clinic.parties()["relay"] == "present"
    assert "clinic" not in clinic.parties()
    mercy.leave("SILO-201")
    for who in (clinic, federation.relay):
        assert presence(who, "mercy", "gone").code == "SILO-201"
        assert who.parties()["mercy"] == "gone"


def test_what_was_sent_before_leaving_arrives(federation: Federation) -> None:
    mercy, clinic = federation.join("mercy"), federation.join("clinic")
    last = noise(4_000_000)
    mercy.send("relay", last)
    mercy.send("clinic", last)
    mercy.leave()
    mercy.leave()
    for who in (federation.relay, clinic):
        assert message(who) == ("mercy", last)
    with pytest.raises(TransportError):
        mercy.send("relay", b"late")
    with pytest.raises(TransportError):
        drain(mercy)


def test_sending_to_whoever_is_gone_is_no_error(federation: Federation) -> None:
    mercy, clinic = federation.join("mercy"), federation.join("clinic")
    clinic.leave()
    presence(mercy, "clinic", "gone")
    mercy.send("clinic", b"too late")
    mercy.send("relay", b"on")
    assert message(federation.relay) == ("mercy", b"on")


def test_a_new_process_takes_the_seat(federation: Federation) -> None:
    clinic, old = federation.join("clinic"), federation.join("mercy")
    presence(clinic, "mercy", "present")
    new = federation.join("mercy")
    for who in (clinic, federation.relay):
        assert presence(who, "mercy", "gone").code == "SILO-302"
        presence(who, "mercy", "present")
    new.send("clinic", b"new")
    assert message(clinic) == ("mercy", b"new")
    with pytest.raises(TransportError):
        keep_sending(old)


def test_nothing_comes_within_the_timeout(federation: Federation) -> None:
    mercy = federation.join("mercy")
    while mercy.receive(0.2) is not None:
        pass
    assert mercy.receive(0.01) is None


def test_both_may_send_much_before_either_receives(federation: Federation) -> None:
    mercy, clinic = federation.join("mercy"), federation.join("clinic")
    payload = noise(20_000_000)
    other = threading.Thread(target=clinic.send, args=("mercy", payload))
    other.start()
    mercy.send("clinic", payload)
    other.join()
    assert message(mercy) == ("clinic", payload)
    assert message(clinic) == ("mercy", payload)


def test_traffic_counts_payloads_and_progress_is_recent(federation: Federation) -> None:
    before = time.monotonic()
    mercy = federation.join("mercy")
    mercy.send("relay", b"x" * 1000)
    message(federation.relay)
    federation.relay.send("mercy", b"y" * 500)
    message(mercy)
    assert (mercy.traffic.payload_sent, mercy.traffic.payload_received) == (1000, 500)
    assert (federation.relay.traffic.payload_sent, federation.relay.traffic.payload_received) == (500, 1000)
    assert mercy.traffic.bytes_sent >= 1000
    assert before <= federation.relay.progress("mercy") <= time.monotonic()
    assert before <= mercy.progress("relay") <= time.monotonic()
    assert mercy.epoch == federation.relay.epoch
    assert len(bytes.fromhex(mercy.epoch)) == 16


def keep_sending(endpoint: Endpoint) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        endpoint.send("clinic", b"old")
        time.sleep(0.01)
