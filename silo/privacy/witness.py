"""Partners witness each other's ledgers at every roll call.

Each member shows the head of its ledger, and its signatures over the heads that it was shown before. What it is
shown must continue what it knows; what others signed it keeps. So a ledger whose file was replaced by an older
copy is noticed by every partner, and an auditor finds it with one honest witness.

The head that is shown is that of the newest record that is not itself a witness, or the ledgers would never
come to rest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from silo.errors import InvalidSignature, ParameterError
from silo.privacy.errors import LedgerRolledBack
from silo.privacy.head import Head, SealedHead, Witnessed
from silo.privacy.ledger import Ledger
from silo.protocols.errors import MalformedMessage
from silo.protocols.rollcall import Present


def show(ledger: Ledger) -> tuple[str, tuple[str, ...]]:
    """What this member says of ledgers at a roll call: its own head, and what it witnesses."""
    lines = tuple(
        str(Witnessed(peer, ledger.owner, sealed, ledger.countersign(peer, sealed.head)))
        for peer, sealed in sorted(ledger.books.seen.items())
    )
    return str(ledger.substance), lines


def take(
    ledger: Ledger,
    me: str,
    keys: Mapping[str, bytes],
    presents: Mapping[str, Present],
    *,
    owners: Collection[str],
    round: int,
) -> None:
    """Check what the others showed, and keep what is new; `owners` are those whom the charter gives a budget.

    Raises `LedgerRolledBack` naming who shows an older ledger, another, or none; `MalformedMessage`; or
    `LedgerForked` when others know more of this ledger than it does itself.
    """
    books = ledger.books
    seen: dict[str, str] = {}
    signed: list[str] = []
    for peer, present in presents.items():
        if peer == me:
            continue
        if not present.ledger and (peer in owners or peer in books.seen):
            raise LedgerRolledBack("shows no ledger, and has a budget", culprits=(peer,), round=round)
        if present.ledger:
            sealed = _head(present.ledger, peer, keys[peer], round)
            if _is_new(books.seen.get(peer), sealed.head, peer, round):
                seen[peer] = str(sealed)
        for line in present.witnesses:
            own = _witnessed(line, peer, round)
            if own.owner != me:
                continue
            _check(own, keys, round)
            known = books.witnessed.get(peer)
            if known is None or own.head.sequence > known.head.sequence:
                ledger.check_continues(own.head, peer)
                signed.append(line)
    if seen or signed:
        ledger.witness(signed, seen)


def _is_new(known: SealedHead | None, head: Head, peer: str, round: int) -> bool:
    if known is None:
        return True
    before = known.head
    if head.ledger != before.ledger:
        raise LedgerRolledBack(
            f"shows another ledger ({head.ledger.hex()[:8]}) than before ({before.ledger.hex()[:8]})",
            culprits=(peer,),
            round=round,
        )
    if head.sequence < before.sequence or (head.sequence == before.sequence and head.hash != before.hash):
        raise LedgerRolledBack(
            f"showed record {before.sequence} of its ledger before, and shows "
            f"{'another' if head.sequence == before.sequence else 'record'} {head.sequence} now: "
            f"it was rolled back",
            culprits=(peer,),
            round=round,
        )
    return head.sequence > before.sequence


def _head(line: str, peer: str, key: bytes, round: int) -> SealedHead:
    try:
        sealed = SealedHead.parse(line)
        sealed.check(key)
    except (ParameterError, InvalidSignature):
        raise MalformedMessage(
            "shows a head of its ledger that is none", culprits=(peer,), round=round
        ) from None
    return sealed


def _witnessed(line: str, peer: str, round: int) -> Witnessed:
    try:
        found = Witnessed.parse(line)
        if found.witness != peer:
            raise ParameterError("another's word")
    except ParameterError:
        raise MalformedMessage(
            "witnesses a ledger with a line that is none", culprits=(peer,), round=round
        ) from None
    return found


def _check(line: Witnessed, keys: Mapping[str, bytes], round: int) -> None:
    try:
        line.check(keys[line.owner], keys[line.witness])
    except InvalidSignature:
        raise MalformedMessage(
            f"witnesses a head that {line.owner} did not sign, or did not sign itself",
            culprits=(line.witness,),
            round=round,
        ) from None
