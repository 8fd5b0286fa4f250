"""Who is let in, who is refused, and what both are told. Every attack fails closed."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from silo.crypto import labels
from silo.crypto.errors import ParameterError
from silo.transport.base import Patience, TransportError
from silo.transport.errors import (
    CertificateExpired,
    NotAdmitted,
    PinMismatch,
    PortInUse,
    RelayUnreachable,
    TakenOver,
    VersionMismatch,
)
from silo.transport.wire import frames
from silo.transport.wire.login import Credentials, fingerprint
from tests.silo.federation import identity
from tests.silo.transport.sites import CHARTER, LONG_AGO, Site, drain, message, presence, site


def _never_seen(server: Any, name: str = "mercy") -> None:
    assert server.endpoint.parties()[name] == "awaited"


def test_another_relay_certificate_is_refused_with_both_fingerprints(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        server = here.relay()
        other = identity(tmp_path / "other", "relay").card
        context = here.people["mercy"].ssl_client_context([other.certificate])
        with pytest.raises(PinMismatch) as caught:
            here.member("mercy", server.port, ssl_context=context, pin=other.certificate_fingerprint)
        assert caught.value.expected == fingerprint(other.der)
        assert caught.value.found == fingerprint(here.people["relay"].card.der)
        _never_seen(server)


def test_the_pin_counts_also_where_the_context_trusts_the_certificate(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        server = here.relay()
        with pytest.raises(PinMismatch):
            here.member("mercy", server.port, pin="00" * 32)
        _never_seen(server)


def test_a_stranger_is_refused(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        server = here.relay()
        stranger = identity(tmp_path / "stranger", "mercy")
        with pytest.raises(NotAdmitted) as caught:
            here.member("mercy", server.port, stranger)
        assert caught.value.reason == "certificate"
        _never_seen(server)


def test_a_certificate_that_tls_trusts_but_the_table_does_not_know_is_refused(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        stranger = identity(tmp_path / "stranger", "stranger")
        pems = [here.people["mercy"].card.certificate, stranger.card.certificate]
        server = here.relay(ssl_context=here.people["relay"].ssl_server_context(pems))
        with pytest.raises(NotAdmitted) as caught:
            here.member("stranger", server.port, stranger)
        assert caught.value.reason == "certificate"


def test_no_certificate_no_admission(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        server = here.relay()
        bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        bare.check_hostname = False
        bare.load_verify_locations(cadata=here.people["relay"].card.certificate)
        bare.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        with pytest.raises(NotAdmitted):
            here.member("mercy", server.port, ssl_context=bare)
        _never_seen(server)


def test_an_expired_relay_is_named(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        old = identity(tmp_path / "old", "relay", now=LONG_AGO)
        here.people["relay"] = old
        with pytest.raises(CertificateExpired, match="relay"):
            here.relay()
        silent = Credentials("relay", CHARTER, here.credentials(old).sign)
        server = here.relay(credentials=silent)
        with pytest.raises(CertificateExpired) as caught:
            here.member("mercy", server.port)
        assert (caught.value.name, caught.value.ends) == ("relay", old.card.expires)
        _never_seen(server)


def test_an_expired_member_is_named_there_and_refused_here(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        here.people["mercy"] = identity(tmp_path / "old", "mercy", now=LONG_AGO)
        server = here.relay()
        with pytest.raises(CertificateExpired, match="mercy"):
            here.member("mercy", server.port)
        silent = Credentials("mercy", CHARTER, here.credentials(here.people["mercy"]).sign)
        with pytest.raises(NotAdmitted):
            here.member("mercy", server.port, credentials=silent)
        _never_seen(server)


def test_a_wrong_signing_key_is_refused(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        server = here.relay()
        thief = identity(tmp_path / "thief", "mercy", rng=_other_rng())
        with pytest.raises(NotAdmitted) as caught:
            here.member("mercy", server.port, credentials=here.credentials(thief))
        assert caught.value.reason == "key"
        _never_seen(server)


def test_a_relay_without_its_signing_key_is_refused(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        thief = identity(tmp_path / "thief", "relay", rng=_other_rng())
        server = here.relay(credentials=here.credentials(thief))
        with pytest.raises(NotAdmitted) as caught:
            here.member("mercy", server.port)
        assert caught.value.reason == "relay-key"


def test_one_member_cannot_log_in_as_another(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        server = here.relay()
        with pytest.raises(NotAdmitted) as caught:
            here.member("mercy", server.port, ssl_context=_context(here, "clinic"))
        assert caught.value.reason == "name"
        _never_seen(server)


def test_another_charter_is_refused(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        server = here.relay()
        who = here.people["mercy"]
        with pytest.raises(NotAdmitted, match="charter"):
            here.member("mercy", server.port, credentials=here.credentials(who, b"d" * 32))
        _never_seen(server)


@pytest.mark.parametrize("side", ["member", "relay"])
def test_another_major_version_is_refused_and_both_are_named(
    tmp_path: Path, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site(tmp_path) as here:
        server = here.relay()
        encode = frames.encode_login
        kinds = (frames.Challenge, frames.Welcome) if side == "member" else (frames.Login,)

        def from_the_future(frame: frames.LoginFrame) -> bytes:
            raw = bytearray(encode(frame))
            if isinstance(frame, kinds) or (side == "relay" and isinstance(frame, frames.Refused)):
                raw[1:5] = b"\x00\x02\x00\x07"
            return bytes(raw)

        monkeypatch.setattr(frames, "encode_login", from_the_future)
        with pytest.raises(VersionMismatch, match=r"2\.7.*1\.0") as caught:
            here.member("mercy", server.port)
        assert caught.value.theirs == (2, 7)
        _never_seen(server)


def test_another_minor_version_is_welcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with site(tmp_path) as here:
        server = here.relay()
        encode = frames.encode_login
        monkeypatch.setattr(
            frames, "encode_login", lambda frame: (raw := encode(frame))[:3] + b"\x00\x09" + raw[5:]
        )
        mercy = here.member("mercy", server.port)
        mercy.send("relay", b"hello")
        assert message(server.endpoint) == ("mercy", b"hello")


def test_the_older_of_two_processes_is_told_so(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        server = here.relay()
        old = here.member("mercy", server.port)
        here.member("mercy", server.port)
        with pytest.raises(TakenOver, match="the relay says that mercy is already connected"):
            drain(old)
        assert old.parties()["relay"] == "present"  # it is not the relay that has gone
        assert server.endpoint.parties()["mercy"] == "present"


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        server = here.relay()
        with pytest.raises(PortInUse, match=str(server.port)):
            here.relay(server.port)


def test_an_unknown_recipient_is_a_mistake_here_not_a_frame(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        server = here.relay()
        mercy = here.member("mercy", server.port)
        for endpoint in (mercy, server.endpoint):
            with pytest.raises(ParameterError, match="nobody"):
                endpoint.send("nobody", b"x")


def test_behind_an_inspecting_proxy_the_signing_keys_decide(tmp_path: Path) -> None:
    """No client certificate arrives, the certificate shown is the proxy's: only where both sides allow it."""
    with site(tmp_path) as here:
        shown = identity(tmp_path / "proxy", "relay")
        context = shown.ssl_server_context([here.people["mercy"].card.certificate])
        context.verify_mode = ssl.CERT_OPTIONAL
        seen = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        seen.check_hostname = False
        seen.load_verify_locations(cadata=shown.card.certificate)
        seen.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        strict = here.relay(ssl_context=context)
        with pytest.raises(NotAdmitted):
            here.member("mercy", strict.port, ssl_context=seen, allow_interception=True)
        server = here.relay(ssl_context=context, allow_interception=True)
        with pytest.raises(PinMismatch):
            here.member("mercy", server.port, ssl_context=seen)
        thief = identity(tmp_path / "thief", "mercy", rng=_other_rng())
        with pytest.raises(NotAdmitted):
            here.member(
                "mercy",
                server.port,
                ssl_context=seen,
                allow_interception=True,
                credentials=here.credentials(thief),
            )
        _never_seen(server)
        mercy = here.member("mercy", server.port, ssl_context=seen, allow_interception=True)
        mercy.send("relay", b"through")
        assert message(server.endpoint) == ("mercy", b"through")


