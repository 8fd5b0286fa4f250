"""Members of a vertical model in memory, with a hand in between that may change or drop what travels."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from silo.crypto.errors import SiloError
from silo.crypto.keys import AgreementKey
from silo.crypto.rng import InsecureSeededRng
from silo.crypto.signing import SigningKey
from silo.protocols import codec
from silo.protocols.private import Private
from silo.protocols.roster import Roster
from silo.protocols.transit import Piece
from silo.protocols.vertical.context import LINEAR, Context, Parameters

Hand = Callable[[str, str, Piece], Piece | None]
"""(sender, recipient, piece) -> the piece that arrives in its place, or None for no change."""


@dataclass(frozen=True)
class Opened:
    """As the driver hands it over: what was checked by then is not looked at again."""

    sender: str
    message: Any


@dataclass
class Table:
    """Runs one role for each member; every piece that travels is kept, in clear, for the test to look at.

    `columns` says how many each member brings, `roles(context, name, channel key, rng)` makes a member's role.
    """

    columns: Mapping[str, int]
    rows: int
    roles: Callable[[Context, str, AgreementKey, InsecureSeededRng], Any]
    label: str = "bank"
    independent: Mapping[str, int] = field(default_factory=dict)
    model: str = LINEAR
    hand: Hand = lambda sender, recipient, piece: None
    seed: int = 1
    round: int = 1
    said: list[tuple[str, str, Piece]] = field(default_factory=list)
    frames: list[tuple[str, str, Private]] = field(default_factory=list)
    """What the relay sees of the same."""
    found: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, SiloError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names = sorted(self.columns)
        self.rngs = {name: InsecureSeededRng(100 * self.seed + at) for at, name in enumerate(self.names)}
        self.channels = {name: AgreementKey.generate(rng=self.rngs[name]) for name in self.names}
        keys = {name: SigningKey.generate(rng=self.rngs[name]).public for name in self.names}
        parameters = Parameters(
            self.model, self.label, self.rows, dict(self.columns), bytes(32), self.independent
        )
        public = {name: channel.public for name, channel in self.channels.items()}
        self.context = Context(bytes(32), self.round, Roster.of(keys), parameters, public)

    def run(self) -> Table:
        """Move all roles until each has ended, with a result or an error."""
        roles = {
            name: self.roles(self.context, name, self.channels[name], self.rngs[name]) for name in self.names
        }
        waiting: dict[str, Any] = {}
        for name in list(roles):
            self._move(roles, waiting, name, None)
        queues: dict[tuple[str, str], deque[Private]] = {
            (one, other): deque() for one in self.names for other in self.names
        }
        sent: set[str] = set()
        moved = True
        while roles and moved:
            moved = False
            for name in list(roles):
                step = waiting[name]
                if name not in sent:
                    sent.add(name)
                    for outgoing in step.send:
                        for to in outgoing.to:
                            queues[name, to].append(self._travel(name, to, outgoing.message))
                senders = step.wait.senders if step.wait else frozenset()
                if not all(queues[sender, name] or sender in self.errors for sender in senders):
                    continue
                inbox = {s: Opened(s, queues[s, name].popleft()) for s in senders if queues[s, name]}
                moved = True
                sent.discard(name)
                self._move(roles, waiting, name, inbox)
        assert not roles, f"{sorted(roles)} wait for ever"
        return self

    def _move(self, roles: dict[str, Any], waiting: dict[str, Any], name: str, inbox: Any) -> None:
        try:
            waiting[name] = roles[name].send(inbox)
        except StopIteration as end:
            self.found[name] = end.value
            del roles[name]
        except SiloError as problem:
            self.errors[name] = problem
            del roles[name]

    def _travel(self, sender: str, recipient: str, message: Private) -> Private:
        self.frames.append((sender, recipient, message))
        inner = self.context.pair(recipient, sender, self.channels[recipient])
        piece = codec.decode(Piece, inner.unseal(message), sender=sender, round=self.round)
        self.said.append((sender, recipient, piece))
        other = self.hand(sender, recipient, piece)
        if other is None:
            return message
        outer = self.context.pair(sender, recipient, self.channels[sender])
        return outer.seal(codec.encode(other), rng=self.rngs[sender])
