"""`silo doctor` against real sockets: each cause is told apart from the others."""

from __future__ import annotations

import email.utils
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from silo.charter import Charter, Relay
from silo.cli import cli
from silo.crypto.rng import SystemRng
from silo.doctor import machine, network
from silo.doctor.network import Route
from silo.identity import Identity
from tests.silo.federation import MEMBERS, NOW, YEAR, charter, identities, identity, signed


class Door:
    """A TLS server that answers a request with an HTTP head and its date; without `context` it hangs up."""

    def __init__(self, context: ssl.SSLContext | None, date: datetime | None = None) -> None:
        self._context, self._fixed = context, date
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def _date(self) -> datetime:
        return self._fixed or datetime.now(NOW.tzinfo)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                plain = self._listener.accept()[0]
            except TimeoutError:
                continue
            plain.settimeout(2)
            try:
                self._answer(plain)
            except OSError:
                pass
            finally:
                plain.close()

    def _answer(self, plain: socket.socket) -> None:
        if self._context is None:
            return
        with self._context.wrap_socket(plain, server_side=True) as tunnel:
            if tunnel.recv(4096):
                stamp = email.utils.format_datetime(self._date, usegmt=True)
                tunnel.sendall(f"HTTP/1.1 426 Upgrade Required\r\nDate: {stamp}\r\n\r\n".encode())

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._listener.close()


class Proxy(Door):
    """An HTTP proxy that answers CONNECT with `status` and, for 200, passes bytes on."""

    def __init__(self, status: str) -> None:
        self._status = status
        super().__init__(None)

    def _answer(self, plain: socket.socket) -> None:
        request = plain.recv(4096).decode()
        plain.sendall(f"HTTP/1.1 {self._status}\r\n\r\n".encode())
        if not (request and self._status.startswith("200")):
            return
        host, port = request.split()[1].rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=2) as onward:
            back = threading.Thread(target=self._pump, args=(onward, plain))
            back.start()
            self._pump(plain, onward)
            back.join()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(4096):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@pytest.fixture
def people(tmp_path: Path) -> dict[str, Identity]:
    return identities(tmp_path)


@pytest.fixture
def doors() -> Iterator[list[Door]]:
    opened: list[Door] = []
    yield opened
    for door in opened:
        door.close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def pins(people: dict[str, Identity], *names: str) -> list[str]:
    return [people[name].card.certificate for name in names or MEMBERS]


def examine(
    people: dict[str, Identity], url: str, *words: str, **options: Any
) -> tuple[int, dict[str, Any], Any]:
    """Run the command as mercy: exit code, the state of each check, and the whole document."""
    agreed = charter(people, relay=Relay(people["relay"].card, url), **options)
    signed(agreed, people).save("charter.toml")
    result = CliRunner().invoke(
        cli, ["doctor", "--charter", "charter.toml", "--identity", "mercy", "--json", *words]
    )
    document = json.loads(result.stdout)
    return result.exit_code, {row["check"]: row["state"] for row in document["findings"]}, document


def found(document: Any, check: str) -> Any:
    return next(row for row in document["findings"] if row["check"] == check)


def test_all_is_well(people: dict[str, Identity], doors: list[Door]) -> None:
    doors.append(Door(people["relay"].ssl_server_context(pins(people))))
    code, states, document = examine(people, f"wss://localhost:{doors[0].port}")
    assert code == 0, document
    assert set(states.values()) <= {"ok", "warning"}
    assert states["interception"] == states["relay"] == states["clock of the relay"] == states["TCP"] == "ok"
    assert "outgoing only: TCP to localhost" in document["network_team"]
    assert people["relay"].card.certificate_fingerprint in document["network_team"]


def test_dns(people: dict[str, Identity]) -> None:
    code, states, document = examine(people, "wss://no-such-host.invalid:8443")
    assert code == 1
    assert (states["DNS"], states["relay"]) == ("failed", "skipped")
    assert "TCP" not in states
    assert "no-such-host.invalid" in found(document, "DNS")["found"]


def test_dns_that_never_answers(people: dict[str, Identity], monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(network, "STEP_SECONDS", 0.1)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(10) and [])
    _, states, document = examine(people, "wss://localhost:8443")
    released.set()
    assert states["DNS"] == "failed"
    assert "no answer" in found(document, "DNS")["found"]


