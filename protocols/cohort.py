"""The one set of members whose inputs a sum is over: proposed with receipts, signed by each, counted by all.

A receipt is the signed header of an upload and the digest of its body, so that everybody can check who uploaded
what without seeing it. A member signs one set per round; a quorum of the same signatures is asked for, and no two
sets can both have one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Annotated

from silo.protocols.codec import AtMostParties, Bytes32, Frames, Message
from silo.protocols.envelope import Receipt, read_header, verify_receipt
from silo.protocols.errors import InconsistentSets, TooFewParties, UnexpectedMessage
from silo.protocols.rounds import Place


class Survivors(Message, frozen=True):
    """Aggregator to all. Who uploaded, each with the signed digest of its upload."""

    uploads: Annotated[tuple[Receipt, ...], AtMostParties]


class Vote(Message, frozen=True):
    """Member to all. Signs the digest of the survivors and their uploads: once a round, on one set."""

    survivors: Bytes32


class Votes(Message, frozen=True):
    """Aggregator to all. A quorum of signed votes on one set."""

    votes: Frames


@dataclass(frozen=True, slots=True)
class Closed:
    """How a round ended for the aggregator: whose inputs are in the sum, and who was caught with wrong shares."""

    survivors: frozenset[str]
    liars: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Uploaded:
    """One upload as its receipt tells: the digest of its body, and the note in its signed header."""

    digest: bytes
    note: bytes


def read_receipts(
    place: Place, receipts: Iterable[Receipt], kind: str, recipient: str
) -> dict[str, Uploaded]:
    """Check the receipts of uploads, one per sender, for at least `place.fewest`.

    Raises `ProtocolViolation` or `TooFewParties`.
    """
    who = place.aggregator
    found: dict[str, Uploaded] = {}
    for receipt in receipts:
        header = read_header(receipt, who, place.round)
        verify_receipt(receipt, bearings=place.bearings, keys=place.roster.keys, header=header, came_from=who)
        name = header.sender
        if header.kind != kind or header.recipient != recipient:
            raise UnexpectedMessage(
                "a survivor's receipt is not of an upload",
                culprits=(who,),
                round=place.round,
                expected=kind,
                found=header.kind,
            )
        if name in found:
            raise InconsistentSets(
                f"{name} is listed twice among the survivors", culprits=(who, name), round=place.round
            )
        found[name] = Uploaded(receipt.digest, header.note)
    if len(found) < place.fewest:
        missing = [name for name in place.roster if name not in found]
        raise TooFewParties(place.fewest, sorted(found), "the upload", missing)
    return dict(sorted(found.items()))


def count_votes(place: Place, digest: bytes, names: Collection[str], message: Votes) -> frozenset[str]:
    """Check that a quorum of `names` signed just this set. Raises `ProtocolViolation` or `TooFewParties`."""
    opened = place.open_all(message.votes, Vote)
    for name, vote in opened.items():
        if vote.message.survivors != digest:
            raise InconsistentSets(
                f"{name} was told other survivors",
                culprits=(place.aggregator, name),
                round=place.round,
                expected=digest.hex()[:8],
                found=vote.message.survivors.hex()[:8],
            )
        if name not in names:
            raise InconsistentSets(f"{name} voted and is no survivor", culprits=(name,), round=place.round)
    if len(opened) < place.fewest:
        missing = [name for name in place.roster if name not in opened]
        raise TooFewParties(place.fewest, opened, "the vote on the survivors", missing)
    return frozenset(opened)
