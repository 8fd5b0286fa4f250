"""The protocols of the sum, by the name that the charter gives them. A new one is one line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from silo.agreement import Round
from silo.crypto.errors import ParameterError
from silo.crypto.keys import AgreementKey
from silo.crypto.masking import Plain
from silo.crypto.rng import Rng
from silo.errors import UsageError
from silo.protocols.cohort import Closed
from silo.protocols.he_sum.holder import roles as holder
from silo.protocols.rounds import Place
from silo.protocols.secagg import roles as secagg
from silo.protocols.step import Role
from silo.protocols.total import Total
from silo.sum_key import SumKey

MemberRole = Role[tuple[Total | None, frozenset[str]]]
AggregatorRole = Role[Closed]


@dataclass(frozen=True, slots=True, repr=False)
class Own:
    """What a member brings to a sum: its name, its channel key, and the key of the sum if it holds one."""

    me: str
    channel: AgreementKey
    key: SumKey | None = None


class Sum(Protocol):
    """Both sides of one protocol of the sum."""

    def place(self, round: Round) -> Place:
        """Where the round stands. Raises `TooFewParties` or `ParameterError`."""
        ...

    def member(self, round: Round, own: Own, plain: Plain, *, rng: Rng, threads: int) -> MemberRole:
        """A member's side."""
        ...

    def aggregator(self, round: Round, *, threads: int) -> AggregatorRole:
        """The aggregator's side."""
        ...


class Masking:
    """Pairwise masks with dropout recovery: `silo.protocols.secagg`."""

    def place(self, round: Round) -> Place:
        return round.masking()

    def member(self, round: Round, own: Own, plain: Plain, *, rng: Rng, threads: int) -> MemberRole:
        receives = round.charter.receives(own.me)
        return secagg.member(round.masking(), own.me, plain, rng=rng, receives=receives, threads=threads)

    def aggregator(self, round: Round, *, threads: int) -> AggregatorRole:
        receivers = frozenset(name for name in round.charter.names if round.charter.receives(name))
        return secagg.aggregator(
            round.masking(), present=frozenset(round.presents), receivers=receivers, threads=threads
        )


class Held:
    """Homomorphic encryption under one member's key: `silo.protocols.he_sum.holder`."""

    def place(self, round: Round) -> Place:
        return round.encryption()

    def member(self, round: Round, own: Own, plain: Plain, *, rng: Rng, threads: int) -> MemberRole:
        context, key = round.encryption(), own.key
        terms = context.parameters
        receives = round.charter.receives(own.me)
        if terms.holder != own.me:
            return holder.member(
                context, own.me, plain, own.channel, rng=rng, receives=receives, threads=threads
            )
        if key is None or key.fingerprint != terms.key:
            raise UsageError(
                f"the charter names {own.me} as key holder, and its key is not here: "
                "restore the file sum-….key beside the identity"
            )
        return holder.member(
            context,
            own.me,
            plain,
            own.channel,
            rng=rng,
            receives=receives,
            threads=threads,
            public=key.public,
            key=lambda: key.decryption(terms.count, terms.bits),
        )

    def aggregator(self, round: Round, *, threads: int) -> AggregatorRole:
        return holder.aggregator(round.encryption(), present=frozenset(round.presents))


class Joint:
    """Lattice encryption under a key that nobody holds: `silo.protocols.he_sum.joint`."""

    def place(self, round: Round) -> Place:
        return round.encryption()

    def member(self, round: Round, own: Own, plain: Plain, *, rng: Rng, threads: int) -> MemberRole:
        from silo.protocols.he_sum.joint import roles as joint

        receives = round.charter.receives(own.me)
        return joint.member(
            round.encryption(), own.me, plain, own.channel, rng=rng, receives=receives, threads=threads
        )

    def aggregator(self, round: Round, *, threads: int) -> AggregatorRole:
        from silo.protocols.he_sum.joint import roles as joint

        return joint.aggregator(round.encryption(), present=frozenset(round.presents))


SUMS: Final[dict[str, Callable[[], Sum]]] = {
    "masking": Masking,
    "paillier": Held,
    "ckks": Held,
    "lattice": Joint,
}


def of(name: str) -> Sum:
    """The protocol of this name. Raises `ParameterError`."""
    if name not in SUMS:
        raise ParameterError(f"there is no sum called {name!r}; there are: {', '.join(SUMS)}")
    return SUMS[name]()


def aggregator_role(round: Round, *, threads: int) -> AggregatorRole:
    """The aggregator's side of the sum that the charter names."""
    return of(round.charter.sum.protocol).aggregator(round, threads=threads)
