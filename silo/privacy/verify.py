"""The auditor's check, offline: from the records alone, with nothing but the owner's and the partners' cards.

It replays the chain under the same rules as the writer, checks every signature, holds the ledger against what
partners witnessed, and recomputes each data set's epsilon with three accountants.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from silo.errors import InvalidSignature, ParameterError
from silo.privacy import export, record
from silo.privacy.accountants.base import Accountant
from silo.privacy.books import Books
from silo.privacy.errors import LedgerCorrupt, LedgerForked
from silo.privacy.head import Head, SealedHead, Witnessed
from silo.privacy.record import Record

Line = Witnessed | SealedHead


@dataclass(frozen=True, slots=True)
class Recomputed:
    """Epsilon of one data set at its delta, from the events alone; None where an accountant cannot say."""

    dataset: str
    delta: float
    limit: float
    filter: float
    pld: float | None
    rdp: float | None
    prv: float | None
    unprotected: int
    """Releases without differential privacy: with one of them the true epsilon is infinite."""


@dataclass(frozen=True)
class Verified:
    """A ledger without a fault, as far as its records and the given heads tell."""

    books: Books
    sealed: SealedHead
    """The newest record, under its owner's signature."""
    records: int
    owner_checked: bool = False
    """Whether the owner's key was held against its card, or is the ledger's own word."""
    witnesses: tuple[Line, ...] = ()
    """The lines from outside that this ledger was held against."""
    bodies: tuple[tuple[int, dict[str, Any]], ...] = field(default=(), repr=False)

    @property
    def witnessed(self) -> int:
        """The highest record that somebody else vouches for; 0 when nobody does."""
        given = [line.head.sequence for line in self.witnesses]
        return max(given, default=0)


def verify(
    path: str | Path,
    *,
    key: bytes | None = None,
    witnesses: Sequence[str] = (),
    cards: Mapping[str, bytes] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Verified:
    """Check a ledger or its export. Raises `LedgerCorrupt` with the first bad record, or `LedgerForked`.

    `key` is the owner's, from its card; without it the key that the ledger itself names counts, and a ledger
    written anew by somebody else is not noticed. `witnesses` are lines of heads that were kept elsewhere,
    `cards` the partners' keys by name.
    """
    lines = [_parse(line) for line in witnesses]
    books, place, previous, signature = Books(), 0, b"", b""
    hashes: dict[int, bytes] = {}
    bodies: list[tuple[int, dict[str, Any]]] = []
    for one in export.read(Path(path)):
        fields = _check(one, books, place, previous, key, str(path))
        place, previous, signature = one.sequence, one.hash, one.signature
        bodies.append((place, fields))
        hashes[place] = one.hash
        if progress:
            progress(place)
    if place == 0:
        raise LedgerCorrupt(1, "is missing", str(path))
    for line in lines:
        _check_line(line, books, cards or {})
    for known in books.witnessed.values():
        if cards and known.witness in cards:
            _check_line(known, books, cards)
    for line in (*lines, *books.witnessed.values()):
        if line.head.ledger != books.ledger or hashes.get(line.head.sequence) != line.head.hash:
            who = line.witness if isinstance(line, Witnessed) else "the kept line"
            raise LedgerForked(line.head.sequence, who, str(path))
    sealed = SealedHead(Head(books.ledger, place, previous), signature)
    return Verified(books, sealed, place, key is not None, tuple(lines), tuple(bodies))


def recompute(books: Books, *, names: Iterable[str] | None = None) -> list[Recomputed]:
    """Epsilon of each data set by all accountants; that of Opacus where it is installed.

    Raises `ParameterError` where dp-accounting is not.
    """
    from silo.privacy.accountants import Unaccountable
    from silo.privacy.accountants.pld import PLD
    from silo.privacy.accountants.rdp import RDP

    accountants: list[Accountant] = [PLD(), RDP()]
    if importlib.util.find_spec("opacus") is not None:
        from silo.privacy.accountants.prv import PRV

        accountants.append(PRV())
    found = []
    for name in names or list(books.datasets):
        budget, worlds = books.dataset(name).budget, books.worlds(name)
        each: list[float | None] = []
        for accountant in accountants:
            try:
                each.append(max(accountant.epsilon(world, budget.delta) for world in worlds))
            except Unaccountable:
                each.append(None)
        found.append(
            Recomputed(
                name,
                budget.delta,
                budget.epsilon,
                budget.filter_epsilon(books.spent(name)),
                each[0],
                each[1],
                each[2] if len(each) > 2 else None,
                len(books.unprotected(name)),
            )
        )
    return found


def _check(
    one: Record, books: Books, place: int, previous: bytes, key: bytes | None, path: str
) -> dict[str, Any]:
    if one.sequence != place + 1:
        raise LedgerCorrupt(place + 1, "is missing", path)
    fields = one.fields()
    try:
        ledger = books.ledger or bytes.fromhex(fields["ledger"])
    except (KeyError, TypeError, ValueError):
        raise LedgerCorrupt(1, "is not the beginning of a ledger", path) from None
    one.check(ledger, previous or record.genesis(ledger))
    books.apply(one.sequence, fields)
    if key is not None and books.key != key:
        raise LedgerCorrupt(1, f"names another key for {books.owner} than the card", path)
    one.check_signature(books.key, ledger)
    return fields


def _check_line(line: Line, books: Books, cards: Mapping[str, bytes]) -> None:
    who = books.owner
    try:
        if isinstance(line, SealedHead):
            line.check(books.key)
            return
        who = line.witness
        if who not in cards:
            raise ParameterError(f"a line is witnessed by {who}: give {who}'s card too, to check it")
        if line.owner != books.owner:
            raise ParameterError(f"a line witnesses the ledger of {line.owner}, and this is {books.owner}'s")
        line.check(books.key, cards[who])
    except InvalidSignature:
        raise ParameterError(f"a line is not signed by {who}: ask {who} for it again") from None


def _parse(line: str) -> Line:
    if line.strip().startswith("silo-ledger-witness:"):
        return Witnessed.parse(line)
    return SealedHead.parse(line)
