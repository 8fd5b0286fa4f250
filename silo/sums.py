"""The protocols of the sum, by the name that the charter gives them. A new one is one line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from silo.agreement import Round
from silo.crypto.errors import ParameterError
from silo.crypto.masking import Plain
from silo.crypto.rng import Rng
from silo.protocols.secagg import roles as secagg
from silo.protocols.step import Role
from silo.protocols.total import Total

MemberRole = Role[tuple[Total | None, frozenset[str]]]
AggregatorRole = Role[frozenset[str]]


class Sum(Protocol):
    """Both sides of one protocol of the sum."""

    def member(self, round: Round, me: str, plain: Plain, *, rng: Rng, threads: int) -> MemberRole:
        """A member's side."""
        ...

    def aggregator(self, round: Round, *, threads: int) -> AggregatorRole:
        """The aggregator's side."""
        ...


class Masking:
    """Pairwise masks with dropout recovery: `silo.protocols.secagg`."""

    def member(self, round: Round, me: str, plain: Plain, *, rng: Rng, threads: int) -> MemberRole:
        receives = round.charter.receives(me)
        return secagg.member(round.context(), me, plain, rng=rng, receives=receives, threads=threads)

    def aggregator(self, round: Round, *, threads: int) -> AggregatorRole:
        receivers = frozenset(name for name in round.charter.names if round.charter.receives(name))
        return secagg.aggregator(
            round.context(), present=frozenset(round.presents), receivers=receivers, threads=threads
        )


SUMS: Final[dict[str, Callable[[], Sum]]] = {"masking": Masking}


def of(name: str) -> Sum:
    """The protocol of this name. Raises `ParameterError`."""
    if name not in SUMS:
        raise ParameterError(f"there is no sum called {name!r}; there are: {', '.join(SUMS)}")
    return SUMS[name]()


def aggregator_role(round: Round, *, threads: int) -> AggregatorRole:
    """The aggregator's side of the sum that the charter names."""
    return of(round.charter.sum.protocol).aggregator(round, threads=threads)
