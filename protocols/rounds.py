"""Where one round of a protocol stands, and how frames that the aggregator passed on are opened again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from silo.crypto import labels
from silo.protocols.codec import Message
from silo.protocols.envelope import EVERYBODY, Bearings, Buffer, Opened, open_frame
from silo.protocols.errors import UnexpectedMessage
from silo.protocols.roster import Roster

FRAME = 4096
"""Bytes that bound a small message in its envelope."""

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Place(ABC):
    """One round, the same for all parties: session (32 bytes), round number, roster, aggregator."""

    session: bytes
    round: int
    roster: Roster
    aggregator: str

    @property
    @abstractmethod
    def bearings(self) -> Bearings:
        """Where this round's messages belong."""

    @property
    @abstractmethod
    def fewest(self) -> int:
        """Parties that must be left at every step."""

    def info(self, label: bytes, *parts: bytes | int | str) -> bytes:
        """Bind a label, this round and the given parts."""
        return labels.bind(label, self.session, self.round, self.bearings.parameters, *parts)

    def open_all(
        self, frames: Iterable[Buffer], kind: type[M], *, limit: int = FRAME
    ) -> dict[str, Opened[M]]:
        """Open signed frames that the aggregator passed on; one per sender. Raises `ProtocolViolation`."""
        opened: dict[str, Opened[M]] = {}
        for frame in frames:
            one = self.open_public(frame, kind, limit=limit)
            if one.sender in opened:
                raise UnexpectedMessage(
                    f"two messages {kind.__name__} of {one.sender}",
                    culprits=(self.aggregator, one.sender),
                    round=self.round,
                )
            opened[one.sender] = one
        return dict(sorted(opened.items()))

    def open_public(self, frame: Buffer, kind: type[M], *, limit: int = FRAME) -> Opened[M]:
        """Open one frame that a member signed for everybody. Raises `ProtocolViolation`."""
        return open_frame(
            frame,
            bearings=self.bearings,
            keys=self.roster.keys,
            kinds={kind.__name__: kind},
            recipients=frozenset({EVERYBODY}),
            limit=limit,
            came_from=self.aggregator,
        )


def by_name(pairs: Mapping[str, bytes]) -> list[bytes | str]:
    """Flatten a mapping in the order of its names, for `labels.bind`."""
    flat: list[bytes | str] = []
    for name in sorted(pairs):
        flat += [name, pairs[name]]
    return flat
