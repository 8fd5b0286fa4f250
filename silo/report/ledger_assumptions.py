"""What must hold for the figures to mean what they say: the questions of NIST SP 800-226, answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from silo.report.ledger_history import History
from silo.report.ledger_markup import Html, facts, join, section

_STATED: Final = {"Observer": "observer", "Generator": "generator"}
"""Answers to which releases add their own, and under which name they state it."""

_ANSWERS: Final = (
    (
        "Trust model",
        "Each organisation keeps its own records and is trusted with them: noise is added inside it, before anything "
        "leaves. Where the noise is drawn in a secure sum (Skellam), each member adds a part, and only the parts of "
        "the members that count as honest are in the event.",
    ),
    (
        "Observer",
        "The observer sees everything that was released, at every step, and knows all parameters on this page. Where "
        "noise is added in a sum, it is whoever sees the sum; an organisation's own noise hides nothing from itself.",
    ),
    (
        "What the ledger attests",
        "That the event was declared, and durably charged, before noise was drawn. That the code then drew this noise, "
        "and that nothing else left, is for audits and for the outbox.",
    ),
    (
        "Parameters",
        "Sampling rate, steps, clip, normaliser and noise are taken to be constants that were declared, not computed "
        "from the records. One that was derived from a private number of records tells of it, and no figure here "
        "counts that.",
    ),
    (
        "Sampling",
        "Poisson where a release says so: independent for each unit and each use, at no more than the declared rate, "
        "and secret. Without sampling every unit is counted in every use.",
    ),
    (
        "Generator",
        "Silo draws noise and samples from AES-128 in counter mode, with a fresh seed of the operating system for each "
        "use: the bounds hold against whoever cannot tell that from chance. A generator that a caller passed instead "
        "is not on the ledger.",
    ),
    (
        "Floating point",
        "What is released under Silo's Gaussian noise is rounded first to a grid of about 2⁻³⁰ standard deviations, "
        "and the noise lies on the same grid, so that low bits tell nothing; a pair of draws has no tail beyond 9.49 "
        "standard deviations, which has probability 2⁻⁶⁵. Skellam noise is whole numbers, exact to 2⁻¹⁰⁰ a draw. "
        "Other mechanisms that charged this ledger answer for themselves.",
    ),
    (
        "Timing",
        "Not covered. How long a step takes, how much memory it needs and when it fails can depend on the records; "
        "somebody who measures that learns more than epsilon says.",
    ),
    (
        "Query model",
        "Interactive: plans may be chosen one after the other, by what came before, until the filter refuses. Each use "
        "of noise needs a single-use token of a reservation that is already on the disk; a crash leaves it spent.",
    ),
    ("Refusals", "Depend on declared parameters and on the ledger only, and are written down."),
    ("Time", "Times are the owner's clock. The chain keeps them in order; it does not make them true."),
)


def assumptions(history: History) -> Html:
    """What must hold, and what the releases state of it themselves."""
    return section(
        "assumptions",
        "What the figures assume",
        facts((ask, join((answer, _stated(history, ask)))) for ask, answer in _ANSWERS),
    )


def _stated(history: History, ask: str) -> str:
    key = _STATED.get(ask)
    found = {
        str(details[key])
        for one in history.releases
        for details in one.details
        if isinstance(details, Mapping) and key in details
    }
    return f" Stated by the releases: {'; '.join(sorted(found))}." if found else ""
