"""Connections break anywhere; messages arrive once, whole and in order, or somebody is gone."""

from __future__ import annotations

import random
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from silo.transport.base import Delivery, Patience, Presence, Reset
from silo.transport.errors import RelayLost, RelayUnreachable
from tests.silo.transport.chaos import ChaosProxy
from tests.silo.transport.sites import drain, message, next_of, noise, presence, site


@pytest.mark.parametrize("seed", range(4))
def test_every_message_arrives_once_however_often_the_connection_is_cut(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    with site(tmp_path) as here:
        server = here.relay()
        cuts = [
            draw.choice((0, 1, 700, 2500, 5000, 60_000, 900_000, 2_500_000)) + draw.randrange(500)
            for _ in range(8)
        ]
        chaos = ChaosProxy(server.port, [1 << 20, *cuts])
        here.opened.append(chaos.stop)
        mercy, clinic = here.member("mercy", chaos.port), here.member("clinic", server.port)
        ups = [bytes([number]) * draw.choice((1, 3000, 400_000, 1_500_000)) for number in range(12)]
        for payload in ups:
            mercy.send("relay", payload)
            mercy.send("clinic", payload[::2])
            server.endpoint.send("mercy", payload + b"!")
        for payload in ups:
            assert message(server.endpoint, 60) == ("mercy", payload)
            assert message(clinic, 60) == ("mercy", payload[::2])
            assert message(mercy, 60) == ("relay", payload + b"!")
        assert mercy.traffic.reconnects >= 1
        assert clinic.parties()["mercy"] == "present"


def test_a_delayed_link_loses_nothing(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        server = here.relay()
        chaos = ChaosProxy(server.port, [300_000], delay=0.002)
        here.opened.append(chaos.stop)
        mercy = here.member("mercy", chaos.port)
        payload = noise(900_000)
        mercy.send("relay", payload)
        assert message(server.endpoint) == ("mercy", payload)


def test_a_lost_member_is_away_and_then_present_again(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        server = here.relay()
        chaos = ChaosProxy(server.port, [100_000])
        here.opened.append(chaos.stop)
        clinic = here.member("clinic", server.port)
        mercy = here.member("mercy", chaos.port)
        presence(clinic, "mercy", "present")
        mercy.send("relay", noise(200_000))
        for who in (clinic, server.endpoint):
            presence(who, "mercy", "away")
            assert presence(who, "mercy", "present").code == ""
        presence(mercy, "relay", "away")
        presence(mercy, "relay", "present")
        assert len(message(server.endpoint)[1]) == 200_000


def test_a_member_that_does_not_come_back_is_gone(tmp_path: Path) -> None:
    # A member also comes in within its patience, on a busy machine too.
    short = Patience(reconnect=1.5, silence=5, work=60)
    with site(tmp_path) as here:
        server = here.relay(patience=short)
        chaos = ChaosProxy(server.port)
        clinic = here.member("clinic", server.port)
        mercy = here.member("mercy", chaos.port, patience=short)
        presence(clinic, "mercy", "present")
        chaos.stop()
        assert presence(clinic, "mercy", "gone").code == "SILO-303"
        assert presence(server.endpoint, "mercy", "gone").code == "SILO-303"
        assert presence(mercy, "relay", "gone").code == "SILO-303"
        with pytest.raises(RelayLost, match="refused"):
            mercy.receive(20)
        with pytest.raises(RelayLost):
            mercy.send("relay", b"x")


def test_a_relay_that_comes_back_as_a_new_process_resets_everybody(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        first = here.relay()
        mercy, clinic = here.member("mercy", first.port), here.member("clinic", first.port)
        presence(mercy, "clinic", "present")
        before = mercy.epoch
        first.endpoint.send("mercy", b"old")
        first.stop()
        second = here.relay(first.port)
        resets = [next_of(who, Reset) for who in (mercy, clinic)]
        assert {reset.epoch for reset in resets} == {second.endpoint.epoch} == {mercy.epoch} != {before}
        _until_present(second, "mercy", "clinic")
        mercy.send("clinic", b"again")
        assert message(clinic) == ("mercy", b"again")
        second.endpoint.send("mercy", b"new")
        assert message(mercy) == ("relay", b"new")


def test_a_member_waits_for_a_relay_that_starts_later(tmp_path: Path) -> None:
    import threading

    with site(tmp_path) as here:
        first = here.relay()
        first.stop()
        late = threading.Timer(0.3, here.relay, [first.port])
        late.start()
        mercy = here.member("mercy", first.port)
        late.join()
        assert mercy.parties()["relay"] == "present"


@pytest.mark.parametrize(("host", "cause"), [("localhost", "refused"), ("no-such-host.invalid", "dns")])
def test_an_unreachable_relay_is_named_with_the_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, cause: str
) -> None:
    real = socket.getaddrinfo

    def look_up(name: object, *arguments: Any, **options: Any) -> Any:
        # A computer without network may ask for longer than anybody waits here.
        if name == "no-such-host.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(name, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with site(tmp_path) as here:
        server = here.relay()
        server.stop()
        with pytest.raises(RelayUnreachable) as caught:
            here.member("mercy", server.port, host=host, patience=Patience(reconnect=0.3))
        assert (caught.value.host, caught.value.port, caught.value.cause) == (host, server.port, cause)


def test_a_frozen_member_is_silent_and_then_gone(tmp_path: Path) -> None:
    short = Patience(reconnect=0.2, silence=0.4, work=60)
    with site(tmp_path) as here:
        server = here.relay(patience=short)
        chaos = ChaosProxy(server.port)
        here.opened.append(chaos.stop)
        mercy = here.member("mercy", chaos.port, patience=Patience(reconnect=5, silence=60))
        clinic = here.member("clinic", server.port)
        presence(clinic, "mercy", "present")
        heard = server.endpoint.progress("mercy")
        chaos.frozen.set()  # as SIGSTOP: the connection stands, nothing comes
        assert presence(clinic, "mercy", "gone").code == "SILO-304"
        assert server.endpoint.progress("mercy") - heard < time.monotonic() - heard
        assert clinic.parties()["relay"] == "present"
        chaos.frozen.clear()
        del mercy


def test_a_silent_relay_is_recognised(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        server = here.relay()
        chaos = ChaosProxy(server.port)
        here.opened.append(chaos.stop)
        mercy = here.member("mercy", chaos.port, patience=Patience(reconnect=1.5, silence=0.3))
        chaos.frozen.set()
        with pytest.raises(RelayLost) as caught:
            drain(mercy)
        assert caught.value.code == "SILO-304"
        chaos.frozen.clear()


def test_an_idle_link_stays_up_longer_than_the_silence(tmp_path: Path) -> None:
    short = Patience(reconnect=5, silence=0.5)
    with site(tmp_path) as here:
        server = here.relay(patience=short)
        mercy = here.member("mercy", server.port, patience=short)
        presence(server.endpoint, "mercy", "present")
        heard = server.endpoint.progress("mercy")
        while (event := server.endpoint.receive(1.5)) is not None:
            assert not isinstance(event, Presence), event
        assert server.endpoint.progress("mercy") > heard
        assert mercy.traffic.reconnects == 0


def test_the_relay_says_goodbye(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        server = here.relay()
        mercy = here.member("mercy", server.port)
        server.endpoint.send("mercy", noise(3_000_000))
        server.endpoint.leave("SILO-201")
        assert len(message(mercy)[1]) == 3_000_000
        assert presence(mercy, "relay", "gone").code == "SILO-201"
        mercy.leave()


def test_leaving_does_not_wait_for_a_relay_that_is_not_there(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        server = here.relay()
        mercy = here.member("mercy", server.port, patience=Patience(reconnect=600))
        server.stop()
        presence(mercy, "relay", "away")
        mercy.leave()


def test_a_message_to_a_member_that_came_back_never_lacks_its_beginning(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        server = here.relay(window=2 << 20)
        mercy = here.member("mercy", server.port, window=2 << 20)
        first = here.member("clinic", server.port, window=2 << 20, inbox=0)
        presence(mercy, "clinic", "present")
        first_payload = noise(6 << 20)
        mercy.send("clinic", first_payload)
        second = here.member("clinic", server.port)
        mercy.send("clinic", b"whole")
        while (got := next_of(second, Delivery)).payload != b"whole":
            assert bytes(got.payload) == first_payload
        del first


def _until_present(server: object, *names: str) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if all(server.endpoint.parties()[name] == "present" for name in names):  # type: ignore[attr-defined]
            return
        time.sleep(0.01)
    raise AssertionError(names)
