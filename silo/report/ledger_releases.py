"""What was released of each data set, and what was refused: a row for every plan, with its parameters and cost."""

from __future__ import annotations

from silo.errors import ParameterError
from silo.privacy import events
from silo.privacy.events import Event
from silo.report.ledger_history import Course, History, Line, Release
from silo.report.ledger_markup import (
    Html,
    count,
    day,
    element,
    epsilon,
    exact,
    figure,
    join,
    lines,
    note,
    pairs,
    paragraph,
    said,
    section,
    table,
    time,
)


def releases(history: History) -> Html:
    """Each release under differential privacy, with its parameters and its cost."""
    parts = [
        join((element("h3", name), _releases(name, course, history)))
        for name, course in history.courses.items()
    ]
    return section(
        "releases",
        "Releases with differential privacy",
        paragraph(
            "One row is one event of one plan. “Alone” is what the release would have cost by itself, at the delta of "
            "the data set; the two columns after it are cumulative, after its last record. The figures of “alone” do "
            "not add up: composition costs less than the sum."
        ),
        *(parts or [paragraph("There is none.")]),
    )


def _releases(name: str, course: Course, history: History) -> Html:
    every = [one for one in history.releases if one.dataset == name]
    if not every:
        return paragraph("Nothing was released of it with differential privacy.")
    costs = [
        (
            one.number,
            lines((*one.purposes, *([f"plan {one.plan}"] if one.plan else []))),
            _when(one),
            mechanism(one.event),
            count(one.reserved),
            lines((count(one.executed), *([f"{count(one.open)} open: spent"] if one.open else []))),
            epsilon(one.alone),
            epsilon(one.filter_after),
            epsilon(one.pld_after) if one.pld_after is not None else "–",
        )
        for one in every
    ]  # fmt: skip
    headings = (
        "no.", "purpose", "when (UTC)", "mechanism", "reserved (T)", "executed",
        f"epsilon alone, {course.alone_by}", "filter after", "PLD after",
    )  # fmt: skip
    delta = exact(course.budget.delta)
    declared = [
        (
            one.number,
            lines(line for details in one.details for line in pairs(details)) or "none stated",
            sampling(one.event),
            lines(element("code", digest) for digest in one.artefacts) or "none written down",
        )
        for one in every
    ]
    return join(
        (
            table(f"Releases of {name}: mechanism and cost, at delta {delta}", headings, costs,
                  numbers=(0, 4, 5, 6, 7, 8), kind="wide"),
            table(f"Releases of {name}: what was declared, and what was released",
                  ("no.", "declared before the noise was drawn", "sampling assumption", "SHA-256 of what was released"),
                  declared, numbers=(0,)),
        )
    )  # fmt: skip


def _when(one: Release) -> Html:
    if one.first.sequence == one.last.sequence:
        return lines((f"record {one.first.sequence}", day(one.first.time)))
    return lines(
        (f"records {one.first.sequence} to {one.last.sequence}", day(one.first.time), day(one.last.time))
    )


def unprotected(history: History) -> Html:
    """What left without noise."""
    found = history.of("release")
    if not found:
        inside = paragraph("None is in the ledger.")
    else:
        rows = [
            (
                line.sequence,
                time(line.time),
                said(line.fields, "dataset"),
                said(line.fields, "purpose"),
                lines(pairs(line.fields.get("details"))) or "–",
                element("b", "infinite", kind="bad"),
            )
            for line in found
        ]
        headings = ("record", "time (UTC)", "data set", "what", "details", "epsilon")
        inside = join(
            (
                note(
                    join((element("b", "Epsilon of these data sets, and of their relatives, is infinite. "),
                          "What is said of the other releases holds for those alone, and does not bound what somebody "
                          "learns who sees these too.")),
                ),
                table("Releases without differential privacy", headings, rows, numbers=(0, 5)),
            )
        )  # fmt: skip
    return section("unprotected", "Releases without differential privacy", inside)


def refusals(history: History) -> Html:
    """What the filter did not admit."""
    rows = [
        (
            line.sequence,
            time(line.time),
            lines((said(line.fields, "dataset"), said(line.fields, "purpose"))),
            asked(line),
            said(line.fields, "over"),
            epsilon(figure(line.fields, "spent")),
            epsilon(figure(line.fields, "asked")),
            said(line.fields, "limit").removesuffix(".0"),
        )
        for line in history.of("refuse")
    ]
    headings = (
        "record", "time (UTC)", "asked for", "mechanism", "budget of", "spent before", "would have been", "limit",
    )  # fmt: skip
    return section(
        "refusals",
        "Refusals",
        paragraph(
            "What did not fit into a budget. Nothing was computed and no noise was drawn. A refusal depends on "
            "declared figures alone, never on a record, so it tells nothing of one."
        ),
        table("Refused reservations", headings, rows, numbers=(0, 5, 6, 7))
        if rows
        else paragraph("None is in the ledger."),
    )


def mechanism(event: Event) -> str:
    """The mechanism with its original parameters."""
    match event:
        case events.Gaussian(sigma):
            return f"Gaussian noise, sigma = {exact(sigma)} × L2 sensitivity"
        case events.Laplace(scale):
            return f"Laplace noise, scale = {exact(scale)} × L1 sensitivity"
        case events.RandomizedResponse(keep, values):
            return f"randomised response among {values:,} values, truth kept with {exact(keep)}"
        case events.Skellam(variance, l2, l1):
            return (
                f"Skellam noise on integers, variance = {exact(variance)}, L2 = {exact(l2)}, L1 = {exact(l1)} "
                "(in steps of the grid)"
            )
        case events.EpsilonDelta(loss, delta):
            return f"a mechanism proven ({exact(loss)}, {exact(delta)})-DP"
        case events.NoPrivacy():
            return "no privacy"
        case events.PoissonSampled(q, inner):
            return f"{mechanism(inner)}; Poisson sample, q = {exact(q)}"
        case events.Repeated(inner, times):
            return f"{times:,} times ({mechanism(inner)})"
        case events.Composed(parts):
            return "together: " + "; and ".join(f"({mechanism(one)})" for one in parts)


def sampling(event: Event) -> str:
    """What must be true of the sampling for the figures to hold."""
    match event:
        case events.PoissonSampled(q, _):
            return (
                f"Poisson: each unit takes part in each use by itself, with probability {exact(q)} at most; which "
                "units did is not released"
            )
        case events.Repeated(inner, _):
            return sampling(inner)
        case events.Composed(parts):
            return "; ".join(dict.fromkeys(sampling(one) for one in parts))
    return "none: every unit takes part"


def asked(line: Line) -> str:
    """The event and count of a record that never was charged, so that nobody has checked it."""
    times = said(line.fields, "count")
    try:
        what = mechanism(events.from_json(line.fields.get("event")))
    except ParameterError:
        what = "an event that cannot be read"
    return what if times in ("1", "–") else f"{times} times: {what}"
