"""A whole federation on this machine: keys, charter, relay and members, each a process of its own.

It uses nothing but the commands that organisations use, over mutual TLS on loopback.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from silo import expiry
from silo.charter import SUMS, Charter, Intersection, Privacy, Relay, SumTerms, Task, Times, Vertical
from silo.crypto.errors import SiloError
from silo.crypto.rng import SystemRng
from silo.identity import Identity
from silo.joining import script_digest
from silo.sum_key import SumKey

RELAY: Final = "relay"
_LIMIT: Final = 600.0


class DemoFailed(SiloError):
    """A process of a demo ended with an error; its last lines are in the message, and in `said` by name."""

    code = "SILO-501"

    def __init__(self, sentence: str, said: Mapping[str, str] | None = None) -> None:
        self.said = dict(said or {})
        super().__init__(sentence)


@dataclass(eq=False)
class LocalFederation:
    """Members by name in `folder`; `terms` are those of the charter's [sum]; nobody sends more than `size` bytes."""

    folder: Path
    names: Sequence[str]
    script: Path
    rounds: int
    rows: int
    terms: Mapping[str, Any] = field(default_factory=dict)
    privacy: Sequence[Privacy] = ()
    intersection: Intersection | None = None
    vertical: Vertical | None = None
    size: int = 10**9
    finished: list[dict[str, Any]] = field(default_factory=list)
    charter: Charter | None = None

    def agree(self) -> Charter:
        """Make keys, write the charter and have everybody sign it."""
        now = expiry.utc_now()
        keys = self.folder / "keys"
        shutil.rmtree(keys, ignore_errors=True)
        own = {
            name: Identity.create(name, keys / name, passphrase=None, rng=SystemRng(), now=now)
            for name in (*self.names, RELAY)
        }
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        ends = now + timedelta(days=7)
        digest = f"sha256:{script_digest(self.script).hex()}"
        charter = Charter.new(
            "Demo federation",
            relay=Relay(own[RELAY].card, f"wss://127.0.0.1:{port}"),
            members=[own[name].card for name in self.names],
            tasks=[Task("demo", self.rounds, self.rows, self.size, ends, script=digest)],
            sum=SumTerms.for_members(len(self.names), **self._terms(own[self.names[0]])),
            time=Times(reconnect=10, silence=20, work=120),
            privacy=self.privacy,
            intersection=self.intersection,
            vertical=self.vertical,
            now=now,
            expires=ends,
        )
        for name in self.names:
            SumKey.of_charter(charter, own[name])
            charter = charter.sign(own[name])
        charter.save(self.folder / "charter.toml")
        self.charter = charter
        return charter

    def _terms(self, holder: Identity) -> dict[str, Any]:
        """Those of the charter; under paillier and ckks the first member makes the key."""
        terms = dict(self.terms)
        protocol = str(terms.get("protocol", "masking"))
        if SUMS[protocol].holder:
            key = SumKey.generate(protocol, rng=SystemRng())
            key.save(holder, rng=SystemRng())
            terms |= {"key_holder": holder.name, "key": key.digest}
        return terms

    def outbox(self, name: str) -> Path:
        """Where a member keeps the list of what left it."""
        return self.folder / "keys" / name / "state" / "outbox.db"

    def ledger(self, name: str) -> Path:
        """Where a member keeps its ledger of privacy spent."""
        return self.folder / "keys" / name / "state" / "ledger.db"

    def run(
        self, arguments: Mapping[str, Sequence[str]], on_round: Callable[[dict[str, Any]], None]
    ) -> dict[str, dict[str, Any]]:
        """Start everything and wait; returns what each `silo join --json` printed. Raises `DemoFailed`."""
        charter = ["--charter", str(self.folder / "charter.toml")]
        silo = [sys.executable, "-m", "silo"]
        relay = _start(
            [*silo, "relay", *charter, "--identity", str(self.folder / "keys" / RELAY), "--host", "127.0.0.1",
             "--once", "--json", "--record", str(self.folder / "relay-saw")]
        )  # fmt: skip
        members: dict[str, subprocess.Popen[str]] = {}
        try:
            if relay.stdout is None or "listening" not in relay.stdout.readline():
                raise DemoFailed(f"the relay did not start: {_last(relay.communicate(timeout=10)[1])}")
            watching = threading.Thread(target=self._watch, args=(relay, on_round), daemon=True)
            watching.start()
            for name in self.names:
                own = [*charter, "--identity", str(self.folder / "keys" / name), "--json"]
                members[name] = _start([*silo, "join", str(self.script), *own, "--", *arguments[name]])
            ended = {name: process.communicate(timeout=_LIMIT) for name, process in members.items()}
            failed = [name for name, process in members.items() if process.returncode]
            if failed:
                said = {name: _last(ended[name][1]) for name in failed}
                told = "; ".join(f"{name}: {lines}" for name, lines in said.items())
                raise DemoFailed(f"{len(failed)} of {len(members)} members failed. {told}", said)
            watching.join(timeout=10)
            return {name: json.loads(out) for name, (out, _) in ended.items()}
        except subprocess.TimeoutExpired:
            raise DemoFailed(f"the federation did not end within {_LIMIT:.0f} s") from None
        finally:
            for process in (*members.values(), relay):
                process.kill()
                process.communicate()

    def _watch(self, relay: subprocess.Popen[str], on_round: Callable[[dict[str, Any]], None]) -> None:
        for line in relay.stdout or ():
            round_ = json.loads(line)
            # A relay that fails prints a line that is no round.
            if "round" in round_:
                self.finished.append(round_)
                on_round(round_)


def _start(command: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _last(lines: str) -> str:
    return " | ".join(line.strip() for line in lines.strip().splitlines()[-5:])
