"""One attempt to reach the relay: name, proxy, TCP, TLS, pin, HTTP; and why it failed, in one word."""

from __future__ import annotations

import logging
import socket
import ssl
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, InvalidProxy, ProxyError

from silo.transport.errors import NotAdmitted, PinMismatch
from silo.transport.wire import login
from silo.transport.wire.carrier import OPTIONS, NotedClient

Cause = Literal["dns", "refused", "tls", "proxy", "timeout", "closed"]

QUIET = logging.Logger("silo.transport.websockets", logging.CRITICAL)
"""Not in the tree of loggers: what the library would log is said here in errors."""
_ALERTS = (
    "ALERT_UNKNOWN_CA",
    "ALERT_BAD_CERTIFICATE",
    "ALERT_CERTIFICATE_UNKNOWN",
    "ALERT_CERTIFICATE_EXPIRED",
    "CERTIFICATE_REQUIRED",
)


class Interrupted(Exception):
    """An attempt that may succeed later; `after_tls` when the other side hung up before a word was said."""

    def __init__(self, cause: Cause, *, after_tls: bool = False) -> None:
        super().__init__(cause)
        self.cause = cause
        self.after_tls = after_tls


@dataclass(frozen=True)
class Address:
    """Where the relay is and how it is recognised; an empty `pin` leaves it to context and login."""

    url: str
    context: ssl.SSLContext
    pin: str
    relay: str
    proxy: str | Literal[True] | None = True

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 443


async def dial(address: Address) -> NotedClient:
    """Open a connection to the pinned relay.

    Raises `Interrupted`, or for good: `PinMismatch`, `CertificateExpired`, `NotAdmitted`.
    """
    made: list[NotedClient] = []
    try:
        connection = await _open(address, address.context, made)
    except ssl.SSLCertVerificationError:
        await _explain(address)
        raise Interrupted("tls") from None
    except (OSError, EOFError, InvalidHandshake, InvalidProxy) as problem:
        raise _classify(problem, made) from None
    try:
        if address.pin:
            _check(_certificate(connection), address)
    except BaseException:
        connection.transport.abort()
        raise
    return connection


async def _open(address: Address, context: ssl.SSLContext, made: list[NotedClient]) -> NotedClient:
    def create(*args: Any, **options: Any) -> NotedClient:
        made.append(NotedClient(*args, **options))
        return made[-1]

    opened = await connect(
        address.url,
        ssl=context,
        proxy=address.proxy,
        user_agent_header="silo",
        create_connection=create,  # type: ignore[arg-type]  # any callable serves; it names a class
        logger=QUIET,
        open_timeout=None,
        **OPTIONS,
    )
    if not isinstance(opened, NotedClient):
        raise TypeError(f"the library made a {type(opened).__name__}")
    return opened


def _check(der: bytes, address: Address) -> None:
    found = login.fingerprint(der)
    if found != address.pin:
        raise PinMismatch(address.pin, found)
    login.check_valid(der, address.relay)


async def _explain(address: Address) -> None:
    """Look at the certificate that did not verify, on a connection that carries nothing.

    Raises what is wrong with it; returns when that cannot be seen.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    made: list[NotedClient] = []
    try:
        connection = await _open(address, context, made)
        connection.transport.abort()
    except (OSError, EOFError, InvalidHandshake, InvalidProxy):
        pass
    ders = [der for one in made if (der := _certificate(one))]
    if not ders:
        return
    if address.pin:
        _check(ders[-1], address)
    raise NotAdmitted(
        "certificate",
        "the relay's certificate is not one that this computer trusts: run `silo doctor`",
    )


def _certificate(connection: NotedClient) -> bytes:
    transport = getattr(connection, "transport", None)
    tunnel = transport.get_extra_info("ssl_object") if transport is not None else None
    return (tunnel.getpeercert(binary_form=True) if tunnel is not None else None) or b""


def _classify(problem: Exception, made: list[NotedClient]) -> Exception:
    inner = made[-1].connection_exc if made else None
    for one in (problem, inner):
        if isinstance(one, ssl.SSLError) and any(alert in (one.reason or "") for alert in _ALERTS):
            return NotAdmitted("certificate")
    if isinstance(problem, socket.gaierror):
        return Interrupted("dns")
    if isinstance(problem, ConnectionRefusedError):
        return Interrupted("refused")
    if isinstance(problem, TimeoutError):
        return Interrupted("timeout")
    if isinstance(problem, ssl.SSLError):
        return Interrupted("tls")
    if isinstance(problem, ProxyError | InvalidProxy):
        return Interrupted("proxy")
    handshaken = bool(made) and bool(_certificate(made[-1])) and made[-1].response is None
    return Interrupted("closed", after_tls=handshaken)
