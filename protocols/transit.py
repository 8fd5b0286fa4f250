"""Lists on their way: in pieces, each sealed for its receiver, numbered, and worked on as it comes.

All parties move in step: in one step each sends the next piece of what it has for others and takes the next piece of
what it waits for, so that everybody computes at the same time and nothing piles up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from silo.crypto.errors import ParameterError
from silo.crypto.keys import AgreementKey
from silo.crypto.rng import Rng
from silo.protocols import codec
from silo.protocols.codec import Count, Message
from silo.protocols.envelope import OVERHEAD
from silo.protocols.errors import MalformedMessage, ProtocolAborted, UnexpectedMessage
from silo.protocols.private import EXTRA, Pair, Private
from silo.protocols.roster import Roster
from silo.protocols.step import Inbox, Outgoing, Role, Step, Wait

PIECE: Final = 8192
"""Entries of a piece, where nothing else is said: a quarter of a MiB of points, and half a second of one core."""
BESIDE: Final = OVERHEAD + EXTRA + 64
"""Bytes that a piece has beside its entries, at most."""
LETTER: Final = 1 << 16
"""Bytes of a single message, where nothing else is said."""
SEALED: Final = "end-to-end encrypted"

M = TypeVar("M", bound=Message)


class Meeting(Protocol):
    """What a protocol between members says of itself."""

    @property
    def round(self) -> int: ...

    @property
    def roster(self) -> Roster: ...

    @property
    def ahead(self) -> int:
        """Bytes of one member that may come before their list is waited for."""
        ...

    def pair(self, me: str, peer: str, own: AgreementKey) -> Pair:
        """The end-to-end channel between two members."""
        ...


class Piece(Message, frozen=True):
    """Part of a list: which list of the round, how long it is, where the part begins, and its entries."""

    stage: Count
    total: Count
    at: Count
    entries: memoryview


@dataclass(frozen=True, slots=True)
class Lot:
    """A list to send: `total` entries; `piece(at, upto)` gives the bytes of some of them when they are due."""

    total: int
    piece: Callable[[int, int], bytes]


@dataclass(slots=True)
class Intake:
    """A list that comes: entries of `width` bytes, `least` to `most` of them, each piece put through `work`."""

    width: int
    most: int
    work: Callable[[bytes], bytes] = bytes
    least: int = 0
    total: int = -1
    """Entries that the sender announced; -1 before its first piece."""
    count: int = 0
    _kept: list[bytes] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return self.count == self.total

    def take(self, piece: Piece, each: int = PIECE) -> None:
        """Check a piece, and keep what `work` makes of it. Raises `ParameterError`, and changes nothing then."""
        size = len(piece.entries)
        if self.total < 0 and not self.least <= piece.total <= self.most:
            raise ParameterError(
                f"its list has {piece.total} entries, and {self.least} to {self.most} are agreed"
            )
        total = piece.total if self.total < 0 else self.total
        expected = min(each, total - self.count)
        if (piece.total, piece.at, size) != (total, self.count, expected * self.width):
            raise ParameterError(
                f"a piece of {size} bytes at {piece.at} of {piece.total} does not fit: it would be "
                f"{expected * self.width} bytes at {self.count} of {total}"
            )
        made = self.work(bytes(piece.entries))
        self._kept.append(made)
        self.total, self.count = total, self.count + expected

    def coming(self, each: int = PIECE) -> int:
        """Bytes of all pieces that may still come."""
        left = (self.most if self.total < 0 else self.total) - self.count
        return left * self.width + (left // each + 1) * BESIDE

    def joined(self) -> bytes:
        """The whole list, as `work` made it."""
        return b"".join(self._kept)


def carry(
    context: Meeting,
    me: str,
    own: AgreementKey,
    stage: int,
    *,
    send: Mapping[str, Lot],
    take: Mapping[str, Intake],
    rng: Rng,
    each: int = PIECE,
) -> Role[None]:
    """Send each peer its lot, and take in what others send, in step. Raises `ProtocolViolation`, `ProtocolAborted`.

    A piece has `each` entries; both sides say the same.
    """
    at, first = 0, True
    while (
        first
        or any(at < lot.total for lot in send.values())
        or any(not one.complete for one in take.values())
    ):
        outgoing = tuple(
            Outgoing(
                (peer,),
                _sealed(context, me, peer, own, Piece(stage, lot.total, at, _due(lot, at, each)), rng),
                SEALED,
                ordered=True,
            )
            for peer, lot in send.items()
            if first or at < lot.total
        )
        awaited = frozenset(peer for peer, one in take.items() if not one.complete)
        limit = BESIDE + each * max((take[peer].width for peer in awaited), default=0)
        # Whoever is fast sends its whole list while the first piece of another is waited for.
        ahead = context.ahead + max((take[peer].coming(each) for peer in awaited), default=0)
        wait = (
            Wait("the others' lists", (Private,), awaited, len(awaited), limit, ahead=ahead)
            if awaited
            else None
        )
        inbox: Inbox = yield Step(outgoing, wait)
        for peer in sorted(awaited):
            if peer not in inbox:
                raise ProtocolAborted(
                    f"{peer} was lost while its list was waited for: begin again when it is back",
                    (peer,),
                )
            _take(context, me, peer, own, stage, inbox[peer].message, take[peer], each)
        at, first = at + each, False


def _due(lot: Lot, at: int, each: int) -> memoryview:
    return memoryview(lot.piece(at, min(at + each, lot.total)))


def _sealed(context: Meeting, me: str, peer: str, own: AgreementKey, piece: Piece, rng: Rng) -> Private:
    return context.pair(me, peer, own).seal(codec.encode(piece), rng=rng)


def _take(
    context: Meeting,
    me: str,
    peer: str,
    own: AgreementKey,
    stage: int,
    message: Private,
    into: Intake,
    each: int,
) -> None:
    raw = context.pair(me, peer, own).unseal(message)
    piece = codec.decode(Piece, raw, sender=peer, round=context.round)
    if piece.stage != stage:
        raise UnexpectedMessage(
            "a piece of another list",
            culprits=(peer,),
            round=context.round,
            expected=stage,
            found=piece.stage,
        )
    try:
        into.take(piece, each)
    except ParameterError as problem:
        raise MalformedMessage(str(problem), culprits=(peer,), round=context.round) from None


def letters(
    context: Meeting,
    me: str,
    own: AgreementKey,
    stage: int,
    *,
    send: Mapping[str, Message],
    take: Mapping[str, type[M]],
    rng: Rng,
    limit: int = LETTER,
) -> Role[dict[str, M]]:
    """Send each peer one message, and take one of the said kind from others, of at most `limit` bytes.

    Raises `ProtocolViolation`, `ProtocolAborted`.
    """
    lots = {peer: whole(codec.encode(message)) for peer, message in send.items()}
    into = {peer: Intake(1, limit, least=1) for peer in take}
    yield from carry(context, me, own, stage, send=lots, take=into, rng=rng, each=limit)
    return {
        peer: codec.decode(kind, into[peer].joined(), sender=peer, round=context.round)
        for peer, kind in take.items()
    }


def entries(raw: bytes, width: int) -> Lot:
    """A list of which all bytes are there already."""
    return Lot(len(raw) // width, lambda at, upto: raw[width * at : width * upto])


def whole(raw: bytes) -> Lot:
    """Bytes as a list, an entry each."""
    return entries(raw, 1)
