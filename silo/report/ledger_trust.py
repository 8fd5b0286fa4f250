"""Why the figures may be believed, and how far: accountants, witnesses, and the way to check."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import Final

from silo.errors import UsageError
from silo.privacy.head import Witnessed
from silo.privacy.verify import Recomputed, Verified
from silo.report.ledger_markup import (
    Html,
    count,
    element,
    epsilon,
    exact,
    facts,
    join,
    note,
    paragraph,
    section,
    table,
    text,
)

ROLLBACK: Final = "A rollback of the whole file to an older copy cannot be seen without a witness."
_AGREE: Final = 0.03
"""PRV's own error is .01 either way and PLD rounds its losses up: beyond this, and 2 %, somebody should ask why."""

_DISTRIBUTIONS: Final = ("silo-privacy", "numpy", "cryptography", "dp-accounting", "opacus", "torch")


def accountants(verified: Verified, found: Sequence[Recomputed]) -> Html:
    """Three accountants side by side."""
    rows = []
    apart = []
    for one in found:
        budget = verified.books.dataset(one.dataset).budget
        rows.append(
            (one.dataset, exact(one.delta), epsilon(one.pld), epsilon(one.filter), budget.order, epsilon(one.rdp),
             epsilon(one.prv))
        )  # fmt: skip
        if one.pld is not None and one.prv is not None and math.isfinite(one.pld):
            gap = abs(one.pld - one.prv)
            if gap > max(_AGREE, 0.02 * one.pld):
                apart.append(
                    f"PLD and PRV differ by {gap:.3f} on {one.dataset}: ask why before relying on either."
                )
    if not rows:
        return Html("")
    headings = (
        "data set",
        "delta",
        "PLD, reported",
        "filter, gates",
        "its order",
        "RDP, best order",
        "PRV, cross-check",
    )
    return section(
        "accountants",
        "Three accountants, side by side",
        paragraph(
            "Recomputed from the events alone, for the releases with differential privacy, each row at its own delta. "
            "n/a: this accountant has no sound bound for one of the events, and says so rather than guess."
        ),
        table("Epsilon by each accountant", headings, rows, numbers=(1, 2, 3, 4, 5, 6)),
        *(note(one) for one in apart),
        paragraph(
            "The filter (Rényi, one order that was fixed when the budget was opened) holds even where each event was "
            "chosen after seeing the results of those before. The composition of PLD and of PRV is proven for events "
            "whose parameters do not depend on earlier results: within a plan that is so; where later plans were "
            "chosen by earlier results, rely on the filter's figure."
        ),
    )  # fmt: skip


def witnesses(verified: Verified) -> Html:
    """Who vouches for which record, and what nobody does."""
    given = [
        (
            line.witness if isinstance(line, Witnessed) else f"a line kept of {verified.books.owner}",
            line.head.sequence,
            "given to this check: signatures hold, and the record is as it was seen",
        )
        for line in verified.witnesses
    ]
    own = [
        (
            name,
            one.head.sequence,
            "a copy in the ledger itself: it would go with the file; ask for the partner's own",
        )
        for name, one in sorted(verified.books.witnessed.items())
    ]
    seen = [(name, one.head.sequence) for name, one in sorted(verified.books.seen.items())]
    rows = [*sorted(given, key=lambda row: (-row[1], row[0])), *own]
    return section(
        "witnesses",
        "Witnesses: against a ledger that was cut or written anew",
        note(*_covered(verified)),
        table("Who has seen which record", ("witness", "up to record", "how it is known"), rows, numbers=(1,))
        if rows
        else paragraph("No partner's line is known."),
        table("In turn, the partners whose ledgers this owner watches", ("partner", "up to record"), seen, numbers=(1,))
        if seen
        else "",
    )  # fmt: skip


def checking(verified: Verified) -> Html:
    """The head to keep, the versions, and how to compute everything anew."""
    return section(
        "check",
        "How to check this page",
        paragraph("Keep this line elsewhere. A later check that is given it finds any change to what is on this page:"),
        element("pre", text(verified.sealed)),
        paragraph(
            "Recompute everything offline; FILE is the ledger or an export of it. The card is the owner's public key, "
            "as it gave it to you: without it, a ledger that somebody else wrote anew is not noticed. Lines of "
            "witnesses come from the partners themselves, each with a --witness of its own:"
        ),
        element("pre", text(f"silo ledger verify FILE --card OWNER.card.toml --witness '{verified.sealed}'")),
        facts(
            (
                ("Ledger", element("code", verified.books.ledger.hex())),
                ("Owner", verified.books.owner),
                ("Owner's key (Ed25519)", element("code", verified.books.key.hex())),
                ("Records", f"{verified.records:,}, each hashed with the one before it, and signed"),
            )
        ),
        element("h3", "Software that computed this page"),
        table("Versions", ("software", "version"), list(_versions())),
        paragraph("The versions that ran are what the releases state of themselves, if they do.", kind="soft"),
    )  # fmt: skip


def uncovered(verified: Verified) -> tuple[int, int]:
    """Records after the highest witnessed one, and how many of them are more than somebody's countersignature."""
    after = [fields for sequence, fields in verified.bodies if sequence > verified.witnessed]
    return len(after), sum(fields["kind"] != "witness" for fields in after)


def _covered(verified: Verified) -> list[Html]:
    after, substance = uncovered(verified)
    plain = element("b", ROLLBACK)
    if verified.witnessed == 0:
        return [
            join((plain, " No line of a witness was given to this check, so none of the "
                  f"{verified.records:,} records is covered.")),
            text("Ask the partners for the lines that they keep, and give them with --witness and --witness-card."),
        ]  # fmt: skip
    found = [
        text(f"Records 1 to {verified.witnessed:,} are as they were when they were witnessed."),
    ]
    if after:
        found.append(
            text(
                f"Records {verified.witnessed + 1:,} to {verified.records:,} are newer than the highest witnessed one "
                f"and are not covered: {count(substance)} of them say more than that a partner countersigned. A cut or "
                "a rewrite after the witnessed record cannot be seen."
            )
        )  # fmt: skip
    else:
        found.append(text("No record is newer than that."))
    found.append(join((plain, " What is said here is as good as the newest line that was given.")))
    return found


def _versions() -> Iterator[tuple[str, str]]:
    yield "Python", platform.python_version()
    for name in _DISTRIBUTIONS:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            yield name, "not installed"
    yield from _accountants()


def _accountants() -> Iterator[tuple[str, str]]:
    from silo.privacy.accountants.rdp import RDP

    yield "RDP accountant, and the filter", RDP.version
    try:
        from silo.privacy.accountants.pld import PLD
        from silo.privacy.accountants.prv import PRV
    except UsageError:
        return
    yield "PLD accountant", PLD.version
    yield "PRV accountant", PRV.version
