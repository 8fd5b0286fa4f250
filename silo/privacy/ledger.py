"""The ledger of privacy spent: what was ever released of each data set, and what may still be.

A reservation is one transaction: catch up with what others wrote, ask the filter, append, flush to the disk, and
only then hand out the tokens without which no noise is drawn. A crash after it counts as spent. What a chain on one
disk cannot see is that the whole file was replaced by an older copy: partners countersign the head for that
(`silo.privacy.witness`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from silo.crypto import labels
from silo.crypto.rng import Rng, SystemRng
from silo.crypto.signing import SigningKey
from silo.errors import ParameterError
from silo.identity import Identity
from silo.privacy import events, key_file
from silo.privacy.account import Account
from silo.privacy.books import Books
from silo.privacy.budget import Budget
from silo.privacy.chain import Append, Chain
from silo.privacy.content import commitment
from silo.privacy.dataset import NEIGHBOURING, Description, check_texts
from silo.privacy.errors import LedgerError, LedgerForked, PrivacyBudgetExceeded
from silo.privacy.events import Event
from silo.privacy.head import LEDGER_ID_BYTES, Head, SealedHead
from silo.privacy.record import Record
from silo.privacy.reservation import Reservation


class Ledger:
    """The ledger of one organisation. Threads and processes may share the file."""

    def __init__(self, chain: Chain, key: SigningKey, owner: str, *, rng: Rng) -> None:
        self._chain = chain
        self._key = key
        self._rng = rng
        self.path = chain.path
        self.owner = owner

    @classmethod
    def open(
        cls,
        path: str | Path,
        identity: Identity | None = None,
        *,
        rng: Rng | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> Ledger:
        """Open a ledger, or begin one. Raises `LedgerError`.

        It is signed with the identity's key; without an identity, with a key of its own in PATH.key (0600).
        """
        target, source = Path(path), rng or SystemRng()
        key = identity.signing if identity else key_file.load_or_make(target, rng=source)
        chain = Chain.open(target, key, now)
        ledger = cls(chain, key, identity.name if identity else "local", rng=source)
        try:
            ledger._begin()
        except BaseException:
            chain.close()
            raise
        return ledger

    def add(self, name: str, budget: Budget, description: Description | None = None) -> Account:
        """Open the budget of a data set; it is never raised, lowered or refilled. Raises `ParameterError`."""
        what = description or Description()
        with self._chain.writing() as (books, append):
            books.check_new(name, what.parent, what.content)
            append(
                "open",
                dataset=name,
                budget={
                    "epsilon": repr(float(budget.epsilon)),
                    "delta": repr(float(budget.delta)),
                    "order": str(budget.order),
                },
                unit=what.unit,
                contribution=str(what.contribution),
                neighbouring=NEIGHBOURING,
                parent=what.parent,
                relation=what.relation,
                content=what.content.hex(),
                about=dict(what.about),
            )
        return Account(self, name)

    def account(self, name: str | None = None) -> Account:
        """The account of a data set; without a name the only one. Raises `ParameterError`."""
        with self.reading() as books:
            if name is None:
                if len(books.datasets) != 1:
                    known = ", ".join(books.datasets)
                    raise ParameterError(
                        f"the ledger has several data sets ({known}): say which is meant"
                        if known
                        else "no budget is open on the ledger: `silo ledger open LEDGER --dataset …`"
                    )
                name = next(iter(books.datasets))
            books.dataset(name)
        return Account(self, name)

    def reading(self) -> AbstractContextManager[Books]:
        """What the records say, those of other processes too; other threads wait meanwhile."""
        return self._chain.reading()

    @property
    def books(self) -> Books:
        """What the records say now, for one thread: use `reading` where several share the ledger."""
        with self.reading() as books:
            return books

    @property
    def head(self) -> SealedHead:
        """The newest record under the owner's signature: the line that partners and auditors keep."""
        return self._chain.sealed()

    @property
    def substance(self) -> SealedHead:
        """The head at the newest record that is not itself a witness: what is shown to partners."""
        with self.reading() as books:
            return self._chain.sealed(books.substance)

    def records(self) -> Iterator[Record]:
        """All records, in their order."""
        return self._chain.records()

    def reserve(
        self, name: str, event: Event, count: int, *, purpose: str, details: Mapping[str, str], plan: str
    ) -> Reservation:
        """See `Account.reserve`."""
        identifier = self._rng.bytes(16).hex()
        fields = _fields(name, event, count, purpose, details, plan)

        def write(books: Books, append: Append) -> None:
            budget, before = books.dataset(name).budget, books.spent(name)
            append(
                "reserve",
                **fields,
                reservation=identifier,
                divergence_before=repr(before.divergence),
                filter_before=repr(budget.filter_epsilon(before)),
            )

        self._admit(event, count, fields, write)
        return Reservation(self, identifier, event, count)

    def require(
        self, name: str, event: Event, count: int, *, purpose: str, details: Mapping[str, str], plan: str
    ) -> None:
        """See `Account.require`."""
        self._admit(
            event, count, _fields(name, event, count, purpose, details, plan), lambda books, append: None
        )

    def _admit(
        self, event: Event, count: int, fields: Mapping[str, Any], write: Callable[[Books, Append], None]
    ) -> None:
        """Write if so many events fit the budget; else write the refusal, and raise it."""
        refused: PrivacyBudgetExceeded | None = None
        with self._chain.writing() as (books, append):
            if books.frozen:
                raise LedgerForked(self._chain.length, books.frozen, str(self.path))
            try:
                books.check_room(fields["dataset"], events.dumps(event), count)
            except PrivacyBudgetExceeded as problem:
                refused = problem
                append(
                    "refuse",
                    **fields,
                    over=problem.dataset,
                    spent=repr(problem.spent),
                    asked=repr(problem.asked),
                    limit=repr(problem.limit),
                )
            else:
                write(books, append)
        if refused is not None:
            raise refused

    def close_reservation(self, identifier: str, executed: int) -> None:
        """Give back what was not executed, by a signed count."""
        with self._chain.writing() as (_, append):
            append("close", reservation=identifier, executed=str(executed))

    def release(self, name: str, purpose: str, charges: Sequence[str]) -> None:
        """Write down that something leaves for these reservations, each of which pays once. Raises `NotCovered`."""
        with self._chain.writing() as (books, append):
            books.check_charges(name, charges, purpose)
            append("cover", dataset=name, purpose=purpose[:200], reservations=list(charges))

    def commit(self, name: str, artefact: bytes, purpose: str, plan: str) -> None:
        """Write down the digest of what was released."""
        check_texts({"purpose": purpose})
        with self._chain.writing() as (books, append):
            books.dataset(name)
            append("commit", dataset=name, artefact=artefact.hex(), purpose=purpose[:200], plan=plan[:64])

    def release_unprotected(self, name: str, purpose: str, details: Mapping[str, str]) -> None:
        """Write down that something was released without differential privacy: epsilon is then infinite."""
        check_texts({**details, "purpose": purpose})
        with self._chain.writing() as (books, append):
            books.dataset(name)
            append("release", dataset=name, purpose=purpose[:200], details=dict(details))

    def adjust(self, name: str, event: Event, count: int, *, reason: str, lift: bool = False) -> None:
        """Charge what was spent outside this ledger, or lost from it; `lift` ends a freeze.

        It only ever adds. Raises `ParameterError`.
        """
        if not reason.strip():
            raise ParameterError("an adjustment states its reason")
        check_texts({"reason": reason})
        with self._chain.writing() as (books, append):
            books.dataset(name)
            append(
                "adjust",
                dataset=name,
                event=events.to_json(event),
                count=str(count),
                reason=reason[:2000],
                lift="yes" if lift else "no",
            )

    def check_continues(self, seen: Head, seen_by: str) -> None:
        """Freeze unless this ledger holds a head that was seen before. Raises `LedgerForked`."""
        if self._chain.holds(seen):
            return
        with self._chain.writing() as (books, append):
            if not books.frozen:
                append(
                    "freeze",
                    reason=f"record {seen.sequence} is not as {seen_by} saw it"[:500],
                    sequence=str(seen.sequence),
                    hash=seen.hash.hex(),
                )
        raise LedgerForked(seen.sequence, seen_by, str(self.path))

    def witness(self, countersigned: list[str], seen: Mapping[str, str]) -> None:
        """Keep partners' countersignatures of this ledger, and the heads that they showed."""
        with self._chain.writing() as (_, append):
            append("witness", countersigned=countersigned, seen=dict(seen))

    def commitment(self, records: str | Path) -> bytes:
        """What stands on the ledger for a file of records, so that it gets no second budget; 32 bytes."""
        return commitment(Path(records), self._key)

    def countersign(self, owner: str, head: Head) -> bytes:
        """This owner's word that `owner` showed it this head; 64 bytes."""
        return self._key.sign(labels.LEDGER_WITNESS, head.witness_bytes(owner))

    def close(self) -> None:
        self._chain.close()

    def _begin(self) -> None:
        with self.reading():
            new = self._chain.length == 0
        if new:
            with self._chain.writing() as (_, append):
                if self._chain.length == 0:
                    append(
                        "ledger",
                        ledger=self._rng.bytes(LEDGER_ID_BYTES).hex(),
                        owner=self.owner,
                        key=self._key.public.hex(),
                    )
        with self.reading() as books:
            if books.key != self._key.public:
                raise LedgerError(
                    f"the ledger {self.path} belongs to {books.owner}, whose key is another one: "
                    "give the identity that began it"
                )
            self.owner = books.owner

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _fields(
    name: str, event: Event, count: int, purpose: str, details: Mapping[str, str], plan: str
) -> dict[str, Any]:
    check_texts({**details, "purpose": purpose, **({"plan": plan} if plan else {})})
    return {
        "dataset": name,
        "event": events.to_json(event),
        "count": str(count),
        "purpose": purpose[:200],
        "plan": plan[:64],
        "details": dict(details),
    }
