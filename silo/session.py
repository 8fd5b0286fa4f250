"""One member in one task: the collectives that a partner's own code calls.

The session is where the system's randomness, the clock, the disk and the network enter; every collective is a
roll call and then the sum that the charter names. What the charter does not allow is refused here, before
anything leaves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from silo import encoding, sums, updates, values
from silo.agreement import LENGTH, Round, session_id
from silo.caps import Caps
from silo.charter import Charter, Task
from silo.crypto import masking
from silo.crypto.errors import ParameterError, SiloError
from silo.crypto.keys import AgreementKey
from silo.crypto.masking import Plain
from silo.crypto.ring import FixedPoint, ValueOutOfRange
from silo.crypto.rng import Rng, SystemRng
from silo.driver import Drive, Seat
from silo.identity import Identity
from silo.journal import Journal
from silo.outbox import LINK, Outbox
from silo.privacy.policy import Policy
from silo.protocols import rollcall
from silo.protocols.envelope import OVERHEAD
from silo.protocols.errors import ProtocolAborted
from silo.protocols.rollcall import Begin, Present, Term
from silo.protocols.step import Outgoing, Step, Wait
from silo.protocols.total import Total
from silo.results import Results
from silo.sum_key import SumKey
from silo.values import Layout

if TYPE_CHECKING:
    from silo.intersection_sum import IntersectionSum
    from silo.privacy.skellam import Skellam


class NoResult(ProtocolAborted):
    """The charter gives this member no results; the sum went to the others."""

    code = "SILO-216"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One finished collective."""

    round: int
    survivors: tuple[str, ...]
    present: tuple[str, ...]
    weight: float
    """The sum of all weights (of ones, where none were given)."""
    error: float
    """No entry of the result is further than this from that of the unrounded inputs."""


