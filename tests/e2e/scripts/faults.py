"""Kill a process at a chosen message: before it, in the middle of its bytes, or when it has arrived.

kill=KIND:WHEN:NTH[:PIECE] kills at the NTH message of that kind; PIECE is the frame of it that is cut in two.
What is killed is this process, or the one whose number is in the file `victim`. A mark on the disk makes it
happen once: the same command again goes through.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from silo.driver import Seat
from silo.transport.wire import frames
from silo.transport.wire.carrier import Carrier


def arrange(want: dict[str, str], mark: Path) -> None:
    if "kill" not in want or mark.exists():
        return
    kind, when, nth, *piece = want["kill"].split(":")
    _Fault(kind, when, int(nth), int(piece[0]) if piece else 1, mark, want.get("victim", ""))


class _Fault:
    def __init__(self, kind: str, when: str, nth: int, piece: int, mark: Path, victim: str) -> None:
        self.kind, self.when, self.nth, self.piece = kind, when, nth, piece
        self.mark, self.victim = mark, victim
        self.armed = False
        self.seat_send, self.link_send = Seat.send, Carrier._send
        fault = self

        def on_message(seat: Seat, outgoing: Any, bearings: Any) -> Any:
            return fault._on_message(seat, outgoing, bearings)

        async def on_frame(carrier: Carrier, raw: bytes) -> None:
            await fault._on_frame(carrier, raw)

        Seat.send = on_message  # type: ignore[method-assign]
        Carrier._send = on_frame  # type: ignore[method-assign]

    def _on_message(self, seat: Seat, outgoing: Any, bearings: Any) -> Any:
        if type(outgoing.message).__name__ != self.kind:
            return self.seat_send(seat, outgoing, bearings)
        self.nth -= 1
        if self.nth:
            return self.seat_send(seat, outgoing, bearings)
        if self.when == "before":
            self._kill()
        self.armed = self.when == "during"
        sent = self.seat_send(seat, outgoing, bearings)
        if self.when == "after":
            time.sleep(0.02)  # the link's own thread takes it over
            while not seat.endpoint._link.settled:  # type: ignore[attr-defined]
                time.sleep(0.005)
            self._kill()
        return sent

    async def _on_frame(self, carrier: Carrier, raw: bytes) -> None:
        if self.armed and isinstance(frames.decode(raw), frames.Data):
            self.piece -= 1
            if not self.piece:
                await carrier.connection.send(self._half(raw))
        await self.link_send(carrier, raw)

    async def _half(self, raw: bytes) -> AsyncIterator[bytes]:
        yield raw[: len(raw) // 2]
        await asyncio.sleep(0.05)
        self._kill()
        yield raw[len(raw) // 2 :]

    def _kill(self) -> None:
        self.mark.touch()
        number = int(Path(self.victim).read_text()) if self.victim else os.getpid()
        os.kill(number, signal.SIGKILL)
        self.armed = False
