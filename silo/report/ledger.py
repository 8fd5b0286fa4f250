"""The privacy ledger as one HTML page for an auditor: offline, without a script, for a screen, a phone or paper.

Its order is that of the questions of NIST SP 800-226 ("Guidelines for Evaluating Differential Privacy
Guarantees"): the unit of privacy first; epsilon, delta and the original parameters; what else was released of
the same records; the mechanisms; then trust, implementation and the way to check. Every text of a ledger is
another's word: it is escaped, and the page's own policy forbids scripts and whatever lies elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from silo.errors import ParameterError
from silo.privacy.verify import Recomputed, Verified
from silo.report import ledger_assumptions, ledger_audits, ledger_releases, ledger_spend, ledger_trust, plots
from silo.report.ledger_audits import Audits
from silo.report.ledger_history import History, history
from silo.report.ledger_markup import Html, day, element, epsilon, exact, join, note, paragraph, text
from silo.report.ledger_style import CSS

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_MOST_CARDS: Final = 8


def write(
    verified: Verified,
    recomputed: Sequence[Recomputed],
    path: Path,
    *,
    png: Path | None = None,
    audits: Audits = (),
    title: str | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Write the page to `path`, and the plots into the folder `png` if one is given.

    `recomputed` is what `silo.privacy.verify.recompute` found, `audits` the JSON of `silo audit noise`. Raises
    `ParameterError` for a file that cannot be written, and without matplotlib where PNGs are wanted.
    """
    found = history(verified)
    if png is not None:
        plots.png(list(found.courses.values()), png)
    whole = page(verified, recomputed, found, audits=audits, title=title, now=now())
    try:
        path.write_text(whole, encoding="utf-8")
    except OSError as problem:
        raise ParameterError(f"{path} cannot be written: {problem.strerror}; name another file") from None


def page(
    verified: Verified,
    recomputed: Sequence[Recomputed],
    found: History,
    *,
    audits: Audits = (),
    title: str | None = None,
    now: datetime,
) -> str:
    """The whole page."""
    named = title or f"The privacy ledger of {verified.books.owner}"
    by_name = {one.dataset: one for one in recomputed}
    body = join(
        (
            _head(verified, named, by_name, now, audits),
            element(
                "main",
                ledger_spend.protected(verified),
                ledger_spend.budgets(verified, by_name, found),
                ledger_releases.unprotected(found),
                ledger_releases.releases(found),
                ledger_releases.refusals(found),
                ledger_spend.changes(found),
                ledger_spend.lineage(verified, found),
                ledger_trust.accountants(verified, recomputed),
                ledger_audits.audits(audits),
                ledger_assumptions.assumptions(found),
                ledger_trust.witnesses(verified),
                ledger_trust.checking(verified),
            ),
        )
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{text(_POLICY)}">'
        f"<title>{text(named)}</title><style>{CSS}</style></head>\n<body>{body}</body></html>\n"
    )


def _head(
    verified: Verified,
    named: str,
    found: Mapping[str, Recomputed],
    now: datetime,
    audits: Audits,
) -> Html:
    books = verified.books
    until = f", {day(books.time)} UTC" if books.time else ""
    state = paragraph(
        f"State after record {verified.records:,}{until}. Page made {day(now)} UTC. Every record was checked: the "
        "chain, the owner's signatures, and the rules by which each was admitted.",
        kind="soft",
    )
    cards = join(_card(verified, name, found.get(name)) for name in list(books.datasets)[:_MOST_CARDS])
    return element(
        "header",
        element("h1", named),
        state,
        element("div", cards, kind="cards"),
        _warnings(verified, audits),
    )


def _card(verified: Verified, name: str, found: Recomputed | None) -> Html:
    books = verified.books
    one = books.dataset(name)
    shown = epsilon(found.pld if found else None)
    counted = epsilon(one.budget.filter_epsilon(books.spent(name)))
    beneath = [
        f"{name}: epsilon (PLD) at delta {exact(one.budget.delta)}, per {one.description.unit}.",
        f"The filter counts {counted} of the budget {exact(one.budget.epsilon)}.",
    ]
    if books.unprotected(name):
        beneath.insert(1, f"With differential privacy alone: {shown}.")
        figure = element("b", "infinite", kind="bad")
    else:
        figure = element("b", shown)
    return element("div", figure, element("span", " ".join(beneath)), kind="card")


def _warnings(verified: Verified, audits: Audits) -> Html:
    """What must not be missed, before anything else."""
    books, found = verified.books, ledger_audits.faults(audits)
    if books.frozen:
        found.append(f"The ledger is frozen, and admits nothing: {books.frozen}.")
    bare = [name for name in books.datasets if books.unprotected(name)]
    if bare:
        found.append(
            f"Released without differential privacy, so that epsilon in all is infinite: {', '.join(bare)}."
        )
    after, _ = ledger_trust.uncovered(verified)
    if after:
        found.append(
            f"{after:,} of {verified.records:,} records are covered by no witness's line. {ledger_trust.ROLLBACK}"
        )
    return note(*found) if found else Html("")
