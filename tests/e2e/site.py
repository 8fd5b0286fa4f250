"""A federation of real processes on this machine: keys, a charter, a relay, members."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from silo import expiry
from silo.charter import SUMS, Charter, Intersection, Privacy, Relay, SumTerms, Task, Times, Vertical
from silo.crypto.rng import SystemRng
from silo.identity import Identity
from silo.joining import script_digest
from silo.sum_key import SumKey

SCRIPTS = Path(__file__).parent / "scripts"
PARTY = SCRIPTS / "party.py"
MEMBERS = ("ash", "birch", "cedar", "dogwood")
PATIENCE = 150.0
"""Seconds that a test waits for anything; only a test that fails comes near it."""


def held_port() -> socket.socket:
    """A free port, kept from everybody else before a relay listens on it and between two relays.

    Linux lets a listener in beside a socket that never listens, as both have SO_REUSEADDR, and gives such a port to
    nobody who asks for any; elsewhere the port is free again at once.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


def wait_until(ready: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    until = time.monotonic() + seconds
    while not (found := ready()):
        if time.monotonic() > until:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)
    return found


@dataclass
class Process:
    """One child; what it says goes to files, so that no pipe can fill up."""

    name: str
    command: list[str]
    child: subprocess.Popen[bytes]
    out: Path
    err: Path

    @property
    def stdout(self) -> str:
        return self.out.read_text(encoding="utf-8")

    @property
    def stderr(self) -> str:
        return self.err.read_text(encoding="utf-8")

    @property
    def last_lines(self) -> list[str]:
        return self.stderr.strip().splitlines()

    def end(self, seconds: float = PATIENCE) -> int:
        """Its exit code (negative: the signal)."""
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.name} still runs after {seconds} s\n{self.stdout}\n{self.stderr}"
            ) from None

    def kill(self) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait(10)


