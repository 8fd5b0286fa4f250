"""The one survivor set of a round: what members check before they sign it, and before they answer on it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from silo.crypto import labels
from silo.crypto.errors import ParameterError
from silo.protocols.envelope import read_header, verify_receipt
from silo.protocols.errors import InconsistentSets, TooFewParties, UnexpectedMessage
from silo.protocols.secagg.context import Context, by_name, named
from silo.protocols.secagg.directory import Advertised
from silo.protocols.secagg.drawing import MaskGraph
from silo.protocols.secagg.messages import Survivors, Upload, Vote, Votes


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
    who = context.aggregator
    uploads: dict[str, bytes] = {}
    masked_with: dict[str, frozenset[str]] = {}
    for receipt in message.uploads:
        header = read_header(receipt, who, context.round)
        verify_receipt(
            receipt, bearings=context.bearings, keys=context.roster.keys, header=header, came_from=who
        )
        name = header.sender
        if header.kind != Upload.__name__ or header.recipient != who:
            raise UnexpectedMessage(
                "a survivor's receipt is not of an upload",
                culprits=(who,),
                round=context.round,
                expected=Upload.__name__,
                found=header.kind,
            )
        if name in uploads:
            raise InconsistentSets(
                f"{name} is listed twice among the survivors", culprits=(who, name), round=context.round
            )
        if name not in directory.entries:
            raise InconsistentSets(
                f"survivor {name} is not in the directory", culprits=(who,), round=context.round
            )
        try:
            masked_with[name] = named(context.roster, header.note)
        except ParameterError:
            raise UnexpectedMessage(
                "an upload's note is no set of members", culprits=(name,), round=context.round
            ) from None
        uploads[name] = receipt.digest
    if len(uploads) < context.parameters.fewest:
        missing = [name for name in context.roster if name not in uploads]
        raise TooFewParties(context.parameters.fewest, sorted(uploads), "the upload", missing)
    _require_cover(context, graph, masked_with)
    flat = by_name(uploads)
    digest = hashlib.sha256(context.info(labels.SURVIVORS, directory.digest, *flat)).digest()
    return Agreed(dict(sorted(uploads.items())), masked_with, digest)


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


def count_votes(context: Context, agreed: Agreed, message: Votes) -> frozenset[str]:
    """Check that a quorum signed just this set (U4). Raises `ProtocolViolation` or `TooFewParties`."""
    opened = context.open_all(message.votes, Vote)
    for name, vote in opened.items():
        if vote.message.survivors != agreed.digest:
            raise InconsistentSets(
                f"{name} was told other survivors",
                culprits=(context.aggregator, name),
                round=context.round,
                expected=agreed.digest.hex()[:8],
                found=vote.message.survivors.hex()[:8],
            )
        if name not in agreed.uploads:
            raise InconsistentSets(f"{name} voted and is no survivor", culprits=(name,), round=context.round)
    if len(opened) < context.parameters.fewest:
        missing = [name for name in context.roster if name not in opened]
        raise TooFewParties(context.parameters.fewest, opened, "the vote on the survivors", missing)
    return frozenset(opened)