class Session:
    """What `silo.join` and `silo.simulate` hand to a party. Use it as a context manager, in one thread.

    `sum` and `mean` behave alike whatever protocol the charter names. They raise `ValueOutOfRange` for a
    value that cannot be encoded, `UnlikeTerms` when members ask for different things, `TooFewParties` and
    other `ProtocolAborted` when a round ends without a result, `ProtocolViolation` when somebody cheats.
    """

    def __init__(
        self,
        *,
        seat: Seat,
        charter: Charter,
        identity: Identity,
        task: Task,
        journal: Journal,
        outbox: Outbox,
        results: Results | None = None,
        policy: Policy | None = None,
        sum_key: SumKey | None = None,
        rng: Rng | None = None,
        threads: int = 1,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.charter = charter
        self.task = task
        self.seat = seat
        self.journal = journal
        self.outbox = outbox
        self.results = results
        self.policy = policy
        self._sum_key = sum_key
        self.position = 0
        self.saturated = 0
        self.last: Outcome | None = None
        self.channel_key = AgreementKey.generate(rng=rng or SystemRng())
        self._identity = identity
        self._rng = rng or SystemRng()
        self._threads = threads
        self._now = now
        self._closed = False

    @property
    def me(self) -> str:
        """This organisation's name."""
        return self._identity.name

    @property
    def members(self) -> tuple[str, ...]:
        """All members of the charter."""
        return self.charter.names

    @property
    def rng(self) -> Rng:
        """The session's source of randomness."""
        return self._rng

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def threads(self) -> int:
        """Threads that long work may take."""
        return self._threads

    def sum(self, value: Any, *, clip: float | None = None, noise: Skellam | None = None) -> Any:
        """Sum arrays (or dicts of arrays, tensors, scalars) over all members.

        Integers are summed exactly and come back as int64; floats with |x| <= clip (the charter's, or a
        smaller one) come back as float64. Every member gets the same result. With `noise` the first axis of
        `value` is records, which are clipped and summed with differential privacy.
        """
        if noise is not None:
            from silo.privacy import noised_sum

            return noised_sum.sum_records(self, value, noise)
        return self.collect(value, tag="sum", clip=clip)

    def mean(self, value: Any, *, weight: float | None = None, clip: float | None = None) -> Any:
        """Average over all members, alike or each with its weight, which is masked as the values are.

        The total weight is known; so a weight that never changes shows when its member is missing once.

        Integer tensors beside floats, such as counts of batches, stay with their member and come back as they
        were. Other integers without a weight are averaged exactly; with one they count as floats. A weight is at
        most the task's cap on rows. Raises `ParameterError` when all weights are zero.
        """
        return self.collect(value, tag="mean", weight=weight, clip=clip, average=True)

    def intersect(self, ids: Any, *, reveal: str = "rows", column: str = "the identifiers") -> Any:
        """Places of the rows that all members have in common, in an order that all share; or how many (`"size"`).

        `ids` is one column of different identifiers: text or whole numbers, which are never shown to anybody.
        `column` names it in messages. The charter says what may be revealed, to whom, and how often.
        """
        from silo import intersection

        return intersection.intersect(self, ids, reveal=reveal, column=column)

    def intersect_sum(
        self,
        ids: Any,
        values: Any = None,
        *,
        columns: int = 1,
        clip: float | None = None,
        noise: Skellam | None = None,
        column: str = "the identifiers",
    ) -> IntersectionSum | None:
        """Sums of one member's `values` over the rows that two members have in common, and how many those are.

        Who has no values passes none. Both say alike how many `columns` they are, and `clip`: the largest absolute
        value (without one the charter's), or `noise`, whose clip is the largest L2 norm of a row. The noise hides the
        rows of who has no values, whose ledger pays; that member learns the number of rows in common exactly.
        """
        from silo import intersection_sum

        return intersection_sum.intersect_sum(
            self, ids, values, columns=columns, clip=clip, noise=noise, column=column
        )

    def roll_call(self, tag: str, terms: tuple[Term, ...] = (), state: bytes = b"") -> Round:
        """Say what this member is about to do and learn who does the same; nothing is compared yet."""
        endpoint = self.seat.endpoint
        relay = self.charter.relay
        self.seat.epoch = endpoint.epoch
        session = session_id(self.charter, self.seat.epoch)
        self.check_leaving(0)
        self.journal.enter(session, agreement=self.charter.digest, task=self.task.name)
        here = rollcall.bearings(self.charter.digest, session)
        shown, lines = self.policy.show() if self.policy else ("", ())
        present = Present(tag, self.position, terms, state, self.channel_key.public, shown, lines)
        limit = OVERHEAD + len(self.charter.names) * rollcall.PRESENT_LIMIT

        def role() -> Any:
            wait = Wait("the roll call", (Begin,), frozenset({relay.name}), 1, limit)
            inbox = yield Step((Outgoing((relay.name,), present, "signed", public=True),), wait)
            return inbox[relay.name].message

        keys = {relay.name: relay.card.key}
        begin: Begin = Drive(self.seat, here, keys).run(role())
        presents = rollcall.called(begin, here, self.charter.keys, relay.name, self.me, present)
        if self.policy:
            self.policy.witness(self.charter, presents, begin.round)
        counts = any(term.name == LENGTH for term in terms)
        self.journal.begin_round(
            session,
            begin.round,
            agreement=self.charter.digest if counts else b"",
            task=self.task.name if counts else "",
        )
        return Round(self.charter, session, begin.round, presents)

    def collect(
        self,
        value: Any,
        *,
        tag: str,
        weight: float | None = None,
        average: bool = False,
        clip: float | None = None,
        state: bytes = b"",
        terms: tuple[Term, ...] = (),
        compare: Callable[[Round], bool] | None = None,
        charges: Sequence[str] = (),
        source: tuple[np.ndarray[Any, Any], ...] = (),
    ) -> Any:
        """The collective that `sum`, `mean` and all else are made of.

        `tag`, `state` and `terms` are what the members must have alike beside the value's form. `compare`
        looks at the roll call: it raises, or says whether the sum may begin (else the roll is called again).
        `charges` are the reservations that paid for the noise in `value`; without one the privacy policy decides.
        `source` is what `value` was worked out from, where others have a say in the working out: the journal
        then knows the update by it, and the same numbers in another unit are not another update.
        """
        layout, parts = values.flatten(value, keep_counters=average)
        if weight is not None and layout.kind == "integer":
            layout, parts = replace(layout, kind="float"), tuple(part.astype(np.float64) for part in parts)
        encoder, heaviest = encoding.choose(
            self.charter, self.task, layout, weighted=weight is not None, clip=clip
        )
        plain = Plain(
            parts,
            encoder,
            weight=1.0 if weight is None else encoding.rounded_weight(weight, heaviest),
            saturate=self.charter.sum.overflow == "saturate",
        )
        self._check_values(plain, layout)
        digest = updates.tag(self._identity, self.charter.digest, plain)
        spent = updates.tag(self._identity, self.charter.digest, Plain(source, encoder)) if source else digest
        # What carries a state is trained step by step, with checkpoints of its own.
        kept = None if state else self.results
        asked = (
            f"{tag} {layout.terms()} {encoding.describe(encoder, weighted=weight is not None)} {plain.weight}"
        )
        total = kept.get(self.position, asked, digest) if kept else None
        number, present = 0, total.survivors if total else ()
        if total is None:
            if self.charter.sum.changed_cohort == "refuse":
                self.journal.check_update(spent)
            # What this site alone can refuse comes before the ledger is charged.
            self.check_leaving(encoding.coming(self.charter, layout.length), rounds=1)
            if self.policy:
                self.policy.release(tag, charges)
            said = (
                Term("task", self.task.name),
                Term("protocol", self.charter.sum.protocol),
                *layout.terms(),
                Term("encoding", encoding.describe(encoder, weighted=weight is not None)),
                *terms,
            )
            while True:
                self.check_leaving(encoding.coming(self.charter, layout.length), rounds=1)
                round_ = self.roll_call(tag, said, state)
                if (compare or _all_alike)(round_):
                    break
            total = self._run(round_, plain, spent)
            number, present = round_.number, tuple(round_.presents)
            if kept:
                kept.put(self.position, asked, digest, total)
        self.position += 1
        if not self.charter.receives(self.me):
            raise NoResult(
                f"the charter gives {self.me} no results: ask for it under [results] in a new charter"
            )
        self.saturated += total.saturated
        error = encoder.max_error(len(total.survivors)) if isinstance(encoder, FixedPoint) else 0.0
        if average and total.weight:
            error /= total.weight
        self.last = Outcome(number, total.survivors, present, total.weight, error)
        decoded = encoder.decode(total.words)
        if not average:
            return layout.restore(decoded)
        if total.weight == 0:
            raise ParameterError("all weights are zero: a mean needs one member with a weight")
        return layout.restore(np.divide(decoded, total.weight))

    def _run(self, round_: Round, plain: Plain, digest: bytes) -> Total:
        protocol = sums.of(self.charter.sum.protocol)
        context = protocol.place(round_)
        if self.charter.sum.changed_cohort == "refuse":
            # A quorum of the others can go on over this member's veto, so the update must not leave at all.
            self.journal.check_cohort(digest, tuple(round_.presents))
        keys = {**context.roster.keys, self.charter.relay.name: self.charter.relay.card.key}
        seat = self.seat

        def once(session: bytes, number: int, step: Step) -> None:
            self.journal.once(session, number, step.once)
            if step.once == "upload":
                self.journal.consume(digest, session, number, changed_cohort=self.charter.sum.changed_cohort)
            elif step.once == "vote" and self.charter.sum.changed_cohort == "refuse":
                # The same update over another cohort: the difference of the sums would be somebody's input.
                self.journal.check_cohort(digest, sorted(step.over))

        seat.once = once
        own = sums.Own(self.me, self.channel_key, self._sum_key)
        role = protocol.member(round_, own, plain, rng=self._rng, threads=self._threads)
        total, survivors = Drive(seat, context.bearings, keys).run(role)
        names = tuple(sorted(survivors))
        self.journal.settle(round_.session, round_.number, names)
        # A member without results keeps that the collective is over, so that its script can begin again.
        return total or Total(np.empty(0, np.uint32), 0.0, 0, names)

    def _check_values(self, plain: Plain, layout: Layout) -> None:
        """Name the first value that cannot be encoded by its key and place, before anything leaves."""
        try:
            masking.check(plain)
        except ValueOutOfRange as problem:
            key, place = layout.where(problem.index)
            raise problem.named(f"{key or 'the value'}{list(place) if place else ''}") from None

    def check_leaving(self, coming: int, *, rounds: int = 0) -> None:
        """Refuse bytes and rounds beyond the task's caps. Raises `Expired` or `NotAllowed`."""
        Caps(self.charter, self.task, self.journal, self.outbox).check(self._now(), coming, rounds)

    def close(self, code: str = "", *, resume: bool = False) -> None:
        """Say goodbye: `code` "" when all went well, else the code that the others are told.

        With `resume` the results so far are kept for the same script, started again; without, as after a kill,
        everybody begins anew.
        """
        if self._closed:
            return
        self._closed = True
        if not resume and self.results:
            self.results.clear()
        try:
            self.seat.endpoint.leave(code)
            self._account_for_link()
        finally:
            self.outbox.close()
            self.journal.close()
            if self.policy:
                self.policy.account.ledger.close()

    def _account_for_link(self) -> None:
        """Write down what the link itself sent, the goodbye included, and seal the outbox.

        Frames that were recorded and did not leave, because the relay was lost, stay recorded.
        """
        endpoint = self.seat.endpoint
        own = endpoint.traffic.bytes_sent - self.seat.recorded
        if own > 0:
            session = session_id(self.charter, endpoint.epoch)
            self.outbox.record(
                session=session,
                round=max(0, self.journal.last_round(session)),
                recipient=self.charter.relay.name,
                kind=LINK,
                protection="transport",
                size=own,
                digest=hashlib.sha256(b"").digest(),
            )
        self.outbox.seal_head(self._identity)

    def __deepcopy__(self, _: object) -> Session:
        return self  # scikit-learn copies a model's parameters, and there is one connection

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The text of an exception stays here: it could hold a record. The others get a code.
        code = "" if error is None else error.code if isinstance(error, SiloError) else SiloError.code
        self.close(code, resume=error is not None and not isinstance(error, SiloError))


def _all_alike(round_: Round) -> bool:
    rollcall.compare(round_.presents)
    return True
