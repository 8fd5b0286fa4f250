"""The way to the relay, step by step: name, port, proxy, TLS, interception, admission, the relay's clock.

The first step that fails is the cause; the steps after it are skipped, as they would only repeat it.
"""

from __future__ import annotations

import base64
import email.utils
import hashlib
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote, urlsplit

from cryptography import x509

from silo.charter import Charter
from silo.doctor import Finding, State
from silo.errors import SiloError
from silo.identity import Identity

STEP_SECONDS = 2.0
"""Longest wait for one answer; the first step that fails ends the walk, so it stays within ten seconds."""
_CLOCK_WARNING = 60.0
_CLOCK_FAILED = 300.0


@dataclass(frozen=True, slots=True)
class Route:
    """Host and port of the relay, and the HTTP proxy on the way, if the environment names one."""

    host: str
    port: int
    proxy: tuple[str, int, str] | None

    @property
    def first(self) -> tuple[str, int]:
        return (self.proxy[0], self.proxy[1]) if self.proxy else (self.host, self.port)

    @classmethod
    def to(cls, url: str) -> Route:
        """Read the address, and the environment's proxy settings."""
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
        proxies: dict[str, str] = urllib.request.getproxies()
        named = proxies.get("https") or proxies.get("all") or ""
        if not named or urllib.request.proxy_bypass(host):
            return cls(host, port, None)
        proxy = urlsplit(named if "//" in named else f"http://{named}")
        login = ""
        if proxy.username is not None:
            pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
            login = base64.b64encode(pair.encode()).decode()
        return cls(host, port, (proxy.hostname or "", proxy.port or 8080, login))


def check_route(charter: Charter, identity: Identity | None, now: datetime) -> list[Finding]:
    """Walk the way to the charter's relay."""
    route = Route.to(charter.relay.url)
    findings: list[Finding] = []
    steps: list[Callable[[], list[Finding]]] = [
        lambda: _resolve(route),
        lambda: _connect(route),
        lambda: _tunnel(route),
        lambda: _handshake(route, charter),
    ]
    for step in steps:
        found = step()
        findings += found
        if any(finding.state == "failed" for finding in found):
            return [*findings, Finding("relay", "skipped", "not reached")]
    if identity is None:
        return [*findings, Finding("relay", "skipped", "give --identity to test whether it admits you")]
    return findings + _admission(route, charter, identity, now)


def _resolve(route: Route) -> list[Finding]:
    host = route.first[0]
    answers: list[str] = []
    problems: list[str] = []

    def ask() -> None:
        try:
            answers.extend(sorted({str(found[4][0]) for found in socket.getaddrinfo(*route.first)}))
        except (OSError, UnicodeError) as problem:
            problems.append(getattr(problem, "strerror", None) or type(problem).__name__)

    # The system's resolver has no time limit of its own.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(STEP_SECONDS)
    if answers:
        return [Finding("DNS", "ok", f"{host} is {', '.join(answers[:4])}")]
    why = problems[0] if problems else f"no answer in {STEP_SECONDS:.0f} s"
    advice = "check the spelling in the charter, then ask the network team for a DNS entry"
    return [Finding("DNS", "failed", f"{host} has no address here: {why}", advice)]


def _dial(route: Route) -> socket.socket:
    """Try the addresses of the first stop, all of them within one step. Raises `OSError`."""
    until = time.monotonic() + STEP_SECONDS
    problem: OSError = TimeoutError()
    for family, kind, protocol, _, address in socket.getaddrinfo(*route.first, type=socket.SOCK_STREAM):
        left = until - time.monotonic()
        if left <= 0:
            break
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(left)
        try:
            connection.connect(address)
        except OSError as one:
            connection.close()
            problem = one
            continue
        connection.settimeout(STEP_SECONDS)
        return connection
    raise problem


def _connect(route: Route) -> list[Finding]:
    host, port = route.first
    name = "proxy" if route.proxy else "TCP"
    try:
        _dial(route).close()
    except TimeoutError:
        advice = (
            f"a firewall drops the connection: ask the network team to allow outgoing TCP to {host}:{port}"
        )
        return [Finding(name, "failed", f"{host}:{port} does not answer", advice)]
    except ConnectionRefusedError:
        advice = "start the relay (`silo relay`), or correct the port in the charter"
        if route.proxy:
            advice = "correct the proxy in HTTPS_PROXY, or unset it"
        return [Finding(name, "failed", f"{host}:{port} refuses: nothing listens there", advice)]
    except OSError as problem:
        advice = f"ask the network team for a route to {host}:{port}"
        return [Finding(name, "failed", f"{host}:{port} is not reached: {problem.strerror}", advice)]
    return [Finding(name, "ok", f"{host}:{port} accepts connections")]


def _open(route: Route) -> socket.socket:
    """Dial, through the proxy when there is one. Raises `OSError`."""
    connection = _dial(route)
    if route.proxy is None:
        return connection
    try:
        login = f"Proxy-Authorization: Basic {route.proxy[2]}\r\n" if route.proxy[2] else ""
        target = f"{route.host}:{route.port}"
        connection.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{login}\r\n".encode())
        answer = _read_head(connection)
        words = answer.split("\r\n", 1)[0].split()
        if len(words) < 2 or words[1] != "200":
            raise ConnectionError(" ".join(words[1:6]) or "an answer that is not HTTP")
    except BaseException:
        connection.close()
        raise
    return connection


