"""A federation of processes over the relay, for measurements of whole rounds.

The parent makes keys and charter, starts the relay and the members as processes of their own (this module, run with
`-m`), and reads from each when its rounds began and ended, on the machine's one monotonic clock.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from silo import expiry, sums
from silo.bench.plain import Alternating
from silo.charter import (
    SUMS,
    TWO_PARTY_WORDS,
    Charter,
    Intersection,
    Privacy,
    Relay,
    SumTerms,
    Task,
    Times,
    Vertical,
)
from silo.crypto.rng import SystemRng
from silo.errors import ParameterError
from silo.identity import Identity
from silo.joining import join
from silo.relay import Relay as RelayService
from silo.sum_key import SumKey

_RELAY: Final = "relay"
_LIMIT: Final = 900.0
ALTERNATE: Final = "alternate"
"""In the place of a protocol: masked rounds and plain ones in turn."""
INTERSECT: Final = "intersect"
"""In the place of a protocol: intersections of two lists, with one thread for each member."""
FIT: Final = "fit"
"""In the place of a protocol, before `:model:scheme:columns`: a vertical model; see `silo.bench.vertical_member`."""


@dataclass(frozen=True, slots=True)
class Measured:
    """When each round began at the first and ended at the last member; of each process its most memory, of each member
    what it sent, in bytes.
    """

    spans: Mapping[int, tuple[float, float]]
    memory: Mapping[str, int]
    sent: Mapping[str, int]
    done: int = 0
    """Passes, trees or epochs of a fit."""
    cpu: float = 0.0
    """Seconds that members were on a core while they fitted."""


def federation(
    members: int, length: int, rounds: int, *, protocol: str = "masking", key_bits: int = 3072
) -> Measured:
    """Run `rounds` means of `length` float32 among so many processes. Raises `ParameterError` when one fails.

    Of an intersection `length` are the rows of each member; of a fit too, and `rounds` its passes, trees or epochs.
    """
    names = [f"member-{i}" for i in range(members)]
    with tempfile.TemporaryDirectory(prefix="silo-bench-") as folder:
        home = Path(folder)
        _agree(home, names, length, rounds, protocol, key_bits)
        command = [sys.executable, "-m", "silo.bench.processes"]
        relay = subprocess.Popen([*command, _RELAY, folder, protocol], stdout=subprocess.PIPE, text=True)
        started = {
            name: subprocess.Popen(
                [*command, name, folder, protocol, str(length), str(rounds)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for name in names
        }
        try:
            told = {name: json.loads(one.communicate(timeout=_LIMIT)[0]) for name, one in started.items()}
            told[_RELAY] = json.loads(relay.communicate(timeout=60)[0])
        except (subprocess.TimeoutExpired, ValueError):
            raise ParameterError(
                "a member of the benchmark's federation failed: see its lines above"
            ) from None
        finally:
            for process in (*started.values(), relay):
                process.kill()
                process.wait()
    spans = [told[name]["spans"] for name in names]
    numbers = [int(number) for number in spans[0]]
    return Measured(
        {n: (min(s[str(n)][0] for s in spans), max(s[str(n)][1] for s in spans)) for n in numbers},
        {name: int(one["memory"]) for name, one in told.items()},
        {name: int(told[name]["sent"]) for name in names},
        max(int(told[name].get("done", 0)) for name in names),
        sum(float(told[name].get("cpu", 0.0)) for name in names),
    )


def _agree(home: Path, names: list[str], length: int, rounds: int, protocol: str, key_bits: int) -> None:
    now = expiry.utc_now()
    own = {
        n: Identity.create(n, home / n, passphrase=None, rng=SystemRng(), now=now) for n in (*names, _RELAY)
    }
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    soon = now + timedelta(hours=1)
    fits = protocol.startswith(f"{FIT}:")
    size = 10**12 if fits else 100 * length + (1 << 22)
    named = "masking" if fits or protocol in (ALTERNATE, INTERSECT) else protocol
    terms: dict[str, Any] = {"protocol": named, "two_party": TWO_PARTY_WORDS if len(names) == 2 else ""}
    if SUMS[named].holder:
        key = SumKey.generate(named, rng=SystemRng(), bits=key_bits)
        key.save(own[names[0]], rng=SystemRng())
        terms |= {"key_holder": names[0], "key": key.digest}
    charter = Charter.new(
        "benchmark",
        relay=Relay(own[_RELAY].card, f"wss://127.0.0.1:{port}"),
        members=[own[name].card for name in names],
        tasks=[Task("round", rounds + 1, 1, (rounds + 1) * size, soon)],
        sum=SumTerms.for_members(len(names), **terms),
        time=Times(silence=300),
        intersection=Intersection(rows=length) if protocol == INTERSECT else None,
        vertical=_vertical(protocol, length) if fits else None,
        privacy=[Privacy(names[0], "labels", 1000.0, 1e-5, without_noise="record")]
        if _noised(protocol)
        else (),
        now=now,
        expires=soon,
    )
    for name in names:
        charter = charter.sign(own[name])
    charter.save(home / "charter.toml")


def _vertical(protocol: str, rows: int) -> Vertical:
    """What a fit needs; a split network without noise needs a charter that says so."""
    noised = ("gradients",) if _noised(protocol) else ()
    return Vertical(
        ("linear", "boosting", "split"), rows=rows, passes=1000, trees=1000, fits=1000, noised=noised
    )


def _noised(protocol: str) -> bool:
    return ":split:" in protocol and "-noised/" in protocol


def _serve(home: Path) -> dict[str, Any]:
    charter = Charter.load(home / "charter.toml")
    port = int(charter.relay.url.rsplit(":", 1)[1])
    with RelayService(
        charter, Identity.load(home / _RELAY), host="127.0.0.1", port=port, once=True
    ) as service:
        while service.serving:
            time.sleep(0.05)
    service.raise_error()
    return {}


def _intersect(home: Path, name: str, length: int, rounds: int) -> dict[str, Any]:
    first = length // 2 * int(name.rsplit("-", 1)[1])
    ids = [f"person {number}" for number in range(first, first + length)]
    spans: dict[int, tuple[float, float]] = {}
    with join(home / "charter.toml", home / name, threads=1) as session:
        session.sum(np.zeros(1))  # everybody is here
        for number in range(rounds):
            begun = time.monotonic()
            found = session.intersect(ids)
            spans[number] = (begun, time.monotonic())
            if len(found) != length - length // 2:
                raise ParameterError(f"{name} found {len(found)} rows in common")
    return {"spans": spans, "sent": session.seat.endpoint.traffic.bytes_sent}


def _take_part(home: Path, name: str, length: int, rounds: int) -> dict[str, Any]:
    values = np.random.default_rng(1).uniform(-1, 1, length).astype(np.float32)
    spans: dict[int, tuple[float, float]] = {}
    with join(home / "charter.toml", home / name) as session:
        session.sum(np.zeros(1))  # everybody is here
        for number in range(rounds):
            values[0] = number / rounds
            begun = time.monotonic()
            session.mean(values)
            spans[session.last.round if session.last else 0] = (begun, time.monotonic())
    return {"spans": spans, "sent": session.seat.endpoint.traffic.bytes_sent}


def _main(role: str, folder: str, protocol: str, *figures: str) -> None:
    if protocol == ALTERNATE:
        sums.SUMS["masking"] = Alternating
    home = Path(folder)
    if role == _RELAY:
        told = _serve(home)
    elif protocol.startswith(f"{FIT}:"):
        from silo.bench import vertical_member

        told = vertical_member.take_part(home, role, protocol.split(":")[1:], *map(int, figures))
    else:
        told = (_intersect if protocol == INTERSECT else _take_part)(home, role, *map(int, figures))
    print(json.dumps({**told, "memory": _most_memory()}))


def _most_memory() -> int:
    """Bytes. The kernel's own account of this program: what `getrusage` says includes the process that started it."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ParameterError("the memory of a process is read from /proc, which is not here")


if __name__ == "__main__":
    _main(*sys.argv[1:])
