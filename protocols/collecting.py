"""What all states of an aggregator share: who is waited for, and what has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from silo.protocols.codec import Message
from silo.protocols.envelope import OVERHEAD, Opened
from silo.protocols.errors import ReplayedMessage, TooFewParties, UnexpectedMessage
from silo.protocols.once import Once
from silo.protocols.rounds import Place
from silo.protocols.step import Wait

P = TypeVar("P", bound=Place)

SMALL = OVERHEAD + 4096


@dataclass(frozen=True, repr=False, eq=False)
class Collecting(Once, Generic[P]):
    """Waits for one message of each of `expected`; `inbox` is what has come."""

    context: P
    expected: frozenset[str]
    inbox: dict[str, Opened[Any]] = field(default_factory=dict)

    name: ClassVar[str] = ""
    kinds: ClassVar[tuple[type[Message], ...]] = ()

    @property
    def limit(self) -> int:
        return SMALL

    @property
    def enough(self) -> int:
        return self.context.fewest

    @property
    def waits(self) -> Wait:
        """What the driver needs to know."""
        return Wait(self.name, self.kinds, self.expected, self.enough, self.limit, self.accept)

    def accept(self, opened: Opened[Any]) -> None:
        """Take one message in. Raises `ProtocolViolation` and changes nothing."""
        self._fresh()
        if opened.sender not in self.expected or not isinstance(opened.message, self.kinds):
            raise UnexpectedMessage(
                f"nothing of this kind was asked for in the step {self.name}",
                culprits=(opened.sender,),
                round=self.context.round,
                found=type(opened.message).__name__,
            )
        if opened.sender in self.inbox:
            raise ReplayedMessage(
                f"a second answer to the step {self.name}",
                culprits=(opened.sender,),
                round=self.context.round,
            )
        self.check(opened)
        self.inbox[opened.sender] = opened

    def check(self, opened: Opened[Any]) -> None:
        """Check the message's content."""

    def _close(self) -> None:
        self._fresh()
        if len(self.inbox) < self.enough:
            raise TooFewParties(
                self.enough, sorted(self.inbox), self.name, sorted(self.expected - self.inbox.keys())
            )
        self._spend()

    @property
    def _frames(self) -> tuple[bytes, ...]:
        return tuple(bytes(self.inbox[name].frame) for name in sorted(self.inbox))
