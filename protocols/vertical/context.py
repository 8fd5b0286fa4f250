"""Public parameters of one vertical model, and where its messages belong.

Rows are the same people in the same order at all members; each has columns of its own, and one has the labels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from silo.crypto import labels
from silo.crypto.errors import ParameterError
from silo.crypto.keys import AgreementKey
from silo.protocols.envelope import Bearings
from silo.protocols.private import Pair
from silo.protocols.roster import Roster

PROTOCOL: Final = "vertical"
LINEAR: Final = "linear"
BOOSTING: Final = "boosting"
SPLIT: Final = "split"
MODELS: Final = (LINEAR, BOOSTING, SPLIT)
MOST_ROWS: Final = 2**24
MOST_MEMBERS: Final = 16
_AHEAD: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Parameters:
    """One model: its kind, who has the labels, the rows, and how many columns each member brings.

    `independent` are those of them that do not follow from the others, where that matters: all, if nothing is said.
    `binding` is a digest of all else that was agreed. Raises `ParameterError`.
    """

    model: str
    label: str
    rows: int
    columns: Mapping[str, int]
    binding: bytes
    independent: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise ParameterError(f"a vertical model is {' or '.join(MODELS)}, not {self.model[:40]!r}")
        if not 1 <= self.rows <= MOST_ROWS or len(self.binding) != 32:
            raise ParameterError(f"a vertical model has 1 to {MOST_ROWS} rows, not {self.rows}")

    def unlike(self, name: str) -> int:
        """Columns of a member that do not follow from its others."""
        return min(self.columns[name], self.independent.get(name, self.columns[name]))

    def digest(self) -> bytes:
        """What every signature and key of the round binds; 32 bytes."""
        counted: list[bytes | int | str] = []
        for name in sorted(self.columns):
            counted += [name, self.columns[name], self.unlike(name)]
        parts = (PROTOCOL, self.model, self.label, self.rows, self.binding, *counted)
        return hashlib.sha256(labels.bind(labels.TERMS, *parts)).digest()


@dataclass(frozen=True, slots=True)
class Context:
    """One fit or one scoring, the same for all parties; `channels` are the X25519 keys of the roll call."""

    session: bytes
    round: int
    roster: Roster
    parameters: Parameters
    channels: Mapping[str, bytes]

    def __post_init__(self) -> None:
        here = set(self.roster.names)
        if not 2 <= len(here) <= MOST_MEMBERS or here != set(self.channels):
            raise ParameterError(
                f"a vertical model is among 2 to {MOST_MEMBERS} members, each with its channel key"
            )
        if self.parameters.label not in here or set(self.parameters.columns) != here:
            raise ParameterError("a vertical model has one member with labels, and columns of every member")

    @property
    def bearings(self) -> Bearings:
        return Bearings(PROTOCOL, self.parameters.digest(), self.session, self.round)

    @property
    def label(self) -> str:
        """Who has the labels."""
        return self.parameters.label

    @property
    def hosts(self) -> tuple[str, ...]:
        """Everybody else, in the order of names."""
        return tuple(name for name in self.roster if name != self.parameters.label)

    @property
    def ahead(self) -> int:
        """Bytes of one member that may come before their list is waited for."""
        return _AHEAD

    def pair(self, me: str, peer: str, own: AgreementKey) -> Pair:
        """The end-to-end channel between two members in this round."""
        return Pair(self.bearings, me, peer, own, self.channels[peer])
