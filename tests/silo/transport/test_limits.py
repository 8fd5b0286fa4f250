"""Sizes, back-pressure, counters; and members that break the rules of the link."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from silo.transport.base import Delivery, Patience
from silo.transport.errors import LinkViolation, MessageTooLarge
from silo.transport.wire import frames, login
from silo.transport.wire.frames import Challenge, Login, Refused, Welcome
from tests.silo.transport.sites import CHARTER, Site, drain, message, next_of, noise, presence, site


def test_a_message_above_the_limit_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        server = here.relay(max_message=1000)
        mercy = here.member("mercy", server.port, max_message=1000)
        for endpoint, other in ((mercy, "relay"), (server.endpoint, "mercy")):
            with pytest.raises(MessageTooLarge) as caught:
                endpoint.send(other, bytes(1001))
            assert (caught.value.size, caught.value.limit) == (1001, 1000)
        mercy.send("relay", bytes(1000))
        assert message(server.endpoint) == ("mercy", bytes(1000))


def test_a_member_that_sends_too_large_a_message_is_put_out(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        server = here.relay(max_message=1000)
        mercy, clinic = here.member("mercy", server.port), here.member("clinic", server.port)
        presence(clinic, "mercy", "present")
        mercy.send("relay", bytes(2000))
        assert presence(clinic, "mercy", "gone").code == "SILO-316"
        with pytest.raises(LinkViolation):
            drain(mercy)
        clinic.send("relay", b"on")
        assert message(server.endpoint) == ("clinic", b"on")


Attack = Callable[[], list[bytes]]
ATTACKS: dict[str, Attack] = {
    "garbage": lambda: [b"\xff" * 20],
    "a skipped frame": lambda: [frames.data_head(5, 1, 0, 1, True, b"relay") + b"a"],
    "no first chunk": lambda: [frames.data_head(1, 1, 1, 9, False, b"relay") + b"a"],
    "a message for nobody": lambda: [frames.data_head(1, 1, 0, 1, True, b"nobody") + b"a"],
    "a message for itself": lambda: [frames.data_head(1, 1, 0, 1, True, b"mercy") + b"a"],
    "news of another": lambda: [frames.encode_news(1, "clinic", "gone", "SILO-303")],
    "an acknowledgement of the future": lambda: [frames.encode_ack(1 << 40)],
    "a huge claim": lambda: [frames.data_head(1, 1, 0, 1 << 60, False, b"relay") + b"a"],
    "a broken routed message": lambda: [
        frames.data_head(1, 1, 0, 9, False, b"clinic") + b"a",
        frames.data_head(2, 2, 1, 9, True, b"clinic") + b"12345678",
    ],
    "more than a frame": lambda: [bytes(frames.MAX_FRAME + 1)],
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_whoever_breaks_the_rules_is_put_out_and_nobody_else_is_hurt(tmp_path: Path, attack: Attack) -> None:
    with site(tmp_path) as here:
        server = here.relay(patience=Patience(reconnect=0.2, silence=5))
        clinic = here.member("clinic", server.port)
        asyncio.run(_log_in_and_send(here, server.port, attack()))
        assert presence(clinic, "mercy", "gone").code in ("SILO-315", "SILO-316", "SILO-303")
        clinic.send("relay", b"on")
        assert message(server.endpoint) == ("clinic", b"on")
        server.endpoint.send("clinic", b"and on")
        assert message(clinic) == ("relay", b"and on")


def test_a_slow_consumer_does_not_hold_up_the_others(tmp_path: Path) -> None:
    payload = noise(12 << 20)
    with site(tmp_path) as here:
        server = here.relay(window=1 << 20)
        slow = here.member("mercy", server.port, window=1 << 20, inbox=0)
        others = [here.member(name, server.port, window=1 << 20) for name in ("clinic", "northside")]
        presence(server.endpoint, "northside", "present")
        server.endpoint.send("mercy", payload)  # fills the slow one's inbox: it receives nothing yet
        for _ in range(3):
            server.endpoint.send("mercy", payload)
            for name in ("clinic", "northside"):
                server.endpoint.send(name, payload)
            for other in others:
                assert message(other) == ("relay", payload)
        others[0].send("northside", payload)
        assert message(others[1]) == ("clinic", payload)
        for _ in range(4):
            assert message(slow) == ("relay", payload)


def test_back_pressure_reaches_whoever_sends_to_a_slow_one(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        server = here.relay(window=1 << 20)
        slow = here.member("mercy", server.port, window=1 << 20, inbox=0)
        clinic = here.member("clinic", server.port, window=1 << 20)
        presence(clinic, "mercy", "present")
        sent: list[int] = []

        def push() -> None:
            for number in range(20):
                clinic.send("mercy", bytes(1 << 20))
                sent.append(number)

        thread = threading.Thread(target=push)
        thread.start()
        time.sleep(0.5)
        assert len(sent) < 20
        for _ in range(20):
            assert len(message(slow)[1]) == 1 << 20
        thread.join()
        assert len(sent) == 20


def test_a_member_that_takes_nothing_for_too_long_is_given_up(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        server = here.relay(window=1 << 20, backlog=1 << 20, patience=Patience(work=0.3))
        slow = here.member("mercy", server.port, window=1 << 20, inbox=0)
        presence(server.endpoint, "mercy", "present")
        for _ in range(4):
            server.endpoint.send("mercy", bytes(4 << 20))
        assert presence(server.endpoint, "mercy", "gone").code == "SILO-305"
        server.endpoint.send("mercy", b"dropped")
        del slow


def test_both_sides_count_the_same_bytes(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        server = here.relay()
        mercy, clinic = here.member("mercy", server.port), here.member("clinic", server.port)
        for size in (0, 10, 3_000_000):
            mercy.send("relay", bytes(size))
            mercy.send("clinic", bytes(size))
            server.endpoint.send("clinic", bytes(size))
        for _ in range(3):
            next_of(server.endpoint, Delivery)
        for _ in range(6):
            next_of(clinic, Delivery)
        mercy.leave()
        clinic.leave()
        server.stop()
        ours, theirs = server.traffic, (mercy.traffic, clinic.traffic)
        assert ours.bytes_received == sum(one.bytes_sent for one in theirs)
        assert ours.bytes_sent == sum(one.bytes_received for one in theirs)
        assert ours.per_party == {
            "mercy": theirs[0].per_party["relay"],
            "clinic": theirs[1].per_party["relay"],
        }
        assert theirs[0].payload_sent == 2 * 3_000_010
        assert theirs[1].payload_received == 2 * 3_000_010
        assert 2 * 3_000_010 < theirs[0].bytes_sent < 2 * 3_000_010 + 2000


async def _log_in_and_send(here: Site, port: int, raws: list[bytes]) -> None:
    """A member that knows the login and then does as it likes."""
    own = here.credentials(here.people["mercy"])
    context = here.people["mercy"].ssl_client_context([here.people["relay"].card.certificate])
    async with connect(f"wss://localhost:{port}", ssl=context, proxy=None, compression=None) as connection:
        challenge = frames.decode_login(await connection.recv(decode=False))
        assert isinstance(challenge, Challenge)
        asked = Login("mercy", CHARTER, bytes(32), bytes(16), 0, b"")
        asked = replace(asked, signature=own.sign(login.member_proof(challenge, asked)))
        await connection.send(frames.encode_login(asked))
        assert isinstance(frames.decode_login(await connection.recv(decode=False)), Welcome)
        try:
            for raw in raws:
                await connection.send(raw)
            while not isinstance(frames.decode(await connection.recv(decode=False)), Refused):
                pass
        except ConnectionClosed:
            return
