"""Where one round of the masked sum stands: who, under which parameters, and how its keys are bound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from silo.crypto import labels
from silo.crypto.errors import ParameterError
from silo.protocols.codec import Message
from silo.protocols.envelope import EVERYBODY, Bearings, Buffer, Opened, open_frame
from silo.protocols.errors import UnexpectedMessage
from silo.protocols.roster import Roster
from silo.protocols.secagg.parameters import Parameters

PROTOCOL = "masking"
_FRAME = 4096

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Context:
    """One round, the same for all parties: session (32 bytes), round number, roster, parameters."""

    session: bytes
    round: int
    roster: Roster
    aggregator: str
    parameters: Parameters

    def __post_init__(self) -> None:
        if len(self.roster) != self.parameters.parties:
            raise ParameterError(
                f"the roster has {len(self.roster)} parties, the parameters {self.parameters.parties}"
            )
        if self.aggregator in self.roster and self.parameters.blinded:
            raise ParameterError(
                "in the blinded sum the aggregator is not a member: it would hold the members' key"
            )

    @property
    def bearings(self) -> Bearings:
        return Bearings(PROTOCOL, self.parameters.digest(), self.session, self.round)

    def info(self, label: bytes, *parts: bytes | int | str) -> bytes:
        """Bind a label, this round and the given parts."""
        return labels.bind(label, self.session, self.round, self.parameters.digest(), *parts)

    def open_all(self, frames: tuple[bytes, ...], kind: type[M]) -> dict[str, Opened[M]]:
        """Open signed frames that the aggregator passed on; one per sender. Raises `ProtocolViolation`."""
        opened: dict[str, Opened[M]] = {}
        for frame in frames:
            one = self.open_public(frame, kind)
            if one.sender in opened:
                raise UnexpectedMessage(
                    f"two messages {kind.__name__} of {one.sender}",
                    culprits=(self.aggregator, one.sender),
                    round=self.round,
                )
            opened[one.sender] = one
        return dict(sorted(opened.items()))

    def open_public(self, frame: Buffer, kind: type[M]) -> Opened[M]:
        """Open one frame that a member signed for everybody."""
        return open_frame(
            frame,
            bearings=self.bearings,
            keys=self.roster.keys,
            kinds={kind.__name__: kind},
            recipients=frozenset({EVERYBODY}),
            limit=_FRAME,
            came_from=self.aggregator,
        )


def bitmap(roster: Roster, names: frozenset[str]) -> bytes:
    """One bit per place in the roster, lowest first."""
    value = sum(1 << place for place, name in enumerate(roster.names) if name in names)
    return value.to_bytes((len(roster) + 7) // 8, "little")


def named(roster: Roster, bits: bytes) -> frozenset[str]:
    """The inverse of `bitmap`; raises `ParameterError` for another length or stray bits."""
    value = int.from_bytes(bits, "little")
    if len(bits) != (len(roster) + 7) // 8 or value >> len(roster):
        raise ParameterError("a bitmap of members does not fit the roster")
    return frozenset(name for place, name in enumerate(roster.names) if value >> place & 1)


def by_name(pairs: Mapping[str, bytes]) -> list[bytes | str]:
    """Flatten a mapping in the order of its names, for `labels.bind`."""
    flat: list[bytes | str] = []
    for name in sorted(pairs):
        flat += [name, pairs[name]]
    return flat
