"""A member's end: outgoing connections only, over TLS 1.3 with both certificates pinned.

A background thread dials, logs in, and dials again when the connection is lost; the caller sees whole
messages through the synchronous `Endpoint`.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from typing import Literal

from websockets.exceptions import ConnectionClosed

from silo.crypto.errors import ParameterError
from silo.transport.base import (
    Buffer,
    Delivery,
    Endpoint,
    Event,
    Patience,
    Presence,
    Reset,
    State,
    Traffic,
    TransportError,
    freeze,
)
from silo.transport.errors import (
    MessageTooLarge,
    NotAdmitted,
    RelayLost,
    RelaySilent,
    RelayUnreachable,
    TakenOver,
)
from silo.transport.wire import frames, login
from silo.transport.wire.assembly import Assembly
from silo.transport.wire.backlog import Backlog
from silo.transport.wire.carrier import Carrier, NotedClient, linger
from silo.transport.wire.dial import Address, Interrupted, dial
from silo.transport.wire.frames import Bye, Data, News, Numbered, Refused, Welcome
from silo.transport.wire.inbox import LIMIT, Inbox
from silo.transport.wire.knock import Caller
from silo.transport.wire.link import WINDOW, Link
from silo.transport.wire.login import Credentials, Verify

MAX_MESSAGE = 2 << 30
_FIRST_DELAY, _LAST_DELAY = 0.1, 2.0
_ATTEMPT, _SHORTEST = 10.0, 0.05


class WebSocketEndpoint(Endpoint):
    """A member's seat; the constructor returns once the relay has admitted it.

    `relay` is the relay's name, `pin` the SHA-256 of its certificate; `verify(name, message, signature)`
    raises unless the signing key of that name made the signature. `ssl_context` holds the own certificate.
    With `allow_interception` the pin is not checked and the relay's signing key alone counts. `max_message`
    is in bytes. Raises `RelayUnreachable`, `PinMismatch`, `NotAdmitted`, `CertificateExpired`.
    """

    def __init__(
        self,
        url: str,
        *,
        credentials: Credentials,
        relay: str,
        pin: str,
        verify: Verify,
        ssl_context: ssl.SSLContext,
        patience: Patience | None = None,
        allow_interception: bool = False,
        max_message: int = MAX_MESSAGE,
        proxy: str | Literal[True] | None = True,
        window: int = WINDOW,
        inbox: int = LIMIT,
    ) -> None:
        credentials.check_valid()
        self.name = credentials.name
        self.epoch = ""
        self.traffic = Traffic()
        self._relay = relay
        self._caller = Caller(credentials, relay, verify, self.traffic)
        self._patience = patience or Patience()
        self._max_message = max_message
        self._window = window
        pin = "" if allow_interception else login.plain(pin)
        self._address = Address(url, ssl_context, pin, relay, proxy)
        self._states: dict[str, State] = {relay: "awaited"}
        self._inbox = Inbox(self._call, inbox)
        self._backlog = Backlog(relay, window)
        self._assembly = Assembly(max_message)
        self._link = Link(window)
        self._token = bytes(frames.TOKEN)
        self._carrier: Carrier | None = None
        self._connection: NotedClient | None = None
        self._heard = time.monotonic()
        self._leaving = False
        self._over = False
        self._admitted = False
        self._joined = threading.Event()
        self._failure: TransportError | None = None
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda loop, context: None)
        self._stir = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name=f"silo-link-{self.name}", daemon=True)
        self._thread.start()
        self._joined.wait()
        self._raise_failure()

    # the caller's thread

    def parties(self) -> Mapping[str, State]:
        return dict(self._states)

    def send(self, recipient: str, payload: Buffer) -> None:
        if self._leaving:
            raise TransportError(f"{self.name} has left and cannot send to {recipient}: join again")
        if recipient not in self._states:
            raise ParameterError(f"{recipient[:40]!r} is no party here: use a name of the charter")
        view = freeze(payload)
        if len(view) > self._max_message:
            raise MessageTooLarge(len(view), self._max_message)
        self._backlog.enter(len(view), self._patience.work)
        self.traffic.payload_sent += len(view)
        self._call(lambda: self._push(recipient, view))

    def receive(self, timeout: float | None) -> Event | None:
        event = self._inbox.get(timeout)
        if isinstance(event, Delivery):
            self.traffic.payload_received += len(event.payload)
        return event

    def progress(self, party: str) -> float:
        connection = self._connection
        return max(self._heard, connection.heard) if connection is not None else self._heard

    def leave(self, code: str = "") -> None:
        if not self._leaving:
            self._leaving = True
            self._call(lambda: self._say_goodbye(code))
        self._thread.join()
        self._inbox.fail(TransportError(f"{self.name} has left: join again"))

    def _raise_failure(self) -> None:
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    # the network's thread

    def _call(self, work: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(work)
        except RuntimeError:
            # The loop has ended: nothing can be sent any more, and room is of no use.
            return

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._live())
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()
            self._joined.set()

    def _push(self, recipient: str, view: memoryview) -> None:
        if self._over:
            self._backlog.leave(len(view))
            return
        self._link.push(recipient, view, self._backlog.leave)

    def _say_goodbye(self, code: str) -> None:
        if not self._over:
            self._link.push_bye(code)
        self._stir.set()

    async def _live(self) -> None:
        try:
            while True:
                await self._connect()
                await self._stay()
                if self._over or (self._leaving and self._link.settled):
                    return
                self._say("away")
        except TransportError as failure:
            self._fail(failure)
        except _GivenUp:
            pass
        except Exception as bug:
            defect = TransportError(f"a defect on the network's thread ({type(bug).__name__}): report it")
            defect.__cause__ = bug
            self._fail(defect)
        finally:
            self._link.close()
            await linger()

    def _fail(self, failure: TransportError) -> None:
        self._failure = failure
        self._over = True
        if not isinstance(failure, TakenOver):  # then the relay is there, and it is this process that is out
            self._say("gone", failure.code)
        self._backlog.fail(failure)
        self._inbox.fail(failure)

    async def _connect(self) -> None:
        """Dial until admitted. Raises `RelayLost` or `RelayUnreachable` after `Patience.reconnect`."""
        start = time.monotonic()
        until = start + self._patience.reconnect
        delay, cut, cause = _FIRST_DELAY, 0, "timeout"
        while True:
            left = until - time.monotonic()
            try:
                if left > _SHORTEST:
                    async with asyncio.timeout(min(_ATTEMPT, left)):
                        await self._attempt()
                    return
            except Interrupted as problem:
                cause = problem.cause
                cut = cut + 1 if problem.after_tls else 0
                if cut == 3 and not self._admitted:
                    # Python's TLS server closes without an alert when it does not accept a certificate.
                    raise NotAdmitted("certificate") from None
            except (OSError, ConnectionClosed) as problem:
                cause = "timeout" if isinstance(problem, TimeoutError) else "closed"
            if self._leaving and not self._worth_waiting():
                raise _GivenUp
            if time.monotonic() + delay > until:
                raise self._lost(cause)
            self._stir.clear()
            try:
                async with asyncio.timeout(delay):
                    await self._stir.wait()
            except TimeoutError:
                delay = min(2 * delay, _LAST_DELAY)

    def _worth_waiting(self) -> bool:
        return self._admitted and self._link.outstanding_messages

    def _lost(self, cause: str) -> TransportError:
        place = (self._address.host, self._address.port, self._patience.reconnect)
        if not self._admitted:
            return RelayUnreachable(*place, cause)
        if self._carrier is not None and self._carrier.silent:
            return RelaySilent(*place, "silence")
        return RelayLost(*place, cause)

    async def _attempt(self) -> None:
        connection = await dial(self._address)
        try:
            self._enter(*await self._caller.log_in(connection, self._token, self._link.received))
        except BaseException:
            connection.transport.abort()
            raise
        self._connection = connection

    def _enter(self, epoch: str, welcome: Welcome) -> None:
        again, self._admitted = self._admitted, True
        self._token = welcome.token
        self.epoch = epoch
        if welcome.resumed:
            self._link.resume(welcome.received)
        elif again:
            # Another relay process, or one that had given this member up: nothing in flight survives.
            self._link.close()
            self._link = Link(self._window)
            self._assembly = Assembly(self._max_message)
            if self._leaving:
                self._over = True
            self._inbox.restart(Reset(epoch))
        self.traffic.reconnects += again
        if again:
            self._say("present")

    async def _stay(self) -> None:
        """Move frames over the connection that was made until it ends."""
        connection = self._connection
        if connection is None:
            return
        if self._over:
            await _close(connection, at_once=False)
            return
        carrier = Carrier(
            connection, self._link, self.traffic, self._relay, self._patience.silence, self._take
        )
        self._carrier = carrier
        resent = self._link.resent
        ending = asyncio.create_task(self._end(carrier))
        try:
            await carrier.run()
        finally:
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)
            self.traffic.resent += self._link.resent - resent
            self._heard = connection.heard
            self._connection = None
            await _close(connection, at_once=not (self._over or self._leaving))
        if carrier.problem is not None:
            raise carrier.problem

    async def _end(self, carrier: Carrier) -> None:
        """Stop the carrier once a goodbye was said and taken."""
        while not (self._leaving or self._over):
            self._stir.clear()
            await self._stir.wait()
        if not self._over:
            await carrier.settle(self._patience.silence)
            self._over = True
        await carrier.say_acknowledged()
        await carrier.stop()

    def _take(self, frame: Numbered | Refused, size: int) -> None:
        if isinstance(frame, Refused):
            raise self._caller.refusal(frame)
        ticket = self._link.admit(frame, size)
        if ticket is None:
            return
        if isinstance(frame, Data):
            payload = self._assembly.take(frame)
            if payload is not None:
                self._inbox.put(Delivery(frame.party, payload))
            self._inbox.when_room(ticket.take)
            return
        ticket.take()
        if isinstance(frame, News):
            self._news(frame)
        else:
            self._farewell(frame)

    def _news(self, news: News) -> None:
        if news.party == self._relay:
            self._say("present")
            self._joined.set()
            return
        if news.state == "gone":
            self._assembly.forget(news.party)
        before = self._states.get(news.party)
        self._states[news.party] = news.state
        if news.state != "awaited" and (news.state, news.code) != (before, ""):
            self._inbox.put(Presence(news.party, news.state, news.code))

    def _farewell(self, bye: Bye) -> None:
        self._say("gone", bye.code)
        self._over = True
        self._link.close()
        self._inbox.fail(TransportError("the relay has ended the session: nothing more will come"))
        self._stir.set()

    def _say(self, state: State, code: str = "") -> None:
        """Note the relay's state, and tell it."""
        if self._states[self._relay] not in (state, "gone"):
            self._states[self._relay] = state
            self._inbox.put(Presence(self._relay, state, code))


class _GivenUp(Exception):
    """Leaving, with nothing left that is worth a wait."""


async def _close(connection: NotedClient, *, at_once: bool) -> None:
    if at_once:
        connection.transport.abort()
    else:
        await connection.close()
    await connection.wait_closed()
