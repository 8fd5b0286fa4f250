"""Both sides of the masked sum as roles that any driver can move."""

from __future__ import annotations

from silo.crypto.masking import Plain
from silo.crypto.rng import Rng
from silo.protocols.codec import Message
from silo.protocols.cohort import Closed, Survivors, Votes
from silo.protocols.envelope import OVERHEAD
from silo.protocols.secagg import client, server
from silo.protocols.secagg.context import Context
from silo.protocols.secagg.messages import Delivery, Directory, Result, Reveals
from silo.protocols.step import Inbox, Outgoing, Role, Step, Wait
from silo.protocols.total import Total

PUBLIC = "public"
SHARES = "end-to-end encrypted"
MASKED = "masked"
VOTE = "signed"
UNMASK = "signed"
AGGREGATE = "signed"


def member(
    context: Context, me: str, plain: Plain, *, rng: Rng, receives: bool = True, threads: int = 1
) -> Role[tuple[Total | None, frozenset[str]]]:
    """A member: yields steps, returns its sum (or None) and the survivors."""
    n = len(context.roster)
    small, many = OVERHEAD + 4096, OVERHEAD + 4096 * n

    def wait(kind: type[Message], limit: int) -> Wait:
        return Wait(f"the aggregator's {kind.__name__}", (kind,), frozenset({context.aggregator}), 1, limit)

    def to_aggregator(message: Message, protection: str, note: bytes = b"") -> tuple[Outgoing, ...]:
        return (Outgoing((context.aggregator,), message, protection, note=note),)

    def to_all(message: Message, protection: str) -> tuple[Outgoing, ...]:
        return (Outgoing((context.aggregator,), message, protection, public=True),)

    advertising, advertisement = client.advertise(context, me, rng=rng)
    inbox = yield Step(to_all(advertisement, PUBLIC), wait(Directory, many))
    if context.parameters.degree:
        revealing, reveal = advertising.reveal(inbox[context.aggregator].message)
        inbox = yield Step(to_all(reveal, PUBLIC), wait(Reveals, many))
        sharing, shares = revealing.share(inbox[context.aggregator].message, rng=rng)
    else:
        sharing, shares = advertising.share(inbox[context.aggregator].message, rng=rng)
    inbox = yield Step(to_aggregator(shares, SHARES), wait(Delivery, small + 512 * n))
    uploading, upload, note = sharing.mask(inbox[context.aggregator].message, plain, rng=rng, threads=threads)
    del sharing, advertising, inbox
    sent: Inbox = yield Step(to_aggregator(upload, MASKED, note), None, once="upload")
    digest = sent[me].receipt.digest
    del upload, sent
    inbox = yield Step((), wait(Survivors, many))
    voting, vote = uploading.agree(inbox[context.aggregator].message, digest)
    survivors = voting.agreed.names
    inbox = yield Step(to_all(vote, VOTE), wait(Votes, many), once="vote", over=survivors)
    finishing, unmasking = voting.unmask(inbox[context.aggregator].message)
    result_limit = OVERHEAD + 64 + context.parameters.payload_bytes
    inbox = yield Step(to_aggregator(unmasking, UNMASK), wait(Result, result_limit), once="unmask")
    return finishing.finish(inbox[context.aggregator].message, receives=receives, threads=threads), survivors


def aggregator(
    context: Context,
    *,
    present: frozenset[str] | None = None,
    receivers: frozenset[str] | None = None,
    threads: int = 1,
) -> Role[Closed]:
    """The aggregator: yields steps, returns the survivors and who lied. `present` and `receivers` None: all members."""
    collecting = server.open_round(context, frozenset(context.roster) if present is None else present)
    yield Step((), collecting.waits)
    state, directory = collecting.close_round()
    send = _to(state.expected, directory, PUBLIC)
    yield Step(send, state.waits)
    if isinstance(state, server.CollectingReveals):
        state, reveals = state.close_round()
        yield Step(_to(state.expected, reveals, PUBLIC), state.waits)
    uploads, boxes = state.close_round()
    yield Step(tuple(Outgoing((name,), box, SHARES) for name, box in sorted(boxes.items())), uploads.waits)
    votes, survivors = uploads.close_round()
    yield Step(_to(votes.expected, survivors, PUBLIC), votes.waits)
    back, counted = votes.close_round()
    yield Step(_to(back.expected, counted, PUBLIC), back.waits)
    result, closed = back.close_round(threads=threads)
    told = frozenset(back.inbox)
    getting = told if receivers is None else told & receivers
    empty = Result(memoryview(b""))
    yield Step(_to(getting, result, AGGREGATE) + _to(told - getting, empty, PUBLIC), None)
    return closed


def _to(names: frozenset[str], message: Message, protection: str) -> tuple[Outgoing, ...]:
    return (Outgoing(tuple(sorted(names)), message, protection, public=True),) if names else ()