def _tunnel(route: Route) -> list[Finding]:
    if route.proxy is None:
        return []
    try:
        _open(route).close()
    except OSError as problem:
        why = str(problem) or type(problem).__name__
        advice = f"ask the network team to allow CONNECT to {route.host}:{route.port}"
        if why.startswith("407"):
            advice = "the proxy wants a login: set HTTPS_PROXY=http://user:password@host:port"
        return [Finding("proxy tunnel", "failed", f"the proxy does not open a tunnel: {why}", advice)]
    return [Finding("proxy tunnel", "ok", f"the proxy reaches {route.host}:{route.port}")]


def _handshake(route: Route, charter: Charter) -> list[Finding]:
    # Unverified on purpose: this connection carries nothing, it only looks at which certificate is shown.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with _open(route) as plain, context.wrap_socket(plain, server_hostname=route.host) as tunnel:
            shown, version = tunnel.getpeercert(binary_form=True), tunnel.version()
    except ssl.SSLError as problem:
        advice = "no relay listens there, or a device in between breaks TLS: ask the network team"
        return [Finding("TLS", "failed", f"no TLS with {route.host}:{route.port} ({problem.reason})", advice)]
    except OSError as problem:
        advice = "a device in between cuts TLS connections: ask the network team to let TLS 1.3 pass"
        return [
            Finding("TLS", "failed", f"the connection ended during TLS ({type(problem).__name__})", advice)
        ]
    findings = [Finding("TLS", "ok", f"{version}")]
    if version != "TLSv1.3":
        advice = "a device in between speaks an older TLS: ask the network team to exempt this host"
        findings = [Finding("TLS", "failed", f"{version} instead of TLSv1.3", advice)]
    return [*findings, _judge(shown or b"", charter)]


def _judge(shown: bytes, charter: Charter) -> Finding:
    relay = charter.relay
    if shown == relay.card.der:
        return Finding("interception", "ok", f"the certificate is the charter's, {_short(shown)}")
    try:
        issuer = x509.load_der_x509_certificate(shown).issuer.rfc4514_string()[:80]
    except ValueError:
        issuer = "unreadable"
    found = f"found {_short(shown)} issued by {issuer}, the charter pins {_short(relay.card.der)}"
    if issuer == f"CN={relay.name}":
        advice = "the relay shows another certificate of its own: if it was renewed, a new charter is due"
        return Finding("interception", "failed", found, advice)
    if relay.allow_interception:
        return Finding("interception", "warning", found, "a proxy inspects TLS, which the charter allows")
    advice = f"a proxy inspects TLS: ask the network team to exempt {urlsplit(relay.url).netloc}"
    return Finding("interception", "failed", found, advice)


def _admission(route: Route, charter: Charter, identity: Identity, now: datetime) -> list[Finding]:
    pinned = [] if charter.relay.allow_interception else [charter.relay.card.certificate]
    try:
        context = identity.ssl_client_context(pinned)
        with _open(route) as plain, context.wrap_socket(plain, server_hostname=route.host) as tunnel:
            tunnel.sendall(f"GET / HTTP/1.1\r\nHost: {route.host}\r\nConnection: close\r\n\r\n".encode())
            answer = _read_head(tunnel)
    except (OSError, SiloError) as problem:
        reason = getattr(problem, "reason", None) or type(problem).__name__
        advice = "the relay may run another charter: compare the digests of `silo charter verify --json`"
        return [Finding("relay", "failed", f"it does not admit {identity.name} ({reason})", advice)]
    status = " ".join(answer.split("\r\n", 1)[0].split()[1:])[:60] or "no HTTP"
    return [Finding("relay", "ok", f"it admits {identity.name} and answers ({status})"), *_skew(answer, now)]


def _skew(answer: str, now: datetime) -> list[Finding]:
    for line in answer.split("\r\n"):
        key, _, value = line.partition(":")
        if key.strip().lower() != "date":
            continue
        try:
            theirs = email.utils.parsedate_to_datetime(value.strip()).astimezone(UTC)
        except (TypeError, ValueError):
            return []
        away = abs((theirs - now).total_seconds())
        found = f"{away:.0f} s away from the relay's"
        if away > _CLOCK_WARNING:
            state: State = "failed" if away > _CLOCK_FAILED else "warning"
            advice = "set this clock or the relay's, for example with `timedatectl set-ntp true`"
            return [Finding("clock of the relay", state, found, advice)]
        return [Finding("clock of the relay", "ok", found)]
    return []


def _read_head(connection: socket.socket) -> str:
    data = b""
    while b"\r\n\r\n" not in data and len(data) < 8192:
        more = connection.recv(2048)
        if not more:
            break
        data += more
    return data.decode("latin-1")


def _short(certificate: bytes) -> str:
    return "SHA-256 " + hashlib.sha256(certificate).hexdigest()[:16] + "…"


def for_the_network_team(charter: Charter) -> str:
    """What the firewall needs to know, to be forwarded as it is."""
    route = Route.to(charter.relay.url)
    through = f"through the proxy {route.first[0]}:{route.first[1]}" if route.proxy else "directly"
    inspection = "allowed" if charter.relay.allow_interception else "must be off for this host"
    lines = [
        "For the network team:",
        f"  outgoing only: TCP to {route.host}, port {route.port}, {through}; no incoming port is needed",
        "  protocol: TLS 1.3 with certificates on both sides, inside it one WebSocket, open for hours",
        f"  TLS inspection: {inspection}",
        f"  idle connections: must not be cut within {charter.time.silence:.0f} s",
        f"  certificate of the relay, SHA-256: {charter.relay.card.certificate_fingerprint}",
    ]
    return "\n".join(lines)
