"""A TCP proxy that misbehaves: cuts after given numbers of bytes, delays, goes silent."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterable


class ChaosProxy:
    """Forwards to `port`; connection number i is cut after `cuts[i]` bytes, counted in both directions.

    Bytes on their way are lost, so frames are truncated anywhere. Connections after the last cut are left alone.
    """

    def __init__(self, port: int, cuts: Iterable[int] = (), *, delay: float = 0.0) -> None:
        self._target = port
        self._cuts = iter(cuts)
        self._delay = delay
        self.frozen = threading.Event()
        self.connections = 0
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            ready, _, _ = select.select([self._listener], [], [], 0.05)
            if not ready:
                continue
            near, _ = self._listener.accept()
            self.connections += 1
            thread = threading.Thread(target=self._forward, args=(near, next(self._cuts, 1 << 62)))
            self._threads.append(thread)
            thread.start()

    def _forward(self, near: socket.socket, left: int) -> None:
        with near, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as far:
            other = {near: far, far: near}
            while not self._stopping.is_set():
                if self.frozen.is_set():
                    time.sleep(0.02)
                    continue
                ready, _, _ = select.select([near, far], [], [], 0.05)
                for one in ready:
                    data = one.recv(65536)
                    if not data:
                        return
                    time.sleep(self._delay)
                    other[one].sendall(data[:left])
                    left -= len(data)
                    if left <= 0:
                        return


def pump(near: socket.socket, far: socket.socket) -> None:
    """Forward until one side closes."""
    other = {near: far, far: near}
    with contextlib.suppress(OSError):
        while True:
            for one in select.select([near, far], [], [])[0]:
                data = one.recv(65536)
                if not data:
                    return
                other[one].sendall(data)
