"""Both sides of the sum under a joint key as roles that any driver can move."""

from __future__ import annotations

from silo.crypto.keys import AgreementKey
from silo.crypto.masking import Plain
from silo.crypto.rng import Rng
from silo.protocols.codec import Message
from silo.protocols.cohort import Closed, Votes
from silo.protocols.envelope import OVERHEAD
from silo.protocols.he_sum.context import Context
from silo.protocols.he_sum.joint import board, client, server
from silo.protocols.he_sum.messages import JointParts, Missing, Parts, Summed
from silo.protocols.step import Inbox, Outgoing, Role, Step, Wait
from silo.protocols.total import Total

PUBLIC = "public"
ENCRYPTED = "encrypted"
SEALED = "end-to-end encrypted"
VOTE = "signed"


def member(
    context: Context,
    me: str,
    plain: Plain,
    own: AgreementKey,
    *,
    rng: Rng,
    receives: bool = True,
    threads: int = 1,
) -> Role[tuple[Total | None, frozenset[str]]]:
    """A member: yields steps, returns its sum (or None) and the survivors."""
    aggregator, n = context.aggregator, len(context.roster)
    small = OVERHEAD + 4096 * n

    def wait(limit: int, *kinds: type[Message]) -> Wait:
        return Wait(f"the aggregator's {kinds[0].__name__}", kinds, frozenset({aggregator}), 1, limit)

    def send(message: Message, protection: str) -> tuple[Outgoing, ...]:
        return (Outgoing((aggregator,), message, protection, public=True),)

    showing, part = client.begin(context, me, own, rng=rng)
    lattice = showing.own.lattice
    each = board.part_limit(context, lattice)
    inbox: Inbox = yield Step(send(part, PUBLIC), wait(OVERHEAD + n * each, JointParts))
    uploading, upload, note = showing.encrypt(inbox[aggregator].message, plain, rng=rng, threads=threads)
    outgoing = Outgoing((aggregator,), upload, ENCRYPTED, note=note)
    sent: Inbox = yield Step((outgoing,), None, once="upload")
    digest = sent[me].receipt.digest
    del upload, outgoing, sent
    inbox = yield Step((), wait(small + lattice.payload_bytes, Summed))
    voting, vote = uploading.agree(inbox[aggregator].message, digest)
    survivors = voting.agreed.names
    inbox = yield Step(send(vote, VOTE), wait(small, Votes), once="vote", over=survivors)
    finishing, partial = voting.decrypt(inbox[aggregator].message, rng=rng)
    most = small + 128 * n * n + n * (OVERHEAD + lattice.partial_bytes)
    inbox = yield Step(send(partial, SEALED), wait(most, Parts, Missing), once="partial")
    if isinstance(inbox[aggregator].message, Missing):
        finishing, recovery = finishing.recover(inbox[aggregator].message, rng=rng)
        inbox = yield Step(send(recovery, SEALED), wait(most, Parts), once="recovery")
    return finishing.finish(inbox[aggregator].message, receives=receives, rng=rng), survivors


def aggregator(context: Context, *, present: frozenset[str] | None = None) -> Role[Closed]:
    """The aggregator: yields steps, returns the survivors. `present` None: all members."""
    collecting = server.open_round(context, frozenset(context.roster) if present is None else present)
    yield Step((), collecting.waits)
    uploading, parts = collecting.close_round()
    yield Step(_to(uploading.expected, parts, PUBLIC), uploading.waits)
    voting, summed = uploading.close_round()
    yield Step(_to(voting.expected, summed, ENCRYPTED), voting.waits)
    decrypting, votes = voting.close_round()
    yield Step(_to(decrypting.expected, votes, PUBLIC), decrypting.waits)
    recovering, missing = decrypting.close_round()
    if missing.names:
        yield Step(_to(recovering.expected, missing, PUBLIC), recovering.waits)
    told, given = recovering.expected, recovering.close_round()
    getting = told & frozenset(context.parameters.receivers)
    yield Step(_to(getting, given, SEALED) + _to(told - getting, Parts((), ()), PUBLIC), None)
    return Closed(decrypting.survivors)


def _to(names: frozenset[str], message: Message, protection: str) -> tuple[Outgoing, ...]:
    return (Outgoing(tuple(sorted(names)), message, protection, public=True),) if names else ()
