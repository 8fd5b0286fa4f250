"""The relay: one process that every member dials, with a seat of its own for the aggregator.

It admits only the certificates and signing keys of its table, routes frames between members without putting
their messages together, and outlives lost connections: a member is away, and after `Patience.reconnect` gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hmac
import logging
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from silo.crypto.errors import ParameterError
from silo.crypto.rng import SystemRng
from silo.transport.base import (
    Buffer,
    Delivery,
    Endpoint,
    Event,
    Patience,
    State,
    Traffic,
    TransportError,
    freeze,
)
from silo.transport.errors import (
    LinkViolation,
    MessageTooLarge,
    PortInUse,
    Stalled,
)
from silo.transport.websocket import MAX_MESSAGE
from silo.transport.wire import frames, login
from silo.transport.wire.carrier import OPTIONS, Carrier, NotedServer, linger, refuse
from silo.transport.wire.dial import QUIET
from silo.transport.wire.door import NEWCOMER, Door, Refusal
from silo.transport.wire.frames import Challenge, Login, Welcome
from silo.transport.wire.inbox import LIMIT, Inbox
from silo.transport.wire.link import WINDOW, Link
from silo.transport.wire.login import Credentials, Verify
from silo.transport.wire.seats import Seat, Seats

_log = logging.getLogger("silo.relay")
_LOGIN_SECONDS = 10.0
_HATCH_SECONDS = 1.0


class RelayServer:
    """Serves `members`, {SHA-256 of the certificate: name}, under its own name and key, `credentials`.

    `verify(name, message, signature)` raises unless the signing key of that name made the signature.
    `ssl_context` requires and verifies client certificates. With `allow_interception` a connection without
    one is let in to the login, where the signing key alone counts (the context must then let it pass).
    `backlog`: bytes of the relay's own messages that may wait for one member before `send` waits.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        ssl_context: ssl.SSLContext,
        members: Mapping[str, str],
        credentials: Credentials,
        verify: Verify,
        patience: Patience | None = None,
        allow_interception: bool = False,
        max_message: int = MAX_MESSAGE,
        window: int = WINDOW,
        inbox: int = LIMIT,
        backlog: int = LIMIT,
    ) -> None:
        self.host = host
        self.port = port
        self.name = credentials.name
        self.epoch = SystemRng().bytes(16)
        self.patience = patience or Patience()
        self.max_message = max_message
        self.traffic = Traffic()
        self.inbox = Inbox(self.call, inbox)
        self.seats = Seats(self.name, members.values(), self.inbox, max_message, backlog)
        self.endpoint: Endpoint = RelayEndpoint(self)
        self._ssl = ssl_context
        self._credentials = credentials
        self._door = Door(
            credentials,
            self.epoch,
            {login.plain(pin): name for pin, name in members.items()},
            self.seats,
            verify,
            allow_interception,
            self.traffic,
        )
        self._window = window
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping = asyncio.Event()
        self._locks = {name: asyncio.Lock() for name in set(members.values())}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._young: weakref.WeakKeyDictionary[NotedServer, float] = weakref.WeakKeyDictionary()

    def start(self) -> None:
        """Listen. Raises `PortInUse`, `CertificateExpired` or `OSError`."""
        self._credentials.check_valid()
        ready: list[BaseException | None] = []
        listening = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_note)
        self._thread = threading.Thread(
            target=self._run, args=(ready, listening), name="silo-relay-link", daemon=True
        )
        self._thread.start()
        listening.wait()
        if ready[0] is not None:
            self._thread.join()
            raise ready[0]

    def stop(self) -> None:
        """Close every connection; members try to come back until their patience ends. Twice does no harm."""
        self.inbox.fail(TransportError("the relay was stopped: start it again"))
        if self._thread is not None:
            self.call(self._stopping.set)
            self._thread.join()

    def call(self, work: Callable[[], None]) -> None:
        """Run `work` on the network's thread; nothing happens when that has ended."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(work)

    def say_goodbye(self, code: str) -> None:
        """Tell every member that the relay leaves, wait until they know, and stop."""
        if self._loop is not None and self._thread is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):
                asyncio.run_coroutine_threadsafe(self._goodbye(code), self._loop).result()
        self.stop()

    def give_up(self, name: str, code: str) -> None:
        """Let a member go, from any thread."""
        self.call(lambda: self._drop(self.seats[name], code))

    # the network's thread

    def _run(self, ready: list[BaseException | None], listening: threading.Event) -> None:
        loop = self._loop
        if loop is None:
            return
        try:
            loop.run_until_complete(self._serve(ready, listening))
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    async def _serve(self, ready: list[BaseException | None], listening: threading.Event) -> None:
        try:
            server = await serve(
                self._handle,
                self.host,
                self.port,
                ssl=self._ssl,
                server_header=None,
                create_connection=self._accept,  # type: ignore[arg-type]  # any callable serves
                logger=QUIET,
                open_timeout=_LOGIN_SECONDS,
                **OPTIONS,
            )
        except OSError as problem:
            in_use = problem.errno == errno.EADDRINUSE
            where = (
                f"the relay cannot listen on {self.host}:{self.port}: {problem.strerror or 'no such address'}"
            )
            ready.append(PortInUse(self.port) if in_use else TransportError(where))
            listening.set()
            return
        except OverflowError:
            ready.append(TransportError(f"{self.port} is no port: give one from 1 to 65535"))
            listening.set()
            return
        self.port = server.sockets[0].getsockname()[1]
        ready.append(None)
        listening.set()
        await self._stopping.wait()
        await self._shut(server)

    async def _shut(self, server: Server) -> None:
        for timer in self._timers.values():
            timer.cancel()
        carriers = [seat.carrier for seat in self.seats if seat.carrier is not None]
        for carrier in carriers:
            with contextlib.suppress(ConnectionClosed, OSError, TimeoutError):
                async with asyncio.timeout(_HATCH_SECONDS):
                    await carrier.say_acknowledged()
        await asyncio.gather(*(carrier.stop() for carrier in carriers))
        await self._hatch()
        server.close(code=1012)
        await server.wait_closed()
        await self._hatch()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HATCH_SECONDS):
                await asyncio.gather(*(one.wait_closed() for one in list(self._young) if one.made))
        for seat in self.seats:
            link, seat.link = seat.link, None
            if link is not None:
                link.close()
            seat.backlog.fail(TransportError("the relay was stopped: start it again"))
        await linger()

    def _accept(self, *args: Any, **options: Any) -> NotedServer:
        connection = NotedServer(*args, **options)
        self._young[connection] = time.monotonic()
        return connection

    async def _hatch(self) -> None:
        """Let handshakes that have just begun come to an end; else their clients would wait for an answer."""
        until = time.monotonic() + _HATCH_SECONDS
        while time.monotonic() < until and any(
            not one.made and until - born < 2 * _HATCH_SECONDS for one, born in list(self._young.items())
        ):
            await asyncio.sleep(0.005)

    async def _goodbye(self, code: str) -> None:
        for seat in self.seats:
            if seat.link is not None:
                seat.link.push_bye(code)
        carriers = [seat.carrier for seat in self.seats if seat.carrier is not None]
        await asyncio.gather(*(carrier.settle(self.patience.silence) for carrier in carriers))

    async def _handle(self, connection: ServerConnection) -> None:
        if not isinstance(connection, NotedServer):
            raise TypeError(f"the library made a {type(connection).__name__}")
        try:
            async with asyncio.timeout(_LOGIN_SECONDS):
                challenge, asked = await self._door.admit(connection)
            async with self._locks[asked.name]:
                carried = await self._seat(connection, challenge, asked)
            await self._carry(*carried)
        except (OSError, ConnectionClosed):
            return
        except Refusal as refusal:
            _log.warning("a connection was refused: %s", refusal.reason)
            await refuse(connection, refusal.reason, self.traffic, NEWCOMER)
        except Exception:
            _log.exception("an error on the network's thread")
            raise

    async def _seat(
        self, connection: NotedServer, challenge: Challenge, asked: Login
    ) -> tuple[Seat, Link, Carrier, bytes]:
        """Give a connection its seat. Between here and `Carrier.run` nothing waits."""
        seat = self.seats[asked.name]
        before = seat.carrier
        if before is not None:
            before.replaced = "resumed" if hmac.compare_digest(asked.token, seat.token) else "taken-over"
            await before.stop()
        link = seat.link
        resumed = link is not None and hmac.compare_digest(asked.token, seat.token)
        if link is None or not resumed:
            link = self.seats.enter(seat, SystemRng().bytes(frames.TOKEN), self._window)
        else:
            try:
                link.resume(asked.received)
            except LinkViolation:
                raise Refusal("violation") from None
            self.seats.announce(seat, "present")
        timer = self._timers.pop(seat.name, None)
        if timer is not None:
            timer.cancel()
        welcome = Welcome(seat.token, resumed, link.received, b"")
        proof = login.check_length(self._credentials.sign(login.relay_proof(challenge, asked, welcome)))
        seat.carrier = Carrier(
            connection, link, self.traffic, seat.name, self.patience.silence, self.seats.taker(seat, link)
        )
        return seat, link, seat.carrier, frames.encode_login(replace(welcome, signature=proof))

    async def _carry(self, seat: Seat, link: Link, carrier: Carrier, welcome: bytes) -> None:
        resent = link.resent
        try:
            await carrier.run(welcome)
        finally:
            self.traffic.resent += link.resent - resent
            seat.heard = max(seat.heard, carrier.connection.heard)
            if seat.carrier is carrier:
                seat.carrier = None
        if carrier.replaced == "taken-over":
            await refuse(carrier.connection, "taken-over", self.traffic, seat.name)
        elif carrier.replaced:
            carrier.connection.transport.abort()
        elif seat.link is link and not self._stopping.is_set():
            await self._lose(seat, carrier)

    async def _lose(self, seat: Seat, carrier: Carrier) -> None:
        """Note that a connection ended before its member said goodbye."""
        if carrier.problem is not None:
            _log.warning("%s broke the rules of the link: %s", seat.name, carrier.problem)
            self.seats.depart(seat, carrier.problem.code)
            await refuse(carrier.connection, "violation", self.traffic, seat.name)
            return
        if carrier.silent:
            carrier.connection.transport.abort()
        self.seats.announce(seat, "away")
        self._timers[seat.name] = asyncio.get_running_loop().call_later(
            self.patience.reconnect, self._drop, seat, "SILO-304" if carrier.silent else "SILO-303"
        )

    def _drop(self, seat: Seat, code: str) -> None:
        self._timers.pop(seat.name, None)
        carrier = seat.carrier
        self.seats.depart(seat, code)
        if carrier is not None:
            carrier.connection.transport.abort()


class RelayEndpoint(Endpoint):
    """The seat of the relay itself, for the aggregator; used from one thread."""

    def __init__(self, server: RelayServer) -> None:
        self.name = server.name
        self.epoch = server.epoch.hex()
        self.traffic = server.traffic
        self._server = server
        self._left = False

    def parties(self) -> Mapping[str, State]:
        return self._server.seats.states()

    def send(self, recipient: str, payload: Buffer) -> None:
        if self._left:
            raise TransportError(
                f"{self.name} has left and cannot send to {recipient}: start the relay again"
            )
        view = freeze(payload)
        if len(view) > self._server.max_message:
            raise MessageTooLarge(len(view), self._server.max_message)
        if recipient not in self._server.seats:
            raise ParameterError(f"{recipient[:40]!r} is no member here: use a name of the charter")
        seat = self._server.seats[recipient]
        if seat.link is None:
            return
        try:
            seat.backlog.enter(len(view), self._server.patience.work)
        except Stalled as stalled:
            # One member that takes nothing must not end the round of the others.
            self._server.give_up(recipient, stalled.code)
            return
        self.traffic.payload_sent += len(view)
        self._server.call(lambda: self._server.seats.push(recipient, view))

    def receive(self, timeout: float | None) -> Event | None:
        event = self._server.inbox.get(timeout)
        if isinstance(event, Delivery):
            self.traffic.payload_received += len(event.payload)
        return event

    def progress(self, party: str) -> float:
        seats = self._server.seats
        return seats[party].progress if party in seats else time.monotonic()

    def leave(self, code: str = "") -> None:
        if not self._left:
            self._left = True
            self._server.say_goodbye(code)


def _note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say in one line what the library would say in a traceback."""
    problem = context.get("exception")
    if problem is not None and not isinstance(problem, OSError):
        _log.error("an error on the network's thread: %s", type(problem).__name__)
