"""Both sides of the sum under a joint key as roles that any driver can move."""

from __future__ import annotations

from silo.crypto.keys import AgreementKey
from silo.crypto.masking import Plain
from silo.crypto.rng import Rng
from silo.protocols.codec import Message
from silo.protocols.cohort import Votes
from silo.protocols.envelope import OVERHEAD
from silo.protocols.he_sum.context import Context
from silo.protocols.he_sum.joint import board, client, server
from silo.protocols.he_sum.messages import Commits, Missing, Parts, Pledges, Reveals, Uploads
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

    committing, commit = client.begin(context, me, own, rng=rng)
    lattice = committing.own.lattice
    inbox: Inbox = yield Step(send(commit, PUBLIC), wait(small, Commits))
    revealing, reveal = committing.reveal(inbox[aggregator].message, rng=rng)
    each = board.reveal_limit(context, lattice)
    inbox = yield Step(send(reveal, PUBLIC), wait(OVERHEAD + n * each, Reveals))
    pledging, pledge = revealing.pledge(inbox[aggregator].message, plain, rng=rng, threads=threads)
    inbox = yield Step(send(pledge, PUBLIC), wait(small, Pledges))
    uploading, upload = pledging.send(inbox[aggregator].message)
    del pledging
    sent: Inbox = yield Step(send(upload, ENCRYPTED), None, once="upload")
    digest = sent[me].receipt.digest
    del upload, sent
    inbox = yield Step((), wait(small + n * (OVERHEAD + lattice.payload_bytes), Uploads))
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


def aggregator(context: Context, *, present: frozenset[str] | None = None) -> Role[frozenset[str]]:
    """The aggregator: yields steps, returns the survivors. `present` None: all members."""
    collecting = server.open_round(context, frozenset(context.roster) if present is None else present)
    yield Step((), collecting.waits)
    revealing, commits = collecting.close_round()
    yield Step(_to(revealing.expected, commits, PUBLIC), revealing.waits)
    pledging, reveals = revealing.close_round()
    yield Step(_to(pledging.expected, reveals, PUBLIC), pledging.waits)
    uploading, pledges = pledging.close_round()
    yield Step(_to(uploading.expected, pledges, PUBLIC), uploading.waits)
    voting, uploads = uploading.close_round()
    yield Step(_to(voting.expected, uploads, ENCRYPTED), voting.waits)
    decrypting, votes = voting.close_round()
    yield Step(_to(decrypting.expected, votes, PUBLIC), decrypting.waits)
    recovering, missing = decrypting.close_round()
    if missing.names:
        yield Step(_to(recovering.expected, missing, PUBLIC), recovering.waits)
    told, parts = recovering.expected, recovering.close_round()
    getting = told & frozenset(context.parameters.receivers)
    yield Step(_to(getting, parts, SEALED) + _to(told - getting, Parts((), ()), PUBLIC), None)
    return decrypting.survivors


def _to(names: frozenset[str], message: Message, protection: str) -> tuple[Outgoing, ...]:
    return (Outgoing(tuple(sorted(names)), message, protection, public=True),) if names else ()
