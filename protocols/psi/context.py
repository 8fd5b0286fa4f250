"""Public parameters of one intersection, and where its messages belong."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from silo.crypto import labels
from silo.crypto.errors import ParameterError
from silo.crypto.keys import AgreementKey
from silo.crypto.ristretto import POINT_BYTES
from silo.protocols.envelope import Bearings
from silo.protocols.private import Pair
from silo.protocols.roster import Roster
from silo.protocols.transit import BESIDE, PIECE

PROTOCOL: Final = "psi"
ROWS: Final = "rows"
SIZE: Final = "size"
SUM: Final = "sum"
REVEALS: Final = (ROWS, SIZE, SUM)
MOST_ROWS: Final = 2**31 - 1
MOST_MEMBERS: Final = 16


@dataclass(frozen=True, slots=True)
class Parameters:
    """What is revealed (`rows`, `size` or `sum`) to which `receivers`; no list has more than `most` rows, and an
    intersection below `minimum` is not released. `binding` is a digest of all else that was agreed. Raises
    `ParameterError`.
    """

    reveal: str
    receivers: tuple[str, ...]
    most: int
    minimum: int
    binding: bytes

    def __post_init__(self) -> None:
        if self.reveal not in REVEALS:
            raise ParameterError(f"an intersection reveals {', '.join(REVEALS)}, not {self.reveal[:40]!r}")
        if not 1 <= self.most <= MOST_ROWS or not 0 <= self.minimum <= self.most or len(self.binding) != 32:
            raise ParameterError(
                f"at most {self.most} rows and at least {self.minimum} common ones do not fit"
            )

    def digest(self) -> bytes:
        """What every signature and key of the round binds; 32 bytes."""
        return hashlib.sha256(
            labels.bind(
                labels.TERMS,
                PROTOCOL,
                self.reveal,
                self.most,
                self.minimum,
                self.binding,
                *self.receivers,
            )
        ).digest()


@dataclass(frozen=True, slots=True)
class Context:
    """One intersection, the same for all parties; `channels` are the X25519 keys of the roll call."""

    session: bytes
    round: int
    roster: Roster
    parameters: Parameters
    channels: Mapping[str, bytes]

    def __post_init__(self) -> None:
        here = set(self.roster.names)
        if not 2 <= len(here) <= MOST_MEMBERS or here != set(self.channels):
            raise ParameterError(
                f"an intersection is among 2 to {MOST_MEMBERS} members, each with its channel key"
            )
        if not self.parameters.receivers or not set(self.parameters.receivers) <= here:
            raise ParameterError("an intersection has receivers, all of them members")

    @property
    def bearings(self) -> Bearings:
        return Bearings(PROTOCOL, self.parameters.digest(), self.session, self.round)

    @property
    def prefix(self) -> bytes:
        """What items are hashed behind: points of one round mean nothing in another."""
        return labels.bind(labels.PSI_ITEM, self.session, self.round, self.parameters.digest())

    def require(self, *reveals: str) -> None:
        """Raise `ParameterError` unless one of these is what was agreed to be revealed."""
        if self.parameters.reveal not in reveals:
            raise ParameterError(
                f"this protocol reveals {' or '.join(reveals)}, not {self.parameters.reveal}"
            )

    @property
    def ahead(self) -> int:
        """Bytes of one member that may come before their list is waited for: two whole lists, and a piece from each."""
        pieces = 2 * (self.parameters.most // PIECE + 1) + len(self.roster)
        return pieces * (PIECE * POINT_BYTES + BESIDE)

    def receives(self, name: str) -> bool:
        return name in self.parameters.receivers

    def pair(self, me: str, peer: str, own: AgreementKey) -> Pair:
        """The end-to-end channel between two members in this round."""
        return Pair(self.bearings, me, peer, own, self.channels[peer])
