"""A federation of states in memory: every party of one round, and who disappears when."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from silo.crypto.masking import Plain
from silo.crypto.ring import Exact, Ring
from silo.crypto.rng import InsecureSeededRng
from silo.crypto.signing import SigningKey
from silo.protocols import cohort
from silo.protocols.codec import Message
from silo.protocols.envelope import EVERYBODY, Opened, open_frame, seal
from silo.protocols.roster import Roster
from silo.protocols.secagg import client, messages, server
from silo.protocols.secagg.context import Context
from silo.protocols.secagg.parameters import Parameters
from silo.protocols.total import Total

RELAY = "relay"
STEPS = ("advertise", "reveal", "share", "upload", "vote", "unmask")
KINDS = {
    kind.__name__: kind
    for kind in (*vars(messages).values(), *vars(cohort).values())
    if isinstance(kind, type) and issubclass(kind, Message)
}


@dataclass
class Federation:
    """Members m0, m1, …; `seed` fixes every random choice."""

    n: int
    threshold: int = 0
    colluders: int = 0
    cohort: int = 0
    bits: int = 32
    length: int = 5
    blinded: bool = False
    degree: int = 0
    seed: int = 1
    binding: bytes = bytes(32)
    session: bytes = b"s" * 32
    round: int = 1
    wire: list[tuple[str, str, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.threshold = self.threshold or (min(self.n, 2 * self.n // 3 + 1))
        self.cohort = self.cohort or 2
        self.names = [f"m{i:04d}" for i in range(self.n)]
        self.rngs = {name: InsecureSeededRng(self.seed * 100_003 + i) for i, name in enumerate(self.names)}
        self.keys = {
            name: SigningKey.generate(rng=InsecureSeededRng(10**6 + i)) for i, name in enumerate(self.names)
        }
        self.relay_key = SigningKey.generate(rng=InsecureSeededRng(10**7))
        self.context = self.make_context()

    def make_context(self, **changes: Any) -> Context:
        parameters = Parameters(
            parties=self.n,
            threshold=self.threshold,
            minimum_cohort=self.cohort,
            colluders=self.colluders,
            bits=self.bits,
            length=self.length,
            blinded=self.blinded,
            degree=self.degree,
            binding=self.binding,
        )
        parameters = dataclasses.replace(parameters, **changes)
        roster = Roster.of({name: key.public for name, key in self.keys.items()})
        return Context(self.session, self.round, roster, RELAY, parameters)

    def sealed(
        self,
        name: str,
        message: Message,
        *,
        to: str = EVERYBODY,
        note: bytes = b"",
        context: Context | None = None,
    ) -> Opened[Any]:
        """Sign as `name` and open again, as the driver does."""
        context = context or self.context
        signer = self.relay_key if name == RELAY else self.keys[name]
        sent = seal(message, context.bearings, sender=name, recipient=to, signer=signer, note=note)
        self.wire.append((name, type(message).__name__, bytes(sent.frame)))
        keys = {**context.roster.keys, RELAY: self.relay_key.public}
        return open_frame(
            sent.frame,
            bearings=context.bearings,
            keys=keys,
            kinds=KINDS,
            recipients=frozenset({EVERYBODY, RELAY, *self.names}),
            limit=10**9,
            came_from=name,
        )

    def over_the_wire(self, message: Message, to: str = EVERYBODY) -> Any:
        """What a member reads of the aggregator's message."""
        return self.sealed(RELAY, message, to=to).message

    def plains(self, inputs: Mapping[str, np.ndarray]) -> dict[str, Plain]:
        encoder = Exact(Ring.of(self.bits), self.n)
        return {name: Plain((inputs[name],), encoder) for name in inputs}

    def one_hot(self) -> dict[str, np.ndarray]:
        """Everybody sends a one at its own place: a 2 in the sum is double counting."""
        assert self.length >= self.n
        return {name: np.eye(self.length, dtype=np.int64)[i] for i, name in enumerate(self.names)}

    def run(
        self,
        plains: Mapping[str, Plain],
        drops: Mapping[str, str] | None = None,
        *,
        between: Callable[[Any, str], Any] = lambda state, name: state,
        receivers_finish: bool = True,
    ) -> Outcome:
        """One whole round. `drops[name]` is the step before which `name` disappears; `between` may swap
        states (to store and restore them)."""
        drops = dict(drops or {})
        for name, step in drops.items():
            assert name in self.names
            assert step in STEPS

        def alive(names: Sequence[str], step: str) -> list[str]:
            late = STEPS.index(step)
            return [n for n in names if n not in drops or STEPS.index(drops[n]) > late]

        states: dict[str, Any] = {}
        collecting: Any = server.open_round(self.context, frozenset(self.names))
        here = alive(self.names, "advertise")
        for name in here:
            states[name], message = client.advertise(self.context, name, rng=self.rngs[name])
            states[name] = between(states[name], name)
            collecting.accept(self.sealed(name, message))
        collecting, directory = collecting.close_round()
        if self.degree:
            here = alive(here, "reveal")
            told = self.over_the_wire(directory)
            for name in here:
                states[name], message = states[name].reveal(told)
                states[name] = between(states[name], name)
                collecting.accept(self.sealed(name, message))
            collecting, directory = collecting.close_round()
        here = alive(here, "share")
        told = self.over_the_wire(directory)
        for name in here:
            states[name], message = states[name].share(told, rng=self.rngs[name])
            states[name] = between(states[name], name)
            collecting.accept(self.sealed(name, message, to=RELAY))
        collecting, boxes = collecting.close_round()
        here = alive(here, "upload")
        receipts: dict[str, bytes] = {}
        for name in here:
            box = self.over_the_wire(boxes[name], to=name)
            states[name], message, note = states[name].mask(box, plains[name], rng=self.rngs[name])
            states[name] = between(states[name], name)
            opened = self.sealed(name, message, to=RELAY, note=note)
            receipts[name] = opened.receipt.digest
            collecting.accept(opened)
        collecting, survivors = collecting.close_round()
        here = alive(here, "vote")
        told = self.over_the_wire(survivors)
        for name in here:
            states[name], message = states[name].agree(told, receipts[name])
            states[name] = between(states[name], name)
            collecting.accept(self.sealed(name, message))
        agreed = collecting.agreed.names
        collecting, votes = collecting.close_round()
        here = alive(here, "unmask")
        told = self.over_the_wire(votes)
        for name in here:
            states[name], message = states[name].unmask(told)
            states[name] = between(states[name], name)
            collecting.accept(self.sealed(name, message, to=RELAY))
        result, _ = collecting.close_round()
        totals: dict[str, Total] = {}
        if receivers_finish:
            for name in here:
                totals[name] = states[name].finish(self.over_the_wire(result))
        return Outcome(tuple(sorted(agreed)), totals, bytes(result.payload))


@dataclass
class Outcome:
    survivors: tuple[str, ...]
    totals: dict[str, Total]
    payload: bytes


def expected(plains: Mapping[str, Plain], survivors: Sequence[str]) -> np.ndarray:
    """The sum of integer inputs over the survivors."""
    return np.sum([np.concatenate([p.ravel() for p in plains[n].parts]) for n in survivors], axis=0)