@dataclass
class Site:
    home: Path
    names: tuple[str, ...] = MEMBERS
    script: Path | None = PARTY
    """None: a task that allows any work."""
    intersection: Intersection | None = None
    vertical: Vertical | None = None
    time: Times = field(default_factory=lambda: Times(reconnect=2.0, silence=4.0, work=60.0))
    terms: dict[str, Any] = field(default_factory=dict)
    privacy: list[Privacy] = field(default_factory=list)
    made: dict[str, datetime] = field(default_factory=dict)
    days: dict[str, int] = field(default_factory=dict)
    unsigned: tuple[str, ...] = ()
    receivers: tuple[str, ...] = ("*",)
    passphrases: dict[str, str] = field(default_factory=dict)
    rows: int = 1000
    processes: list[Process] = field(default_factory=list)

    def __post_init__(self) -> None:
        now, rng = expiry.utc_now(), SystemRng()
        self.held = held_port()
        self.port = int(self.held.getsockname()[1])
        if sys.platform != "linux":
            self.held.close()
        self.people = {
            name: Identity.create(
                name,
                self.keys(name),
                passphrase=self.passphrases.get(name),
                rng=rng,
                now=self.made.get(name, now),
                days=self.days.get(name, 5000),
            )
            for name in (*self.names, "relay")
        }
        protocol = str(self.terms.get("protocol", "masking"))
        if SUMS[protocol].holder:
            key = SumKey.generate(protocol, rng=rng, bits=2048)
            key.save(self.people[self.names[0]], rng=rng)
            self.terms = {**self.terms, "key_holder": self.names[0], "key": key.digest}
        start = min((now, *self.made.values()))
        soon = now + timedelta(days=1)
        digest = f"sha256:{script_digest(self.script).hex()}" if self.script else ""
        charter = Charter.new(
            "end to end",
            relay=Relay(self.people["relay"].card, f"wss://127.0.0.1:{self.port}"),
            members=[self.people[name].card for name in self.names],
            tasks=[Task("main", rounds=10_000, rows=self.rows, bytes=10**9, expires=soon, script=digest)],
            sum=SumTerms.for_members(len(self.names), **self.terms),
            time=self.time,
            privacy=self.privacy,
            receivers=self.receivers,
            intersection=self.intersection,
            vertical=self.vertical,
            now=start,
            expires=soon,
        )
        for name in self.names:
            if name not in self.unsigned:
                charter = charter.sign(self.people[name])
        self.charter = charter
        self.charter_path = self.home / "charter.toml"
        charter.save(self.charter_path)

    def keys(self, name: str) -> Path:
        return self.home / "keys" / name

    def notes(self, name: str) -> Path:
        """The folder in which the party script of a member leaves what it saw."""
        return self.home / f"notes-{name}"

    def spawn(self, name: str, *arguments: str, environment: dict[str, str] | None = None) -> Process:
        """Start `python ARGUMENTS`."""
        number = len(self.processes)
        out, err = (self.home / f"{number:02d}-{name}.{end}" for end in ("out", "err"))
        command = [sys.executable, *arguments]
        clean = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        # One thread of BLAS each: there are more processes here than cores.
        clean |= {"PYTHONUNBUFFERED": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        with out.open("wb") as says, err.open("wb") as complains:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=says,
                stderr=complains,
                env=clean | (environment or {}),
                cwd=self.home,
            )
        process = Process(name, command, child, out, err)
        self.processes.append(process)
        return process

    def silo(self, name: str, *arguments: str, **options: Any) -> Process:
        """Start `silo ARGUMENTS`."""
        return self.spawn(name, "-m", "silo", *arguments, **options)

    def relay(
        self, *, program: tuple[str, ...] = ("-m", "silo"), ready: bool = True, **options: Any
    ) -> Process:
        """Start the relay and wait until it listens."""
        arguments = ("relay", "--charter", str(self.charter_path), "--identity", str(self.keys("relay")))
        process = self.spawn("relay", *program, *arguments, "--host", "127.0.0.1", "--json", **options)
        (self.home / "relay.pid").write_text(str(process.child.pid))
        if ready:
            wait_until(
                lambda: "listening" in process.stdout or process.child.poll() is not None, "relay listens"
            )
            assert process.child.poll() is None, process.stderr
        return process

    def psi(self, name: str, file: Path, *words: str) -> Process:
        """Start a member that intersects the column `id` of a file."""
        charter, identity = str(self.charter_path), str(self.keys(name))
        given = ("--column", "id", "--charter", charter, "--identity", identity, "--quiet", *words)
        return self.silo(name, "psi", str(file), *given)

    def join(self, name: str, *words: str, script: Path | None = None, **options: Any) -> Process:
        """Start a member; `words` are KEY=VALUE for its script."""
        return self.silo(
            name,
            "join",
            str(script or self.script),
            "--charter",
            str(self.charter_path),
            "--identity",
            str(self.keys(name)),
            "--quiet",
            "--",
            f"home={self.notes(name)}",
            *words,
            **options,
        )

    def again(self, process: Process) -> Process:
        """The same command again."""
        return self.spawn(process.name, *process.command[1:])

    def log(self, name: str) -> list[dict[str, Any]]:
        """What a member's script wrote down so far."""
        path = self.notes(name) / "log.jsonl"
        if not path.exists():
            return []
        lines = path.read_text().splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]

    def rounds(self, name: str) -> dict[int, list[str]]:
        """The cohort of each round of training that a member finished."""
        return {line["round"]: line["survivors"] for line in self.log(name) if "round" in line}

    def final(self, name: str) -> dict[str, Any]:
        """The parameters with which a member ended."""
        with np.load(self.notes(name) / "final.npz", allow_pickle=False) as loaded:
            return {key: loaded[key] for key in loaded.files}

    def joins(self, name: str) -> int:
        """How many processes of a member have come in so far."""
        return sum("joined" in line for line in self.log(name))

    def told(self, relay: Process) -> list[dict[str, Any]]:
        """The rounds as the relay reported them."""
        lines = [json.loads(line) for line in relay.stdout.splitlines() if line.endswith("}")]
        return [line for line in lines if "round" in line]

    def open_gate(self) -> Path:
        path = self.home / "open"
        path.touch()
        return path

    def close(self) -> None:
        for process in self.processes:
            if process.child.poll() is None:
                process.child.send_signal(signal.SIGCONT)
            process.kill()
        self.held.close()


@contextmanager
def site(home: Path, **options: Any) -> Iterator[Site]:
    made = Site(home, **options)
    try:
        yield made
    finally:
        made.close()


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two sets of parameters are equal to the last bit."""
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)
