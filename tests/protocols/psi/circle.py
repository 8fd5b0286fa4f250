"""Members of an intersection in memory, with a hand in between that may change or drop what travels."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from silo.crypto.errors import SiloError
from silo.crypto.keys import AgreementKey
from silo.crypto.rng import InsecureSeededRng
from silo.crypto.signing import SigningKey
from silo.protocols import codec
from silo.protocols.private import Private
from silo.protocols.psi import pair, ring
from silo.protocols.psi.context import ROWS, Context, Parameters
from silo.protocols.roster import Roster
from silo.protocols.transit import Piece

Hand = Callable[[str, str, Piece], Piece | None]
"""(sender, recipient, piece) -> the piece that arrives in its place, or None for no change."""


@dataclass(frozen=True)
class Opened:
    """As the driver hands it over: what was checked by then is not looked at again."""

    sender: str
    message: Any


@dataclass
class Circle:
    """Runs one intersection over `lists`; every piece that travels is kept, in clear, for the test to look at."""

    lists: Mapping[str, Sequence[bytes]]
    reveal: str = ROWS
    receivers: Sequence[str] = ()
    most: int = 1000
    minimum: int = 0
    hand: Hand = lambda sender, recipient, piece: None
    round: int = 1
    seed: int = 1
    said: list[tuple[str, str, Piece]] = field(default_factory=list)
    frames: list[Private] = field(default_factory=list)
    found: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, SiloError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names = sorted(self.lists)
        rngs = {name: InsecureSeededRng(100 * self.seed + place) for place, name in enumerate(self.names)}
        self.channels = {name: AgreementKey.generate(rng=rngs[name]) for name in self.names}
        keys = {name: SigningKey.generate(rng=rngs[name]).public for name in self.names}
        parameters = Parameters(
            self.reveal, tuple(self.receivers or self.names), self.most, self.minimum, bytes(32)
        )
        public = {name: channel.public for name, channel in self.channels.items()}
        self.context = Context(bytes(32), self.round, Roster.of(keys), parameters, public)
        self.rngs = rngs

    def role(self, name: str) -> Any:
        member = (pair if len(self.names) == 2 else ring).member
        return member(self.context, name, self.lists[name], self.channels[name], rng=self.rngs[name])

    def run(self) -> Circle:
        """Move all roles until each has ended, with a result or an error."""
        roles = {name: self.role(name) for name in self.names}
        waiting = {name: next(role) for name, role in roles.items()}
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
                        (to,) = outgoing.to
                        queues[name, to].append(self._travel(name, to, outgoing.message))
                senders = step.wait.senders if step.wait else frozenset()
                if not all(queues[sender, name] or sender in self.errors for sender in senders):
                    continue
                inbox = {s: Opened(s, queues[s, name].popleft()) for s in senders if queues[s, name]}
                moved = True
                sent.discard(name)
                try:
                    waiting[name] = roles[name].send(inbox)  # type: ignore[arg-type]
                except StopIteration as end:
                    self.found[name] = end.value
                    del roles[name]
                except SiloError as problem:
                    self.errors[name] = problem
                    del roles[name]
        assert not roles, f"{sorted(roles)} wait for ever"
        return self

    def _travel(self, sender: str, recipient: str, message: Any) -> Private:
        self.frames.append(message)
        inner = self.context.pair(recipient, sender, self.channels[recipient])
        piece = codec.decode(Piece, inner.unseal(message), sender=sender, round=self.round)
        self.said.append((sender, recipient, piece))
        other = self.hand(sender, recipient, piece)
        if other is None:
            return message
        outer = self.context.pair(sender, recipient, self.channels[sender])
        return outer.seal(codec.encode(other), rng=self.rngs[sender])
