"""The relay's end: one port, TLS 1.3 with the members' pinned certificates, one link per member process.

It routes messages between parties by name and holds one seat for itself, the aggregator's. Each member has
its own queue: a slow one holds up nobody but those who write to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import queue
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from silo.crypto.rng import SystemRng
from silo.link import frames, login
from silo.link.frames import Bye, News
from silo.link.link import Link
from silo.link.login import Door, Refused
from silo.transport.base import Buffer, Delivery, Endpoint, Event, Patience, Presence, State, Traffic
from silo.transport.errors import LinkViolation, MessageTooLarge, PortInUse, Stalled, TransportError

_ROUTED: Final = 64 * 1024 * 1024
_LOGIN: Final = 10.0
RESTARTED: Final = "SILO-302"
LOST: Final = "SILO-303"


@dataclass(eq=False)
class _Member:
    """What the relay knows of one member: its link, its connection, its state."""

    name: str
    link: Link
    link_id: bytes = b""
    state: State = "awaited"
    heard: float = field(default_factory=time.monotonic)
    socket: ServerConnection | None = None
    more: asyncio.Event = field(default_factory=asyncio.Event)
    room: asyncio.Event = field(default_factory=asyncio.Event)
    traffic: Traffic = field(default_factory=Traffic)
    away: asyncio.TimerHandle | None = None


class RelayServer:
    """Listens from the moment it is made; `start` begins to serve. Raises `PortInUse`.

    `certificates` maps SHA-256 fingerprints (of DER) to member names; None for a charter that allows
    interception, where the signature inside the tunnel is all.
    """

    def __init__(
        self,
        host: str,
        port: int,
        context: ssl.SSLContext,
        door: Door,
        certificates: Mapping[bytes, str] | None,
        patience: Patience,
        *,
        max_message: int,
    ) -> None:
        self.epoch = SystemRng().bytes(16).hex()
        self.endpoint = RelayEndpoint(door.relay, self)
        self.port = 0
        self._door, self._certificates, self._patience = door, certificates, patience
        self._context, self._max_message = context, max_message
        self._members = {name: _Member(name, Link(max_message)) for name in door.keys}
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, name="silo-relay", daemon=True)
        self._thread.start()
        self._server: Server | None = None
        try:
            self._server = asyncio.run_coroutine_threadsafe(self._listen(host, port), self._loop).result()
        except OSError as problem:
            self.stop()
            if problem.errno == errno.EADDRINUSE:
                raise PortInUse(port) from None
            raise TransportError(f"the relay cannot listen on {host}:{port}: {problem.strerror}") from None
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    def start(self) -> None:
        """Let members in."""
        if self._server is not None:
            asyncio.run_coroutine_threadsafe(self._begin(), self._loop).result()

    def stop(self) -> None:
        """Flush for a moment, close every connection, end the thread."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def traffic(self, name: str) -> Traffic:
        """What was exchanged with one member."""
        return self._members[name].traffic

    async def _listen(self, host: str, port: int) -> Server:
        return await serve(
            self._serve,
            host,
            port,
            ssl=self._context,
            compression=None,
            max_size=frames.MAX_FRAME + (1 << 20),
            max_queue=64,
            ping_interval=None,
            close_timeout=1.0,
            write_limit=1 << 20,
            start_serving=False,
        )

    async def _begin(self) -> None:
        if self._server is not None:
            await self._server.start_serving()

    async def _close(self) -> None:
        end = time.monotonic() + 2.0
        while time.monotonic() < end and any(m.socket and not m.link.settled for m in self._members.values()):
            await asyncio.sleep(0.02)
        for member in self._members.values():
            if member.away is not None:
                member.away.cancel()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, socket: ServerConnection) -> None:
        """One connection: login, then frames both ways."""
        try:
            async with asyncio.timeout(_LOGIN):
                member = await self._admit(socket)
        except (TimeoutError, ConnectionClosed, OSError):
            return
        except LinkViolation:
            with contextlib.suppress(ConnectionClosed, OSError):
                await socket.send(login.refusal("malformed"))
            return
        if member is None:
            return
        tasks = [
            asyncio.create_task(self._read(member, socket)),
            asyncio.create_task(self._write(member, socket)),
            asyncio.create_task(self._beat(member, socket)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        broken = next((r for r in results if isinstance(r, LinkViolation | MessageTooLarge)), None)
        if member.socket is socket:
            member.socket = None
            if broken is not None:
                self._set(member, "gone", broken.code)
            elif member.state == "present":
                self._set(member, "away")
                wait = self._patience.reconnect
                member.away = self._loop.call_later(wait, self._give_up, member, member.link_id)

    async def _admit(self, socket: ServerConnection) -> _Member | None:
        nonce = SystemRng().bytes(32)
        greeting = self._door.greeting(self.epoch, nonce)
        await socket.send(greeting)
        raw = await socket.recv(decode=False)
        message = login.load(
            raw,
            "version",
            "name",
            "charter",
            "nonce",
            "link",
            "received",
            "signature",
        )
        try:
            name: str = login.guarded(lambda: self._door.check(message, epoch=self.epoch, nonce=nonce))
            self._check_certificate(socket, name)
        except Refused as reason:
            await socket.send(login.refusal(str(reason)))
            return None
        member = self._members[name]
        member.traffic.bytes_sent += len(greeting)
        member.traffic.bytes_received += len(raw)
        link_id = bytes.fromhex(message["link"])
        resumed = member.link_id == link_id and member.state != "gone"
        if member.away is not None:
            member.away.cancel()
            member.away = None
        old, member.socket = member.socket, socket
        if old is not None:
            await old.close()
        if resumed:
            login.guarded(lambda: member.link.resume(int(message["received"])))
        else:
            if member.state in ("present", "away"):
                self._set(member, "gone", RESTARTED)
            member.link, member.link_id = Link(self._max_message), link_id
        parties: dict[str, State] = {m.name: m.state for m in self._members.values() if m is not member}
        member.heard = time.monotonic()
        welcome = self._door.welcome(
            message,
            epoch=self.epoch,
            nonce=nonce,
            received=member.link.received,
            resumed=resumed,
            parties={**parties, self._door.relay: "present"},
        )
        await self._send(member, socket, welcome)
        self._set(member, "present")
        return member

    def _check_certificate(self, socket: ServerConnection, name: str) -> None:
        if self._certificates is None:
            return
        shown = socket.transport.get_extra_info("ssl_object").getpeercert(binary_form=True) or b""
        if self._certificates.get(hashlib.sha256(shown).digest()) != name:
            raise Refused("certificate")

    async def _read(self, member: _Member, socket: ServerConnection) -> None:
        while True:
            raw = await socket.recv(decode=False)
            member.heard = time.monotonic()
            member.traffic.bytes_received += len(raw)
            done = member.link.take_in(frames.decode(raw))
            due = member.link.ack_due(now=done is not None)
            if due is not None:
                await self._send(member, socket, due)
            member.more.set()
            if isinstance(done, Delivery):
                member.traffic.payload_received += len(done.payload)
                await self._route(member, done)
            elif isinstance(done, Bye):
                self._set(member, "gone", done.code)
                return
            elif isinstance(done, News):
                raise LinkViolation("a member does not announce others")

    async def _route(self, member: _Member, delivery: Delivery) -> None:
        """Hand a message to the aggregator's seat, or queue it for another member."""
        to = delivery.sender  # on the way to the relay a frame names its recipient
        if to == self._door.relay:
            self.endpoint._put(Delivery(member.name, delivery.payload))
            return
        other = self._members.get(to)
        if other is None:
            raise LinkViolation("a message for nobody in the charter")
        while other.state in ("present", "away") and other.link.waiting_bytes > _ROUTED:
            other.room.clear()
            await other.room.wait()
        if other.state in ("present", "away"):
            other.link.push(member.name, delivery.payload)
            other.more.set()

    async def _write(self, member: _Member, socket: ServerConnection) -> None:
        while True:
            member.more.clear()
            while (frame := member.link.take()) is not None:
                await self._send(member, socket, frame)
                member.room.set()
                self.endpoint._roomy()
            await member.more.wait()

    async def _beat(self, member: _Member, socket: ServerConnection) -> None:
        silence = self._patience.silence
        while time.monotonic() - member.heard <= silence:
            await asyncio.sleep(max(0.05, min(5.0, silence / 4)))
            await self._send(member, socket, frames.ALIVE)

    async def _send(self, member: _Member, socket: ServerConnection, raw: bytes) -> None:
        member.traffic.bytes_sent += len(raw)
        await socket.send(raw)

    def _give_up(self, member: _Member, link_id: bytes) -> None:
        if member.state == "away" and member.link_id == link_id:
            self._set(member, "gone", LOST)

    def _set(self, member: _Member, state: State, code: str = "") -> None:
        """Change a member's state and tell everybody."""
        member.state = state
        if state == "gone":
            member.link = Link(self._max_message)
            member.link_id = b""
        member.room.set()
        for other in self._members.values():
            if other is not member and other.state in ("present", "away"):
                other.link.push_news(member.name, state, code)
                other.more.set()
        self.endpoint._put(Presence(member.name, state, code))
        self.endpoint._roomy()


class RelayEndpoint(Endpoint):
    """The relay's own seat, for the aggregator's thread."""

    def __init__(self, name: str, server: RelayServer) -> None:
        self.name = name
        self.epoch = server.epoch
        self.traffic = Traffic()
        self._server = server
        self._events: queue.Queue[Event] = queue.Queue()
        self._room = threading.Condition()

    def parties(self) -> Mapping[str, State]:
        return {name: member.state for name, member in self._server._members.items()}

    def send(self, recipient: str, payload: Buffer) -> None:
        member = self._server._members.get(recipient)
        if member is None:
            raise TransportError(f"{recipient} is not a member of this charter")
        with self._room:
            # Broadcasts refer to one buffer, so many slow members hold one copy of it between them.
            limit = self._server._patience.work
            if not self._room.wait_for(lambda: member.link.waiting_bytes < 16 * _ROUTED, limit):
                raise Stalled(recipient, limit)
        self.traffic.frames_sent += 1
        self.traffic.payload_sent += len(payload)

        def push() -> None:
            if member.state in ("present", "away"):
                member.link.push(self.name, payload)
                member.more.set()

        self._server._loop.call_soon_threadsafe(push)

    def receive(self, timeout: float | None) -> Event | None:
        try:
            return self._events.get(timeout=timeout)
        except queue.Empty:
            return None

    def progress(self, party: str) -> float:
        member = self._server._members.get(party)
        return member.heard if member else 0.0

    def leave(self, code: str = "") -> None:
        """Nothing to do: the relay's seat is as old as the relay."""

    def _put(self, event: Any) -> None:
        self._events.put(event)

    def _roomy(self) -> None:
        with self._room:
            self._room.notify_all()
