"""Whose privacy, how much of it there is, and how much is spent; adjustments, freezes and lineage."""

from __future__ import annotations

import math
from collections.abc import Mapping

from silo.privacy.dataset import NEIGHBOURING
from silo.privacy.verify import Recomputed, Verified
from silo.report import plots
from silo.report.ledger_history import Course, History
from silo.report.ledger_markup import (
    Html,
    count,
    element,
    epsilon,
    exact,
    join,
    lines,
    pairs,
    paragraph,
    said,
    section,
    table,
    time,
)
from silo.report.ledger_releases import asked

_RELATIONS = {
    "derived": "derived: it shares its parent's units, and what is spent of one counts for the other",
    "part": "a disjoint part: of its siblings only the largest spend counts for the parent",
}


def protected(verified: Verified) -> Html:
    """Whose privacy: the unit first, then what a neighbour is and how much one unit gives."""
    rows = [
        (
            one.name,
            one.description.unit,
            f"{NEIGHBOURING}, or what a release states",
            count(one.description.contribution),
            lines(pairs(one.description.about)) or "–",
        )
        for one in verified.books.datasets.values()
    ]
    return section(
        "unit",
        "Whose privacy is counted",
        paragraph(
            "Every epsilon on this page bounds what the releases can tell of one unit of one data set: how far the "
            "results may differ between the records with this unit and the same records without it. A release that "
            "states other neighbours, as split learning does (one label changed, one row replaced), is about these."
        ),
        table(
            "Unit of privacy, neighbouring relation and contribution bound",
            ("data set", "unit of privacy", "neighbours differ by", "records of one unit, at most", "stated besides"),
            rows,
            numbers=(3,),
        ) if rows else paragraph("No budget has been opened."),
        paragraph(
            "The bound on a unit's records is declared by the owner. A person who is in several data sets that the "
            "ledger does not know as related, or in another organisation's, loses the sum of what is spent there; "
            "this ledger cannot see it.",
            kind="soft",
        ),
    )  # fmt: skip


def budgets(verified: Verified, found: Mapping[str, Recomputed], history: History) -> Html:
    """Budget and spend of each data set, and its course over time."""
    if not verified.books.datasets:
        return Html("")
    rows = []
    for name, one in verified.books.datasets.items():
        spent = verified.books.spent(name)
        counted, here = one.budget.filter_epsilon(spent), found.get(name)
        used = one.budget.used(spent)
        bare = len(verified.books.unprotected(name))
        pld = epsilon(here.pld if here else None)
        rows.append(
            (
                name,
                exact(one.budget.epsilon),
                exact(one.budget.delta),
                one.description.unit,
                epsilon(counted),
                "all and more" if math.isinf(used) else f"{math.ceil(used * 1000) / 10:.1f} %",
                pld,
                bare or "none",
                element("b", "infinite", kind="bad") if bare else pld,
            )
        )
    headings = (
        "data set", "budget epsilon", "delta", "per", "spent, filter", "divergence used", "spent, PLD",
        "releases without DP", "epsilon in all",
    )  # fmt: skip
    drawn = join(_figure(course) for course in history.courses.values())
    return section(
        "budget",
        "Budget and spend",
        table("Budget and spend of each data set", headings, rows, numbers=(1, 2, 4, 5, 6, 7, 8)),
        paragraph(
            "An epsilon means something only beside its delta and its unit: figures of rows with another delta or "
            "another unit are not to be compared, and no two rows are to be added. A delta should be well below one in "
            "the number of units, which the ledger does not know. Computed figures are rounded up. What is reserved "
            "counts as spent until the run gives it back; what never closed stays spent. A row includes what relatives "
            "of the data set spent of the same units (see Lineage)."
        ),
        paragraph(
            "The filter decides: nothing is admitted beyond the budget by its count. PLD reports: it is tighter, and "
            "of the same events. Both are of the differentially private releases; ",
            element("b", "one release without differential privacy makes epsilon in all infinite."),
        ),
        paragraph(
            "Below, the spend of each data set over time. ",
            "PLD was asked at the dots, where runs end; a line joins them."
            if history.accounted
            else "PLD is not drawn: this page was made without Silo's extra audit.",
            " The cumulative figures after each release are in the tables of releases.",
        ),
        drawn,
    )


def _figure(course: Course) -> Html:
    caption = f"Epsilon at delta {exact(course.budget.delta)}, per {course.unit}; time in UTC."
    return join(
        (
            element("h3", course.name),
            element(
                "figure",
                plots.legend(course),
                plots.spend(course),
                element("figcaption", caption),
            ),
        )
    )


def changes(history: History) -> Html:
    """Adjustments and freezes, by hand or by what a partner showed."""
    adjusted = [
        (
            line.sequence,
            time(line.time),
            said(line.fields, "dataset"),
            asked(line) if said(line.fields, "count") != "0" else "nothing",
            said(line.fields, "reason"),
            "yes" if line.fields.get("lift") == "yes" else "no",
        )
        for line in history.of("adjust")
    ]
    frozen = [(line.sequence, time(line.time), said(line.fields, "reason")) for line in history.of("freeze")]
    headings = ("record", "time (UTC)", "data set", "charged", "reason", "ends a freeze")
    return section(
        "changes",
        "Adjustments and freezes",
        paragraph(
            "An adjustment charges what was spent outside the ledger, or lost from it; it never takes back. A ledger "
            "freezes when somebody has seen a record that it does not hold: it was rolled back, or it has a twin."
        ),
        table("Adjustments", headings, adjusted, numbers=(0,)) if adjusted else paragraph("No adjustment."),
        table("Freezes", ("record", "time (UTC)", "reason"), frozen, numbers=(0,))
        if frozen
        else paragraph("The ledger was never frozen."),
    )


def lineage(verified: Verified, history: History) -> Html:
    """How the data sets descend from each other."""
    opened = {line.fields["dataset"]: line for line in history.of("open")}
    rows = [
        (
            name,
            lines((f"record {one.sequence}", time(opened[name].time))),
            one.description.parent or "–",
            _RELATIONS.get(one.description.relation, "of its own"),
            element("code", one.description.content.hex()) if one.description.content else "not stated",
        )
        for name, one in verified.books.datasets.items()
    ]
    if not rows:
        return Html("")
    return section(
        "lineage",
        "Lineage of the data sets",
        table(
            "Where each data set comes from",
            ("data set", "budget opened (UTC)", "parent", "relation", "commitment to the records"),
            rows,
        ),
        paragraph(
            "A budget is opened once and never raised, refilled or closed. That parts are disjoint, and that unrelated "
            "data sets share no unit, is the owner's word.",
            kind="soft",
        ),
    )