def test_a_login_cannot_be_replayed(tmp_path: Path) -> None:
    """Whoever recorded a login inside the tunnel cannot use it again: the relay's nonce is another one."""
    with site(tmp_path) as here:
        server = here.relay()
        recorded: list[bytes] = []
        own = here.credentials(here.people["mercy"])

        def sign(proof: bytes) -> bytes:
            recorded.append(own.sign(proof))
            return recorded[-1]

        here.member("mercy", server.port, credentials=Credentials("mercy", CHARTER, sign)).leave()
        assert presence(server.endpoint, "mercy", "gone").code == ""
        login = frames.Login("mercy", CHARTER, b"n" * 32, bytes(16), 0, recorded[0])
        answer = asyncio.run(_speak(here, server.port, frames.encode_login(login)))
        assert frames.decode_login(answer) == frames.Refused((1, 0), "key")
        assert server.endpoint.parties()["mercy"] == "gone"


@pytest.mark.parametrize("raw", [b"", b"\x02", b"\xff" * 40, b"x" * 600, frames.encode_ack(1)])
def test_garbage_instead_of_a_login_is_refused(tmp_path: Path, raw: bytes) -> None:
    with site(tmp_path) as here:
        server = here.relay()
        answer = frames.decode_login(asyncio.run(_speak(here, server.port, raw)))
        assert isinstance(answer, frames.Refused)
        _never_seen(server)


