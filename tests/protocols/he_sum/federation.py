"""A homomorphic sum in memory: roles moved in step, with a hand in between that may change, drop or repeat messages."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from silo.crypto.errors import SiloError
from silo.crypto.keys import AgreementKey
from silo.crypto.masking import Plain
from silo.crypto.ring import Exact, Ring
from silo.crypto.rng import InsecureSeededRng, SystemRng
from silo.crypto.signing import SigningKey
from silo.protocols import cohort
from silo.protocols.codec import Message
from silo.protocols.envelope import EVERYBODY, Opened, open_frame, seal
from silo.protocols.errors import ProtocolAborted, ProtocolViolation
from silo.protocols.he_sum import messages
from silo.protocols.he_sum.context import Context
from silo.protocols.he_sum.holder import roles as holder
from silo.protocols.he_sum.parameters import Parameters
from silo.protocols.roster import Roster
from silo.protocols.step import Step
from silo.protocols.total import Total
from silo.sum_key import SumKey

RELAY = "relay"
KINDS = {
    kind.__name__: kind
    for kind in (*vars(messages).values(), *vars(cohort).values())
    if isinstance(kind, type) and issubclass(kind, Message)
}
Hand = Callable[[str, str, Any], Any]
"""(sender, recipient, message) -> the message that arrives, or None when it is lost."""


@cache
def sum_key(protocol: str) -> SumKey:
    return SumKey.generate(protocol, rng=SystemRng(), bits=2048)


@dataclass
class Outcome:
    """What became of a round: totals and errors by member, who was refused by the aggregator, and what was said."""

    totals: dict[str, Total | None] = field(default_factory=dict)
    errors: dict[str, SiloError] = field(default_factory=dict)
    refused: dict[str, ProtocolViolation] = field(default_factory=dict)
    ended: SiloError | None = None
    said: list[tuple[str, str, Any]] = field(default_factory=list)
    steps: list[tuple[str, str]] = field(default_factory=list)
    """(member, once) in the order of the steps that are answered once."""


@dataclass
class Federation:
    """Members m0, m1, …; m0 holds the key where somebody does."""

    protocol: str
    n: int = 4
    threshold: int = 0
    colluders: int = 1
    bits: int = 32
    length: int = 6
    receivers: tuple[str, ...] = ()
    round: int = 1

    def __post_init__(self) -> None:
        self.names = [f"m{i}" for i in range(self.n)]
        self.rngs = {name: InsecureSeededRng(9 * self.round + i) for i, name in enumerate(self.names)}
        self.keys = {
            name: SigningKey.generate(rng=InsecureSeededRng(50 + i)) for i, name in enumerate(self.names)
        }
        self.relay = SigningKey.generate(rng=InsecureSeededRng(99))
        self.channels = {
            name: AgreementKey.generate(rng=InsecureSeededRng(70 + i)) for i, name in enumerate(self.names)
        }
        held = self.protocol != "lattice"
        threshold = self.threshold or min(self.n, 2 * self.n // 3 + 1)
        parameters = Parameters(
            protocol=self.protocol,
            parties=self.n,
            threshold=threshold,
            minimum_cohort=threshold,
            colluders=self.colluders,
            bits=self.bits,
            length=self.length,
            holder="m0" if held else "",
            key=sum_key(self.protocol).fingerprint if held else b"",
            receivers=self.receivers or tuple(self.names),
            binding=bytes(32),
        )
        roster = Roster.of({name: key.public for name, key in self.keys.items()})
        shown = {name: channel.public for name, channel in self.channels.items()}
        self.context = Context(b"s" * 32, self.round, roster, RELAY, parameters, shown)

    def plain(self, name: str, values: Any) -> Plain:
        return Plain((np.asarray(values, np.int64),), Exact(Ring.of(self.bits), self.n), weight=1.0)

    def one_hot(self) -> dict[str, Any]:
        """Everybody sends a one at its own place: a 2 in the sum is double counting."""
        return {name: np.eye(self.length, dtype=np.int64)[i] for i, name in enumerate(self.names)}

    def member(self, name: str, values: Any) -> Any:
        receives = name in self.context.parameters.receivers
        plain, own, rng = self.plain(name, values), self.channels[name], self.rngs[name]
        if self.protocol == "lattice":
            from silo.protocols.he_sum.joint import roles as joint

            return joint.member(self.context, name, plain, own, rng=rng, receives=receives)
        key, terms = sum_key(self.protocol), self.context.parameters
        held: dict[str, Any] = {}
        if name == terms.holder:
            held = {"public": key.public, "key": lambda: key.decryption(terms.count, terms.bits)}
        return holder.member(self.context, name, plain, own, rng=rng, receives=receives, **held)

    def aggregator(self) -> Any:
        if self.protocol == "lattice":
            from silo.protocols.he_sum.joint import roles as joint

            return joint.aggregator(self.context)
        return holder.aggregator(self.context)

    def sealed(
        self, name: str, message: Message, to: str = EVERYBODY, *, round: int = 0, note: bytes = b""
    ) -> Opened[Any]:
        """Sign as `name` and open again, as the driver does."""
        bearings = self.context.bearings
        signer = self.relay if name == RELAY else self.keys[name]
        signed = dataclasses.replace(bearings, round=round) if round else bearings
        sent = seal(message, signed, sender=name, recipient=to, signer=signer, note=note)
        return self.opened(bytes(sent.frame), name)

    def opened(self, frame: bytes, came_from: str) -> Opened[Any]:
        return open_frame(
            frame,
            bearings=self.context.bearings,
            keys={**self.context.roster.keys, RELAY: self.relay.public},
            kinds=KINDS,
            recipients=frozenset({EVERYBODY, RELAY, *self.names}),
            limit=10**9,
            came_from=came_from,
        )

    def run(
        self,
        inputs: Mapping[str, Any] | None = None,
        *,
        hand: Hand | None = None,
        lose: Mapping[str, str] | None = None,
    ) -> Outcome:
        """One round. `lose` names the message before which a member disappears; `hand` meddles."""
        return _Run(self, inputs or self.one_hot(), hand or (lambda *said: said[2]), lose or {}).all()


class _Run:
    def __init__(
        self, fed: Federation, inputs: Mapping[str, Any], hand: Hand, lose: Mapping[str, str]
    ) -> None:
        self.fed, self.hand, self.lose = fed, hand, lose
        self.found = Outcome()
        self.box: dict[str, list[Opened[Any]]] = {RELAY: [], **{name: [] for name in fed.names}}
        self.roles = {name: fed.member(name, values) for name, values in inputs.items()}
        self.waiting: dict[str, Step] = {}
        self.gone: set[str] = set()

    def all(self) -> Outcome:
        for name in list(self.roles):
            self._move(name, None)
        aggregator = self.fed.aggregator()
        try:
            step = next(aggregator)
            while True:
                step = aggregator.send(self._serve(step))
        except StopIteration:
            pass
        except SiloError as problem:
            self.found.ended = problem
        for name in list(self.waiting):
            self._deliver(name)
        return self.found

    def _serve(self, step: Step) -> dict[str, Opened[Any]]:
        for outgoing in step.send:
            for to in outgoing.to:
                message = self.hand(RELAY, to, outgoing.message)
                if message is not None and to not in self.gone:
                    self.found.said.append((RELAY, to, message))
                    self.box[to].append(self.fed.sealed(RELAY, message))
        for name in list(self.waiting):
            self._deliver(name)
        if step.wait is None:
            return {}
        taken: dict[str, Opened[Any]] = {}
        for opened in self.box[RELAY]:
            if opened.sender in step.wait.senders and opened.sender not in taken | self.found.refused:
                try:
                    step.wait.accept(opened)
                    taken[opened.sender] = opened
                except ProtocolViolation as problem:
                    self.found.refused[opened.sender] = problem
        self.box[RELAY] = []
        if len(step.wait.senders) == 1 and not taken:
            raise ProtocolAborted(
                f"{min(step.wait.senders)} was given up while {step.wait.name} was waited for"
            )
        return taken

    def _deliver(self, name: str) -> None:
        while self.box[name] and name in self.waiting:
            opened = self.box[name].pop(0)
            wait = self.waiting[name].wait
            if wait is not None and isinstance(opened.message, wait.kinds):
                self._move(name, {RELAY: opened})

    def _move(self, name: str, inbox: Any) -> None:
        role = self.roles[name]
        try:
            step = next(role) if inbox is None else role.send(inbox)
            while True:
                sent = self._send(name, step)
                if name in self.gone:
                    role.close()
                    self.waiting.pop(name, None)
                    return
                if step.wait is not None:
                    self.waiting[name] = step
                    return
                step = role.send(sent)
        except StopIteration as end:
            self.found.totals[name] = end.value[0]
            self.waiting.pop(name, None)
        except SiloError as problem:
            self.found.errors[name] = problem
            self.gone.add(name)
            self.waiting.pop(name, None)

    def _send(self, name: str, step: Step) -> dict[str, Opened[Any]]:
        if step.once:
            self.found.steps.append((name, step.once))
        sent: dict[str, Opened[Any]] = {}
        for outgoing in step.send:
            if self.lose.get(name) == type(outgoing.message).__name__:
                self.gone.add(name)
                return {}
            to = EVERYBODY if outgoing.public else RELAY
            sent[name] = self.fed.sealed(name, outgoing.message, to, note=outgoing.note)
            message = self.hand(name, RELAY, outgoing.message)
            if message is None:
                continue
            self.found.said.append((name, RELAY, message))
            arrives = (
                sent[name]
                if message is outgoing.message
                else self.fed.sealed(name, message, to, note=outgoing.note)
            )
            self.box[RELAY].append(arrives)
        return sent
