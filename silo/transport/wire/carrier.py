"""Moves the frames of one link over one connection, until the connection ends.

One task reads, one writes (so that frames leave in order), one watches for signs of life. The reader never
waits for anything but the network: a party that takes nothing holds back acknowledgements, not the reading.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from silo.transport.base import Traffic
from silo.transport.errors import LinkViolation, TransportError
from silo.transport.wire import frames
from silo.transport.wire.frames import Ack, Numbered, Reason, Refused
from silo.transport.wire.link import Link

OPTIONS: Final[dict[str, Any]] = {
    "compression": None,  # payloads are masked or encrypted: nothing to gain
    "max_size": frames.MAX_FRAME,
    "max_queue": 8,
    "write_limit": 2 << 20,
    "ping_interval": None,  # any bytes are a sign of life here, not only pongs
    "close_timeout": 2,
}
_TICKS: Final = 4
_ACK_AFTER: Final = 0.02


class NotedClient(ClientConnection):
    """A client's connection that notes when bytes came."""

    heard = 0.0

    def data_received(self, data: bytes) -> None:
        self.heard = time.monotonic()
        super().data_received(data)


class NotedServer(ServerConnection):
    """A server's connection that notes when bytes came, and whether TLS stands."""

    heard = 0.0
    made = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made = True
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self.heard = time.monotonic()
        super().data_received(data)


Noted = NotedClient | NotedServer


class Carrier:
    """`take(frame, size)` gets every frame but ACKs; `size` is that of the WebSocket message in bytes."""

    def __init__(
        self,
        connection: Noted,
        link: Link,
        traffic: Traffic,
        party: str,
        silence: float,
        take: Callable[[Numbered | Refused, int], None],
    ) -> None:
        self.connection = connection
        self.link = link
        self.silent = False
        self.problem: TransportError | None = None
        self.replaced = ""
        self._traffic = traffic
        self._party = party
        self._silence = silence
        self._take = take
        self._work = asyncio.Event()
        self._ack_now = False
        self._ack_timer: asyncio.TimerHandle | None = None
        self._end = asyncio.Event()
        self._ended = asyncio.Event()

    async def run(self, first: bytes = b"") -> None:
        """Send `first`, then move frames until the connection or `stop` ends it.

        `problem`, `silent` and `replaced` say why.
        """
        self.link.wake = self._wake
        self._wake()
        works = (self._read(), self._write(first), self._watch(), self._end.wait())
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(work) for work in works]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.link.wake = _nothing
            if self._ack_timer is not None:
                self._ack_timer.cancel()
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, TransportError):
                    self.problem = outcome
                elif isinstance(outcome, Exception) and not isinstance(outcome, ConnectionClosed | OSError):
                    raise outcome
            self._ended.set()

    async def stop(self) -> None:
        """End `run` and wait until it has ended; the connection stays open."""
        self._end.set()
        await self._ended.wait()

    async def settle(self, patience: float) -> None:
        """Wait until the other end took everything, while it takes something every `patience` seconds."""
        while not self.link.settled and not self._ended.is_set():
            before = self.link.progress
            until = time.monotonic() + patience
            while self.link.progress == before and not self.link.settled and not self._ended.is_set():
                if time.monotonic() > until:
                    return
                await asyncio.sleep(0.005)

    async def say_acknowledged(self) -> None:
        """Tell at once what was taken: the last word before an end."""
        raw = self.link.acknowledgement(now=True)
        if raw is not None:
            await self._send(raw)

    async def _read(self) -> None:
        while True:
            raw = await self.connection.recv(decode=False)
            self._traffic.received(self._party, len(raw))
            frame = frames.decode(raw)
            if isinstance(frame, Ack):
                self.link.acknowledged(frame)
            else:
                self._take(frame, len(raw))

    async def _write(self, first: bytes) -> None:
        if first:
            await self._send(first)
        turns = 0
        while True:
            raw = self.link.acknowledgement(now=self._ack_now)
            if raw is not None:
                self._ack_now = False
                await self._send(raw)
            following = self.link.next()
            if following is None:
                self._work.clear()
                await self._work.wait()
                continue
            await self._send(b"".join(following))
            turns += 1
            if turns % 4 == 0:
                await asyncio.sleep(0)  # what is written at once gives nobody else a turn

    async def _send(self, raw: bytes) -> None:
        # Counted first: the other side may have counted it before this task goes on.
        self._traffic.sent(self._party, len(raw))
        await self.connection.send(raw)

    async def _watch(self) -> None:
        interval = self._silence / _TICKS
        heard, quiet = self.connection.heard, 0
        while True:
            await self.connection.ping()
            await asyncio.sleep(interval)
            # Ticks are counted, not seconds: after a pause of this very process only one has gone by.
            quiet = quiet + 1 if self.connection.heard == heard else 0
            heard = self.connection.heard
            if quiet >= _TICKS:
                self.silent = True
                return

    def _wake(self) -> None:
        self._work.set()
        if self._ack_timer is None and self.link.untold:
            self._ack_timer = asyncio.get_running_loop().call_later(_ACK_AFTER, self._ack_later)

    def _ack_later(self) -> None:
        self._ack_timer = None
        self._ack_now = True
        self._work.set()


async def refuse(connection: Noted, reason: Reason, traffic: Traffic, party: str) -> None:
    """Say why in one word, and close."""
    raw = frames.encode_login(Refused(frames.VERSION, reason))
    try:
        traffic.sent(party, len(raw))
        await connection.send(raw)
        await connection.close()
    except (ConnectionClosed, OSError):
        pass


async def receive_login(connection: Noted, traffic: Traffic, party: str) -> frames.LoginFrame:
    """The next frame of a login. Raises `LinkViolation`, `VersionMismatch` or what the connection raises."""
    raw = await connection.recv(decode=False)
    traffic.received(party, len(raw))
    if len(raw) > 512:
        raise LinkViolation("a frame of a login is too long")
    return frames.decode_login(raw)


async def linger() -> None:
    """Give transports that were aborted the turns of the loop that they need to close their sockets."""
    for _ in range(4):
        await asyncio.sleep(0)


def _nothing() -> None:
    pass