def test_an_http_proxy_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with site(tmp_path) as here:
        server = here.relay()
        listener = socket.create_server(("127.0.0.1", 0))
        asked: list[bytes] = []
        thread = threading.Thread(target=_proxy, args=(listener, server.port, asked))
        thread.start()
        for name in ("no_proxy", "NO_PROXY", "https_proxy", "HTTPS_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{listener.getsockname()[1]}")
        mercy = here.member("mercy", server.port, host="relay.example", proxy=True)
        mercy.send("relay", b"through the proxy")
        assert message(server.endpoint) == ("mercy", b"through the proxy")
        mercy.leave()
        thread.join()
        listener.close()
        assert asked[0].startswith(b"CONNECT relay.example:")


def test_a_proxy_that_refuses_is_named(tmp_path: Path) -> None:
    with site(tmp_path) as here, socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
        nobody.close()
        with pytest.raises(RelayUnreachable):
            here.member("mercy", 1, proxy=f"http://127.0.0.1:{port}", patience=Patience(reconnect=0.2))


def test_nothing_is_left_running(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with site(tmp_path) as here:
        server = here.relay()
        mercy = here.member("mercy", server.port)
        with pytest.raises(TransportError):
            here.member("mercy", server.port, pin="00" * 32)
        server.stop()
        server.stop()
        mercy.leave()
    until = time.monotonic() + 5
    while set(threading.enumerate()) - before and time.monotonic() < until:
        time.sleep(0.01)
    # A thread that an earlier test left behind may end meanwhile.
    assert set(threading.enumerate()) <= before


def test_credentials_do_not_show_how_to_sign() -> None:
    assert "sign" not in repr(Credentials("mercy", CHARTER, lambda message: message))
    assert labels.LINK_LOGIN


def _other_rng() -> Any:
    from silo.crypto.rng import InsecureSeededRng

    return InsecureSeededRng(99)


def _context(here: Site, name: str) -> ssl.SSLContext:
    return here.people[name].ssl_client_context([here.people["relay"].card.certificate])


async def _speak(here: Site, port: int, raw: bytes) -> bytes:
    async with connect(
        f"wss://localhost:{port}", ssl=_context(here, "mercy"), proxy=None, compression=None
    ) as connection:
        await connection.recv()
        await connection.send(raw)
        answer = await connection.recv(decode=False)
        return bytes(answer)


def _proxy(listener: socket.socket, port: int, asked: list[bytes]) -> None:
    from tests.silo.transport.chaos import pump

    near, _ = listener.accept()
    with near, socket.create_connection(("127.0.0.1", port)) as far:
        asked.append(near.recv(4096))
        near.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        pump(near, far)
