"""One member's line to the others: a micro-batch is one message, and the next may leave before it is answered."""

from __future__ import annotations

from collections.abc import Iterable

from silo.crypto.errors import ParameterError
from silo.crypto.keys import AgreementKey
from silo.crypto.rng import Rng
from silo.protocols import codec
from silo.protocols.errors import MalformedMessage, ProtocolAborted, UnexpectedMessage
from silo.protocols.private import Private
from silo.protocols.split import wire
from silo.protocols.split.terms import FRAME, MOST_MICRO, Terms
from silo.protocols.split.wire import Rows
from silo.protocols.step import Inbox, Outgoing, Role, Step, Wait
from silo.protocols.transit import SEALED, Piece
from silo.protocols.vertical.context import Context


class Line:
    """Writes and reads micro-batches, numbered in the order in which both ends count them."""

    def __init__(self, context: Context, me: str, own: AgreementKey, *, rng: Rng) -> None:
        self.context, self.me, self.own, self.rng = context, me, own, rng
        self._pairs = {peer: context.pair(me, peer, own) for peer in context.channels if peer != me}

    def out(self, peer: str, number: int, rows: int, raw: bytes) -> Outgoing:
        """One micro-batch for a peer, sealed."""
        piece = Piece(number, rows, 0, memoryview(raw))
        sealed = self._pairs[peer].seal(codec.encode(piece), rng=self.rng)
        return Outgoing((peer,), sealed, SEALED, ordered=True)

    def send(self, *outgoing: Outgoing) -> Role[None]:
        """Let them leave without waiting for anything."""
        yield Step(outgoing, None)

    def take(
        self,
        peers: Iterable[str],
        number: int,
        rows: int,
        width: int,
        what: str,
        sending: tuple[Outgoing, ...] = (),
    ) -> Role[dict[str, bytes]]:
        """The micro-batch of each peer: `rows` of `width` bytes. Raises `ProtocolViolation`, `ProtocolAborted`."""
        senders = frozenset(peers)
        limit = FRAME + rows * width
        # A fast host has as many micro-batches on its way as may be while another's is waited for.
        ahead = self.context.ahead + MOST_MICRO * limit
        wait = Wait(what, (Private,), senders, len(senders), limit, ahead=ahead)
        inbox: Inbox = yield Step(sending, wait)
        return {peer: self._opened(peer, number, rows, width, what, inbox) for peer in sorted(senders)}

    def read(self, peer: str, raw: bytes, terms: Terms, width: int) -> Rows:
        """The (rows, width) numbers that a peer wrote. Raises `MalformedMessage`."""
        try:
            return wire.decode(raw, terms.wire, width)
        except ParameterError as problem:
            raise self._malformed(problem, peer) from None

    def _malformed(self, problem: object, culprit: str) -> MalformedMessage:
        """The violation of who wrote what cannot be."""
        return MalformedMessage(str(problem), culprits=(culprit,), round=self.context.round)

    def _opened(self, peer: str, number: int, rows: int, width: int, what: str, inbox: Inbox) -> bytes:
        if peer not in inbox:
            raise ProtocolAborted(
                f"{peer} was lost while {what} were waited for: begin again when it is back", (peer,)
            )
        raw = self._pairs[peer].unseal(inbox[peer].message)
        piece = codec.decode(Piece, raw, sender=peer, round=self.context.round)
        if piece.stage != number:
            raise UnexpectedMessage(
                "another micro-batch than the next",
                culprits=(peer,),
                round=self.context.round,
                expected=number,
                found=piece.stage,
            )
        if (piece.total, piece.at, len(piece.entries)) != (rows, 0, rows * width):
            raise self._malformed(
                f"a micro-batch of {len(piece.entries)} bytes for {piece.total} rows, and {rows * width} bytes for "
                f"{rows} rows were agreed",
                peer,
            )
        return bytes(piece.entries)
