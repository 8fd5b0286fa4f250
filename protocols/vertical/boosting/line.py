"""One member's line to the others in a training: letters and lists, numbered in the order in which all write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from silo.crypto.errors import ParameterError
from silo.crypto.keys import AgreementKey
from silo.crypto.rng import Rng
from silo.protocols import transit
from silo.protocols.codec import Message
from silo.protocols.errors import MalformedMessage
from silo.protocols.step import Role
from silo.protocols.transit import LETTER, PIECE, Intake, Lot
from silo.protocols.vertical.context import Context

M = TypeVar("M", bound=Message)


class Line:
    """Writes and reads; without anybody to write to or read from, it yields no step."""

    def __init__(self, context: Context, me: str, own: AgreementKey, *, rng: Rng) -> None:
        self.context, self.me = context, me
        self._own, self._rng = own, rng
        self._stage = 0

    @property
    def rows(self) -> int:
        return self.context.parameters.rows

    def exchange(
        self,
        send: Mapping[str, Message] | None = None,
        take: Mapping[str, type[M]] | None = None,
        *,
        limit: int = LETTER,
    ) -> Role[dict[str, M]]:
        """Letters to and from peers, of at most `limit` bytes. Raises `ProtocolViolation`, `ProtocolAborted`."""
        send, take = send or {}, take or {}
        stage = self._next()
        if not send and not take:
            return {}
        return (
            yield from transit.letters(
                self.context, self.me, self._own, stage, send=send, take=take, rng=self._rng, limit=limit
            )
        )

    def take(self, peer: str, kind: type[M], *, limit: int = LETTER) -> Role[M]:
        """One letter of a peer. Raises `ProtocolViolation`, `ProtocolAborted`."""
        found = yield from self.exchange(take={peer: kind}, limit=limit)
        return found[peer]

    def carry(
        self,
        send: Mapping[str, Lot] | None = None,
        take: Mapping[str, Intake] | None = None,
        *,
        each: int = PIECE,
    ) -> Role[None]:
        """Lists to and from peers, in step. Raises `ProtocolViolation`, `ProtocolAborted`."""
        send, take = send or {}, take or {}
        stage = self._next()
        if send or take:
            yield from transit.carry(
                self.context, self.me, self._own, stage, send=send, take=take, rng=self._rng, each=each
            )

    def malformed(self, problem: object, culprit: str) -> MalformedMessage:
        """The violation of who wrote what cannot be."""
        return MalformedMessage(str(problem), culprits=(culprit,), round=self.context.round)

    @contextmanager
    def naming(self, culprit: str) -> Iterator[None]:
        """Whatever cannot be in here was written by `culprit`. Raises `MalformedMessage`."""
        try:
            yield
        except ParameterError as problem:
            raise self.malformed(problem, culprit) from None

    def _next(self) -> int:
        self._stage += 1
        return self._stage
