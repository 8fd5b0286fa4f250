"""One message there and one back over bare sockets: a floor to compare an exchange over the relay with.

Two processes and a third that hands on what comes, over blocking sockets under mutual TLS 1.3; each message is signed,
and checked on arrival. No frames, numbers, records, second threads or encryption between members.
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
_HERE: Final = ("127.0.0.1", 0)


def echoed(size: int, times: int) -> Side:
    """Messages of `size` bytes, there and back: the median of some hundred, as long as `times` of them take."""

    def side() -> Run:
        with (
            tempfile.TemporaryDirectory(prefix="silo-bench-") as folder,
            socket.create_server(_HERE) as server,
        ):
            for name in _NAMES:
                Identity.create(
                    name, Path(folder, name), passphrase=None, rng=SystemRng(), now=expiry.utc_now()
                )
            port, number = server.getsockname()[1], server.fileno()
            started = [
                _started("between", folder, size, number, pass_fds=(number,)),
                _started("other", folder, size, port),
                _started("one", folder, size, port),
            ]
            try:
                _, other, one = (json.loads(process.communicate(timeout=_LIMIT)[0]) for process in started)
            except (subprocess.TimeoutExpired, ValueError):
                raise ParameterError(
                    "a process of the benchmark's echo failed: see its lines above"
                ) from None
            finally:
                for process in started:
                    process.kill()
                    process.wait()
        return Run(one["wall"] * times, (one["cpu"] + other["cpu"]) * times)

    return side


def _started(
    name: str, folder: str, size: int, at: int, pass_fds: tuple[int, ...] = ()
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "silo.bench.echo", name, folder, str(size), str(at)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=pass_fds)


def _hand_on(home: Path, size: int, number: int) -> None:
    cards = {name: Identity.load(home / name).card for name in _NAMES[:2]}
    context = Identity.load(home / "between").ssl_server_context(
        [card.certificate for card in cards.values()]
    )
    with socket.socket(fileno=number) as server:
        ends: dict[str, ssl.SSLSocket] = {}
        for _ in cards:
            end = _quick(context.wrap_socket(server.accept()[0], server_side=True))
            ends[_read(end, 5).decode().strip()] = end
    for _ in range(_WARM + _TURNS):
        ends["other"].sendall(_read(ends["one"], size + _SIGNATURE))
        ends["one"].sendall(_read(ends["other"], size + _SIGNATURE))
    print(json.dumps({}))


def _take_part(home: Path, name: str, size: int, port: int) -> None:
    own, peer = Identity.load(home / name), "other" if name == "one" else "one"
    key, body = Identity.load(home / peer).card.key, bytes(size)
    context = own.ssl_client_context([Identity.load(home / "between").card.certificate])
    end = _quick(context.wrap_socket(socket.create_connection(("127.0.0.1", port))))
    end.sendall(name.ljust(5).encode())

    def say() -> None:
        end.sendall(own.sign(labels.ENVELOPE, hashlib.sha256(body).digest()) + body)

    def hear() -> None:
        heard(end, size, key)

    walls: list[float] = []
    cpu = time.process_time()
    for _ in range(_WARM + _TURNS):
        begun = time.perf_counter()
        for step in (say, hear) if name == "one" else (hear, say):
            step()
        walls.append(time.perf_counter() - begun)
    cpu = (time.process_time() - cpu) / len(walls)
    print(json.dumps({"wall": median(walls[_WARM:]), "cpu": cpu}))


def heard(end: socket.socket, size: int, key: bytes) -> bytearray:
    """A message of so many bytes. Raises `InvalidSignature`, or `ParameterError` where the other end is gone."""
    came = _read(end, size + _SIGNATURE)
    body = came[_SIGNATURE:]
    signing.verify(key, labels.ENVELOPE, hashlib.sha256(body).digest(), bytes(came[:_SIGNATURE]))
    return body


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
        _hand_on(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        _take_part(Path(sys.argv[2]), sys.argv[1], int(sys.argv[3]), int(sys.argv[4]))
