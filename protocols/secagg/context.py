"""Where one round of the masked sum stands: who, under which parameters, and how its keys are bound."""

from __future__ import annotations

from dataclasses import dataclass

from silo.crypto.errors import ParameterError
from silo.protocols.envelope import Bearings
from silo.protocols.roster import Roster
from silo.protocols.rounds import Place
from silo.protocols.secagg.parameters import Parameters

PROTOCOL = "masking"


@dataclass(frozen=True, slots=True)
class Context(Place):
    """One round of the masked sum, the same for all parties."""

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

    @property
    def fewest(self) -> int:
        return self.parameters.fewest


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
