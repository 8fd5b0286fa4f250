"""The least that one message there and one back cost: the physical limit beside an exchange over the relay.

Two processes and a third that hands on what comes, over blocking sockets under mutual TLS 1.3; each message is signed,
and checked on arrival. No frames, numbers, records or encryption between members: no relay does with less.
"""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Final

from silo import expiry
from silo.bench.measure import Run, Side
from silo.crypto import labels, signing
from silo.crypto.rng import SystemRng
from silo.errors import ParameterError
from silo.identity import Identity

_TURNS: Final = 300
_WARM: Final = 50
_SIGNATURE: Final = 64
_NAMES: Final = ("one", "other", "between")
_LIMIT: Final = 60.0


def echoed(size: int, times: int) -> Side:
    """Messages of `size` bytes, there and back: the median of some hundred, as long as `times` of them take."""

    def side() -> Run:
        with tempfile.TemporaryDirectory(prefix="silo-bench-") as folder:
            home = Path(folder)
            for name in _NAMES:
                Identity.create(name, home / name, passphrase=None, rng=SystemRng(), now=expiry.utc_now())
            command = [sys.executable, "-m", "silo.bench.echo"]
            between = subprocess.Popen(
                [*command, "between", folder, str(size)], stdout=subprocess.PIPE, text=True
            )
            started = [between]
            try:
                port = (between.stdout or sys.stdin).readline().strip()
                started += [
                    subprocess.Popen(
                        [*command, name, folder, str(size), port], stdout=subprocess.PIPE, text=True
                    )
                    for name in ("other", "one")
                ]
                found = json.loads(started[-1].communicate(timeout=_LIMIT)[0])
            except (subprocess.TimeoutExpired, ValueError):
                raise ParameterError(
                    "a process of the benchmark's echo failed: see its lines above"
                ) from None
            finally:
                for process in started:
                    process.kill()
                    process.communicate()
        return Run(found["wall"] * times, found["cpu"] * times)

    return side


def _hand_on(home: Path, size: int) -> None:
    cards = {name: Identity.load(home / name).card for name in _NAMES[:2]}
    context = Identity.load(home / "between").ssl_server_context(
        [card.certificate for card in cards.values()]
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        ends: dict[str, ssl.SSLSocket] = {}
        for _ in cards:
            end = _quick(context.wrap_socket(server.accept()[0], server_side=True))
            ends[_read(end, 5).decode().strip()] = end
    for _ in range(_WARM + _TURNS):
        ends["other"].sendall(_read(ends["one"], size + _SIGNATURE))
        ends["one"].sendall(_read(ends["other"], size + _SIGNATURE))


def _take_part(home: Path, name: str, size: int, port: int) -> None:
    own, peer = Identity.load(home / name), "other" if name == "one" else "one"
    key, body = Identity.load(home / peer).card.key, bytes(size)
    context = own.ssl_client_context([Identity.load(home / "between").card.certificate])
    end = _quick(context.wrap_socket(socket.create_connection(("127.0.0.1", port))))
    end.sendall(name.ljust(5).encode())

    def say() -> None:
        end.sendall(own.sign(labels.ENVELOPE, hashlib.sha256(body).digest()) + body)

    def hear() -> None:
        came = _read(end, size + _SIGNATURE)
        signing.verify(
            key, labels.ENVELOPE, hashlib.sha256(came[_SIGNATURE:]).digest(), bytes(came[:_SIGNATURE])
        )

    walls: list[float] = []
    cpu = time.process_time()
    for _ in range(_WARM + _TURNS):
        begun = time.perf_counter()
        for step in (say, hear) if name == "one" else (hear, say):
            step()
        walls.append(time.perf_counter() - begun)
    cpu = (time.process_time() - cpu) / len(walls)
    print(json.dumps({"wall": median(walls[_WARM:]), "cpu": cpu}))


def _quick(end: ssl.SSLSocket) -> ssl.SSLSocket:
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return end


def _read(end: socket.socket, size: int) -> bytearray:
    found = bytearray()
    while len(found) < size:
        part = end.recv(size - len(found))
        if not part:
            raise ParameterError("the other end of the benchmark's echo is gone")
        found += part
    return found


if __name__ == "__main__":
    if sys.argv[1] == "between":
        _hand_on(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        _take_part(Path(sys.argv[2]), sys.argv[1], int(sys.argv[3]), int(sys.argv[4]))
