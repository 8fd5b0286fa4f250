"""The same exchange with the masks off: encode, upload, add, send back. No charter names it."""

from __future__ import annotations

from silo import sums
from silo.agreement import Round
from silo.crypto.masking import Plain, Seeds
from silo.crypto.rng import Rng
from silo.protocols.cohort import Closed
from silo.protocols.envelope import OVERHEAD, Opened
from silo.protocols.rounds import Place
from silo.protocols.secagg import vector
from silo.protocols.secagg.messages import Result, Upload
from silo.protocols.secagg.vector import Accumulator
from silo.protocols.step import Outgoing, Step, Wait
from silo.sums import AggregatorRole, MemberRole, Own

_NOTHING = "public"


class PlainSum:
    """One message up and one down; the aggregator reads everything."""

    def place(self, round: Round) -> Place:
        return round.masking()

    def member(self, round: Round, own: Own, plain: Plain, *, rng: Rng, threads: int) -> MemberRole:
        parameters, relay = round.masked(), round.charter.relay.name
        upload = Upload(vector.mask(plain, parameters, Seeds(), rng=rng, threads=threads))
        limit = OVERHEAD + 64 + parameters.payload_bytes
        wait = Wait("the result", (Result,), frozenset({relay}), 1, limit)
        inbox = yield Step((Outgoing((relay,), upload, _NOTHING),), wait)
        payload = inbox[relay].message.payload
        everybody = frozenset(round.presents)
        return vector.read(payload, parameters, (), everybody, threads=threads), everybody

    def aggregator(self, round: Round, *, threads: int) -> AggregatorRole:
        parameters, everybody = round.masked(), frozenset(round.presents)
        total = Accumulator(parameters)

        def accept(opened: Opened[Upload]) -> None:
            total.add(opened.message.payload)

        limit = OVERHEAD + 64 + parameters.payload_bytes
        yield Step((), Wait("the upload", (Upload,), everybody, len(everybody), limit, accept))
        result = Result(total.payload())
        yield Step((Outgoing(tuple(sorted(everybody)), result, _NOTHING, public=True),), None)
        return Closed(everybody)


class Alternating:
    """Masked rounds and plain ones in turn, by the parity of their number."""

    def place(self, round: Round) -> Place:
        return round.masking()

    def member(self, round: Round, own: Own, plain: Plain, *, rng: Rng, threads: int) -> MemberRole:
        return _of(round.number).member(round, own, plain, rng=rng, threads=threads)

    def aggregator(self, round: Round, *, threads: int) -> AggregatorRole:
        return _of(round.number).aggregator(round, threads=threads)


def masked(number: int) -> bool:
    """Whether the round of this number is masked."""
    return number % 2 == 0


def _of(number: int) -> sums.Sum:
    return sums.Masking() if masked(number) else PlainSum()
