"""A member's end of the relay's WebSocket: a synchronous face over one background thread.

Outgoing connections only, TLS 1.3 with the member's own certificate and the relay's pinned; HTTP proxies are
taken from the environment. A lost connection is dialled again for as long as `Patience.reconnect` says, and
goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import queue
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI, ProxyError

from silo.crypto.rng import SystemRng
from silo.link import frames, login
from silo.link.frames import Bye, News
from silo.link.link import Link
from silo.link.login import Pass
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
)
from silo.transport.errors import (
    CertificateExpired,
    PinMismatch,
    RelayLost,
    RelayUnreachable,
)

_QUEUED: Final = 64 * 1024 * 1024
_BACKOFF: Final = (0.1, 2.0)
_FLUSH: Final = 10.0


@dataclass(frozen=True)
class Address:
    """Where the relay is, and the SHA-256 fingerprint of its certificate (None: inspection is allowed)."""

    url: str
    context: ssl.SSLContext
    fingerprint: bytes | None

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 443


class MemberEndpoint(Endpoint):
    """Dials when it is made; raises `TransportError` if that fails. Used from one thread."""

    def __init__(self, address: Address, own: Pass, patience: Patience, *, max_message: int) -> None:
        self.name = own.name
        self.epoch = ""
        self.traffic = Traffic()
        self._address, self._pass, self._patience = address, own, patience
        self._max_message = max_message
        self._link_id = SystemRng().bytes(16)
        self._link = Link(max_message)
        self._parties: dict[str, State] = {}
        self._heard = time.monotonic()
        self._events: queue.Queue[Event] = queue.Queue()
        self._error: TransportError | None = None
        self._leaving = False
        self._room = threading.Condition()
        self._first = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._more = asyncio.Event()
        self._thread = threading.Thread(target=self._background, name=f"silo-link-{own.name}", daemon=True)
        self._thread.start()
        self._first.wait()
        self._raise()

    def parties(self) -> Mapping[str, State]:
        return dict(self._parties)

    def send(self, recipient: str, payload: Buffer) -> None:
        with self._room:
            self._room.wait_for(lambda: self._link.waiting_bytes < _QUEUED or self._error is not None)
            self._raise()
            self.traffic.frames_sent += 1
            self.traffic.payload_sent += len(payload)
            self._call(self._link.push, recipient, payload)

    def receive(self, timeout: float | None) -> Event | None:
        try:
            return self._events.get(timeout=timeout)
        except queue.Empty:
            self._raise()
            return None

    def progress(self, party: str) -> float:
        # What the relay says of others is all that is known; while it speaks, they are its to judge.
        return self._heard

    def leave(self, code: str = "") -> None:
        if not self._leaving:
            self._leaving = True
            self._call(self._link.push_bye, code)
        self._thread.join()

    def _raise(self) -> None:
        error = self._error
        if error is not None:
            self._thread.join()
            raise error

    def _call(self, function: Any, *arguments: Any) -> None:
        def run() -> None:
            function(*arguments)
            self._more.set()

        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(run)

    def _background(self) -> None:
        try:
            self._loop.run_until_complete(self._stay())
        except TransportError as problem:
            self._error = problem
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()
            self._first.set()
            with self._room:
                self._room.notify_all()

    async def _stay(self) -> None:
        """Dial, talk, dial again, until it is time to leave."""
        lost, pause, cause = time.monotonic(), _BACKOFF[0], "no answer"
        while True:
            try:
                async with self._connect() as socket:
                    await self._enter(socket)
                    self._first.set()
                    pause = _BACKOFF[0]
                    try:
                        await self._talk(socket)
                    finally:
                        lost = time.monotonic()
                if self._leaving and self._link.settled:
                    return
                cause = "the connection was closed"
            except ssl.SSLCertVerificationError as problem:
                raise self._distrust(problem) from None
            except (
                OSError,
                ConnectionClosed,
                InvalidHandshake,
                ProxyError,
                EOFError,
                TimeoutError,
            ) as problem:
                cause = _cause(problem)
            except InvalidURI:
                raise RelayUnreachable(*self._address.place, 0, "dns") from None
            wait = _FLUSH if self._leaving else self._patience.reconnect
            if time.monotonic() - lost > wait:
                if self._leaving:
                    return
                kind = RelayLost if self._first.is_set() else RelayUnreachable
                raise kind(*self._address.place, wait, cause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _BACKOFF[1])
            self.traffic.reconnects += 1 if self._first.is_set() else 0

    def _connect(self) -> connect:
        return connect(
            self._address.url,
            ssl=self._address.context,
            compression=None,
            max_size=frames.MAX_FRAME + (1 << 20),
            max_queue=64,
            ping_interval=None,
            open_timeout=max(2.0, min(10.0, self._patience.reconnect)),
            close_timeout=1.0,
            write_limit=1 << 20,
        )

    async def _enter(self, socket: ClientConnection) -> None:
        """Check the certificate, log in, and agree where the link goes on."""
        pin = self._address.fingerprint
        if pin is not None:
            shown = socket.transport.get_extra_info("ssl_object").getpeercert(binary_form=True) or b""
            found = hashlib.sha256(shown).digest()
            if not hmac.compare_digest(found, pin):
                raise PinMismatch(pin.hex(), found.hex())
        greeting = login.load(await self._recv(socket), "version", "epoch", "nonce")
        nonce = SystemRng().bytes(32)
        answer = login.guarded(
            lambda: self._pass.answer(greeting, nonce=nonce, link=self._link_id, received=self._link.received)
        )
        await self._send(socket, answer)
        welcome = login.load(await self._recv(socket), "received", "resumed", "parties", "signature")
        login.guarded(lambda: self._pass.verify(greeting, welcome, nonce=nonce, link=self._link_id))
        self._parties = {str(name): state for name, state in welcome["parties"].items()}
        epoch = str(greeting["epoch"])
        if welcome["resumed"]:
            self._link.resume(int(welcome["received"]))
        elif self.epoch:
            # Another relay process, or one that gave this link up: what was in flight is lost.
            left = self._leaving
            self._link = Link(self._max_message)
            if left:
                self._link.push_bye("")
            while not self._events.empty():
                self._events.get_nowait()
            self.epoch = epoch
            self._events.put(Reset(epoch))
            for name, state in self._parties.items():
                self._events.put(Presence(name, state))
        self.epoch = epoch

    async def _talk(self, socket: ClientConnection) -> None:
        """Move frames both ways until the connection ends or all is said."""
        self._heard = time.monotonic()
        tasks = [
            asyncio.create_task(self._read(socket)),
            asyncio.create_task(self._write(socket)),
            asyncio.create_task(self._beat(socket)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, ConnectionClosed | OSError):
                raise result

    async def _read(self, socket: ClientConnection) -> None:
        while True:
            frame = frames.decode(await self._recv(socket))
            link = self._link
            done = link.take_in(frame)
            if isinstance(done, Delivery):
                self.traffic.payload_received += len(done.payload)
                self._events.put(done)
            elif isinstance(done, News):
                self._parties[done.name] = done.state
                self._events.put(Presence(done.name, done.state, done.code))
            elif isinstance(done, Bye):
                return
            due = link.ack_due(now=done is not None)
            if due is not None:
                await self._send(socket, due)
            self._more.set()

    async def _write(self, socket: ClientConnection) -> None:
        while True:
            self._more.clear()
            while (frame := self._link.take()) is not None:
                await self._send(socket, frame)
                with self._room:
                    self._room.notify_all()
            if self._leaving and self._link.settled:
                return
            await self._more.wait()

    async def _beat(self, socket: ClientConnection) -> None:
        silence = self._patience.silence
        while True:
            await asyncio.sleep(max(0.05, min(5.0, silence / 4)))
            if not self._link.parted:
                await self._send(socket, frames.ALIVE)
            if time.monotonic() - self._heard > silence:
                return

    async def _send(self, socket: ClientConnection, raw: bytes) -> None:
        self.traffic.bytes_sent += len(raw)
        self.traffic.resent = self._link.resent
        await socket.send(raw)

    async def _recv(self, socket: ClientConnection) -> bytes:
        raw = await socket.recv(decode=False)
        self._heard = time.monotonic()
        self.traffic.bytes_received += len(raw)
        return raw

    def _distrust(self, problem: ssl.SSLCertVerificationError) -> TransportError:
        if problem.verify_code == _EXPIRED:
            return CertificateExpired(self._pass.relay)
        return PinMismatch((self._address.fingerprint or b"").hex(), "another")


_EXPIRED: Final = 10


def _cause(problem: BaseException) -> str:
    """One word for the last cause."""
    if isinstance(problem, ConnectionClosed):
        return "closed"
    if isinstance(problem, ConnectionRefusedError):
        return "refused"
    if isinstance(problem, TimeoutError):
        return "timeout"
    if isinstance(problem, ssl.SSLError):
        return "tls"
    if isinstance(problem, ProxyError):
        return "proxy"
    if type(problem).__name__ == "gaierror":
        return "dns"
    return type(problem).__name__.lower()
