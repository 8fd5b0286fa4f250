"""Both sides of the sum under one holder's key as roles that any driver can move."""

from __future__ import annotations

from collections.abc import Callable

from silo.crypto.keys import AgreementKey
from silo.crypto.masking import Plain
from silo.crypto.rng import Rng
from silo.protocols.codec import Message
from silo.protocols.cohort import Closed, Survivors
from silo.protocols.envelope import OVERHEAD
from silo.protocols.he_sum.context import Context
from silo.protocols.he_sum.errors import NotDecrypted
from silo.protocols.he_sum.holder import client, server
from silo.protocols.he_sum.messages import Ciphertext, KeyFrame, Released
from silo.protocols.he_sum.schemes import KEY_LIMIT, Decryption
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
    public: bytes = b"",
    key: Callable[[], Decryption] | None = None,
) -> Role[tuple[Total | None, frozenset[str]]]:
    """A member: yields steps, returns its sum (or None) and the survivors; the holder brings `public` and `key`."""
    aggregator, many = context.aggregator, OVERHEAD + 4096 * len(context.roster)

    def wait(kind: type[Message], limit: int) -> Wait:
        return Wait(f"the aggregator's {kind.__name__}", (kind,), frozenset({aggregator}), 1, limit)

    def send(message: Message, protection: str, *, to_all: bool = False) -> tuple[Outgoing, ...]:
        return (Outgoing((aggregator,), message, protection, public=to_all),)

    first: tuple[Outgoing, ...] = ()
    if key is None:
        waiting = client.begin(context, me)
    else:
        waiting, shown = client.hold(context, me, public, own, rng=rng)
        first = send(shown, PUBLIC, to_all=True)
    inbox: Inbox = yield Step(first, wait(KeyFrame, OVERHEAD + KEY_LIMIT))
    uploading, upload = waiting.encrypt(inbox[aggregator].message, plain, own, rng=rng, threads=threads)
    sent: Inbox = yield Step(send(upload, ENCRYPTED), None, once="upload")
    digest = sent[me].receipt.digest
    del upload, sent
    inbox = yield Step((), wait(Survivors, many))
    voting, vote = uploading.agree(inbox[aggregator].message, digest)
    survivors = voting.agreed.names
    limit = OVERHEAD + client.release_limit(context)
    if key is None:
        inbox = yield Step(send(vote, VOTE, to_all=True), wait(Released, limit), once="vote", over=survivors)
        return voting.finish(inbox[aggregator].message, own, receives=receives), survivors
    decryption = key()
    inbox = yield Step(
        send(vote, VOTE, to_all=True),
        wait(Ciphertext, many + decryption.payload_bytes),
        once="vote",
        over=survivors,
    )
    try:
        total, release = voting.decrypt(inbox[aggregator].message, decryption, own, rng=rng, threads=threads)
    except NotDecrypted as problem:
        yield Step(send(client.refusal(problem), VOTE, to_all=True), None)
        raise
    yield Step(send(release, SEALED, to_all=True), None, once="decrypt")
    return (total if receives else None), survivors


def aggregator(context: Context, *, present: frozenset[str] | None = None) -> Role[Closed]:
    """The aggregator: yields steps, returns the survivors. `present` None: all members."""
    everybody = frozenset(context.roster)
    asking = server.open_round(context, everybody if present is None else present)
    yield Step((), asking.waits)
    collecting, key = asking.close_round()
    yield Step(_to(collecting.expected, key, PUBLIC), collecting.waits)
    votes, survivors = collecting.close_round()
    yield Step(_to(votes.expected, survivors, PUBLIC), votes.waits)
    releasing, ciphertext = votes.close_round()
    holder = frozenset({context.parameters.holder})
    yield Step(_to(holder, ciphertext, ENCRYPTED), releasing.waits)
    released = releasing.close_round()
    getting = releasing.told & frozenset(context.parameters.receivers)
    empty = Released(memoryview(b""))
    yield Step(_to(getting, released, SEALED) + _to(releasing.told - getting, empty, PUBLIC), None)
    return Closed(releasing.agreed.names)


def _to(names: frozenset[str], message: Message, protection: str) -> tuple[Outgoing, ...]:
    return (Outgoing(tuple(sorted(names)), message, protection, public=True),) if names else ()
