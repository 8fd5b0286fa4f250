"""The set that a sum is over, as every member checks it before it signs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from silo.protocols.cohort import Survivors, read_receipts
from silo.protocols.errors import InconsistentSets
from silo.protocols.he_sum.context import Context
from silo.protocols.he_sum.messages import Upload


@dataclass(frozen=True, slots=True)
class Agreed:
    """Survivors with the digests of their uploads, and the digest that is voted on."""

    uploads: Mapping[str, bytes]
    digest: bytes

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.uploads)


def read(context: Context, message: Survivors) -> Agreed:
    """Check a proposed set. Raises `ProtocolViolation` or `TooFewParties`."""
    found = read_receipts(context, message.uploads, Upload.__name__, context.aggregator)
    uploads = {name: one.digest for name, one in found.items()}
    return Agreed(uploads, context.cohort(uploads))


def require_own(context: Context, agreed: Agreed, me: str, upload: bytes) -> None:
    """Refuse a set in which the own upload is not as it was sent. Raises `InconsistentSets`."""
    if agreed.uploads.get(me) != upload:
        raise InconsistentSets(
            f"{me}'s upload is not among the survivors as it was sent",
            culprits=(context.aggregator,),
            round=context.round,
        )
