"""The one survivor set of a round: what members check before they sign it, and before they answer on it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from silo.crypto import labels
from silo.crypto.errors import ParameterError
from silo.protocols.cohort import Survivors, read_receipts
from silo.protocols.errors import InconsistentSets, UnexpectedMessage
from silo.protocols.rounds import by_name
from silo.protocols.secagg.context import Context, named
from silo.protocols.secagg.directory import Advertised
from silo.protocols.secagg.drawing import MaskGraph
from silo.protocols.secagg.messages import Upload


@dataclass(frozen=True, slots=True)
class Agreed:
    """Survivors (U3) with the digests of their uploads, and the digest that is voted on."""

    uploads: Mapping[str, bytes]
    masked_with: Mapping[str, frozenset[str]]
    digest: bytes

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.uploads)


def read(context: Context, directory: Advertised, graph: MaskGraph, message: Survivors) -> Agreed:
    """Check a proposed survivor set. Raises `ProtocolViolation` or `TooFewParties`.

    Every upload carries its sender's signature and, in the signed header, with whom it was masked. Survivors
    that did not mask with each other, or between whom a k-regular graph could fall apart, could be uncovered
    apart from the rest: such a set is refused.
    """
    found = read_receipts(context, message.uploads, Upload.__name__, context.aggregator)
    masked_with: dict[str, frozenset[str]] = {}
    for name, upload in found.items():
        if name not in directory.entries:
            raise InconsistentSets(
                f"survivor {name} is not in the directory",
                culprits=(context.aggregator,),
                round=context.round,
            )
        try:
            masked_with[name] = named(context.roster, upload.note)
        except ParameterError:
            raise UnexpectedMessage(
                "an upload's note is no set of members", culprits=(name,), round=context.round
            ) from None
    uploads = {name: upload.digest for name, upload in found.items()}
    _require_cover(context, graph, masked_with)
    flat = by_name(uploads)
    digest = hashlib.sha256(context.info(labels.SURVIVORS, directory.digest, *flat)).digest()
    return Agreed(uploads, masked_with, digest)


def _require_cover(context: Context, graph: MaskGraph, masked_with: Mapping[str, frozenset[str]]) -> None:
    alive = frozenset(masked_with)
    for name in sorted(alive):
        beside = graph[name] & alive
        if not beside <= masked_with[name]:
            raise InconsistentSets(
                f"{name} did not mask with its surviving neighbour {min(beside - masked_with[name])}",
                culprits=(context.aggregator, name),
                round=context.round,
            )
    graph.require_cover(context, alive)
