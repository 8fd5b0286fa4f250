"""A full secure mean among processes over the relay, against the same exchange with the masks off.

The parent makes keys and charter, starts the relay and the members as processes of their own (this module,
run with `-m`), and reads from each when its rounds began and ended, on the machine's one monotonic clock.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np

from silo import expiry, sums
from silo.bench import Row, Settings
from silo.bench.measure import Run, Timing
from silo.bench.plain import Alternating, masked
from silo.charter import Charter, Relay, SumTerms, Task
from silo.crypto.rng import SystemRng
from silo.errors import ParameterError
from silo.identity import Identity
from silo.joining import join
from silo.relay import Relay as RelayService

_MEMBERS = 5
_RELAY = "relay"
_LIMIT = 600.0


def secure_mean_over_the_relay(settings: Settings) -> Iterator[Row]:
    """Five member processes and a relay on loopback, mutual TLS, vectors of `settings.length` float32."""
    rounds = 2 * (settings.repeats + 1)
    spans = _federation(settings.length, rounds)
    sides: dict[bool, list[Run]] = {True: [], False: []}
    for number, (begun, ended) in sorted(spans.items()):
        if number > 2:  # the first of each kind warms up
            sides[masked(number)].append(Run(ended - begun, 0.0))
    ours, plain = Timing(tuple(sides[True])), Timing(tuple(sides[False]))
    yield Row(
        name=f"a secure mean among {_MEMBERS} processes over the relay",
        value=ours.median / plain.median,
        unit="times its time",
        against="the same exchange with the masks off",
        bound=1.5,
        direction="at most",
        sides={"masked": ours, "masks off": plain},
        note=f"{settings.length} float32 each way for each member, mutual TLS on loopback",
    )


def _federation(length: int, rounds: int) -> dict[int, tuple[float, float]]:
    names = [f"member-{i}" for i in range(_MEMBERS)]
    with tempfile.TemporaryDirectory(prefix="silo-bench-") as folder:
        home = Path(folder)
        _agree(home, names, length, rounds)
        command = [sys.executable, "-m", "silo.bench.round"]
        relay = subprocess.Popen([*command, "relay", folder], stdout=subprocess.PIPE, text=True)
        members = [
            subprocess.Popen(
                [*command, name, folder, str(length), str(rounds)], stdout=subprocess.PIPE, text=True
            )
            for name in names
        ]
        try:
            spans = [json.loads(member.communicate(timeout=_LIMIT)[0]) for member in members]
            relay.communicate(timeout=10)
        except (subprocess.TimeoutExpired, ValueError):
            raise ParameterError(
                "a member of the benchmark's federation failed: see its lines above"
            ) from None
        finally:
            for process in (*members, relay):
                process.kill()
                process.wait()
    numbers = [int(number) for number in spans[0]]
    return {n: (min(s[str(n)][0] for s in spans), max(s[str(n)][1] for s in spans)) for n in numbers}


def _agree(home: Path, names: list[str], length: int, rounds: int) -> None:
    now = expiry.utc_now()
    own = {
        n: Identity.create(n, home / n, passphrase=None, rng=SystemRng(), now=now) for n in (*names, _RELAY)
    }
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    soon = now + timedelta(hours=1)
    charter = Charter.new(
        "benchmark",
        relay=Relay(own[_RELAY].card, f"wss://127.0.0.1:{port}"),
        members=[own[name].card for name in names],
        tasks=[Task("round", rounds + 1, 1, (rounds + 1) * (8 * length + (1 << 20)), soon)],
        sum=SumTerms.for_members(len(names)),
        now=now,
        expires=soon,
    )
    for name in names:
        charter = charter.sign(own[name])
    charter.save(home / "charter.toml")


def _serve(home: Path) -> None:
    charter = Charter.load(home / "charter.toml")
    port = int(charter.relay.url.rsplit(":", 1)[1])
    with RelayService(
        charter, Identity.load(home / _RELAY), host="127.0.0.1", port=port, once=True
    ) as service:
        while service.serving:
            time.sleep(0.05)
    service.raise_error()


def _take_part(home: Path, name: str, length: int, rounds: int) -> dict[int, tuple[float, float]]:
    values = np.random.default_rng(1).uniform(-1, 1, length).astype(np.float32)
    spans: dict[int, tuple[float, float]] = {}
    with join(home / "charter.toml", home / name) as session:
        session.sum(np.zeros(1))  # everybody is here
        for number in range(rounds):
            values[0] = number / rounds
            begun = time.monotonic()
            session.mean(values)
            spans[session.last.round if session.last else 0] = (begun, time.monotonic())
    return spans


def _main(role: str, folder: str, *figures: str) -> None:
    sums.SUMS["masking"] = Alternating
    if role == _RELAY:
        _serve(Path(folder))
    else:
        print(json.dumps(_take_part(Path(folder), role, *map(int, figures))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