def test_tcp_refused(people: dict[str, Identity]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code, states, document = examine(people, f"wss://127.0.0.1:{port}")
    assert (code, states["DNS"], states["TCP"]) == (1, "ok", "failed")
    assert "start the relay" in found(document, "TCP")["advice"]


def test_tcp_dropped(people: dict[str, Identity], monkeypatch: pytest.MonkeyPatch) -> None:
    def drop(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(socket.socket, "connect", drop)
    _, states, document = examine(people, "wss://127.0.0.1:8443")
    assert states["TCP"] == "failed"
    assert "firewall" in found(document, "TCP")["advice"]


def test_tls_cut(people: dict[str, Identity], doors: list[Door]) -> None:
    doors.append(Door(None))
    code, states, _ = examine(people, f"wss://127.0.0.1:{doors[0].port}")
    assert (code, states["TCP"], states["TLS"]) == (1, "ok", "failed")
    assert "interception" not in states


def inspector(home: Path, people: dict[str, Identity]) -> ssl.SSLContext:
    return identity(home / "inspector", "inspector").ssl_server_context(pins(people))


def test_interception_shows_both_fingerprints(
    people: dict[str, Identity], doors: list[Door], tmp_path: Path
) -> None:
    doors.append(Door(inspector(tmp_path, people)))
    url = f"wss://127.0.0.1:{doors[0].port}"
    code, states, document = examine(people, url)
    assert (code, states["TLS"], states["interception"], states["relay"]) == (1, "ok", "failed", "skipped")
    row = found(document, "interception")
    pinned = people["relay"].card.certificate_fingerprint.replace(":", "").lower()[:16]
    assert f"the charter pins SHA-256 {pinned}" in row["found"]
    assert "CN=inspector" in row["found"]
    assert "exempt 127.0.0.1" in row["advice"]
    allowed = Charter.read("charter.toml")
    assert network._judge(people["clinic"].card.der, allowed).state == "failed"
    relay = Relay(people["relay"].card, url, allow_interception=True)
    assert network._judge(people["clinic"].card.der, charter(people, relay=relay)).state == "warning"


def test_a_renewed_relay_is_not_taken_for_interception(
    people: dict[str, Identity], doors: list[Door], tmp_path: Path
) -> None:
    renewed = identity(tmp_path / "renewed", "relay", rng=SystemRng())
    doors.append(Door(renewed.ssl_server_context(pins(people))))
    _, states, document = examine(people, f"wss://127.0.0.1:{doors[0].port}")
    assert states["interception"] == "failed"
    assert "renewed" in found(document, "interception")["advice"]


def test_a_relay_that_does_not_admit_us(people: dict[str, Identity], doors: list[Door]) -> None:
    doors.append(Door(people["relay"].ssl_server_context(pins(people, "clinic"))))
    code, states, document = examine(people, f"wss://127.0.0.1:{doors[0].port}")
    assert (code, states["interception"], states["relay"]) == (1, "ok", "failed")
    assert "does not admit mercy" in found(document, "relay")["found"]


@pytest.mark.parametrize(
    ("away", "state"), [(30, "ok"), (120, "warning"), (3600, "failed"), (-3600, "failed")]
)
def test_clock_skew(people: dict[str, Identity], doors: list[Door], away: int, state: str) -> None:
    context = people["relay"].ssl_server_context(pins(people))
    doors.append(Door(context, datetime.now(NOW.tzinfo) + timedelta(seconds=away)))
    code, states, _ = examine(people, f"wss://127.0.0.1:{doors[0].port}")
    assert states["clock of the relay"] == state
    assert code == (state == "failed")


def test_a_clock_before_the_charter(people: dict[str, Identity]) -> None:
    later = charter(people, now=NOW, expires=NOW + YEAR)
    assert machine.check_clock(later, NOW - timedelta(days=2)).state == "failed"
    assert machine.check_clock(later, NOW + YEAR * 2).state == "failed"
    assert machine.check_clock(later, NOW).state == "ok"


@pytest.mark.parametrize(
    ("status", "advice"), [("403 Forbidden", "CONNECT to 127.0.0.1"), ("407 Login", "wants a login")]
)
def test_a_proxy_that_refuses(
    people: dict[str, Identity],
    doors: list[Door],
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    advice: str,
) -> None:
    doors.append(Proxy(status))
    monkeypatch.setenv("HTTPS_PROXY", f"http://localhost:{doors[0].port}")
    _, states, document = examine(people, "wss://127.0.0.1:9")
    assert (states["proxy"], states["proxy tunnel"]) == ("ok", "failed")
    assert advice in found(document, "proxy tunnel")["advice"]
    assert "through the proxy localhost" in document["network_team"]


def test_through_a_proxy(
    people: dict[str, Identity], doors: list[Door], monkeypatch: pytest.MonkeyPatch
) -> None:
    doors.append(Door(people["relay"].ssl_server_context(pins(people))))
    doors.append(Proxy("200 OK"))
    monkeypatch.setenv("HTTPS_PROXY", f"http://localhost:{doors[1].port}")
    code, states, document = examine(people, f"wss://127.0.0.1:{doors[0].port}")
    assert code == 0, document
    assert states["proxy tunnel"] == states["interception"] == "ok"


def test_the_proxy_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Route.to("wss://relay.example:8443").proxy is None
    monkeypatch.setenv("HTTPS_PROXY", "http://us%3Aer:pass@proxy.example:3128")
    route = Route.to("wss://relay.example:8443")
    assert route.first == ("proxy.example", 3128)
    assert route.proxy is not None
    assert route.proxy[2] == "dXM6ZXI6cGFzcw=="
    monkeypatch.setenv("NO_PROXY", "relay.example")
    assert Route.to("wss://relay.example:8443").proxy is None


def test_an_identity_that_the_charter_does_not_know(people: dict[str, Identity], tmp_path: Path) -> None:
    signed(charter(people), people).save("charter.toml")
    identity(tmp_path / "more", "mercy")
    result = CliRunner().invoke(cli, ["doctor", "--charter", "charter.toml", "--identity", "more/mercy"])
    assert result.exit_code == 1
    assert "FAILED   identity: the charter names another mercy" in result.stdout


def test_a_disk_that_cannot_hold_the_journal(tmp_path: Path) -> None:
    assert machine.check_disk(tmp_path).state in ("ok", "warning")
    assert not list(tmp_path.glob(".silo-doctor*"))
    assert machine.check_disk(tmp_path / "absent").state == "failed"


def test_without_a_charter_the_machine_is_examined() -> None:
    result = CliRunner().invoke(cli, ["doctor", "--json"])
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["ok"] is True
    assert {row["check"] for row in document["findings"]} == {"version", "extras", "processor", "disk"}
