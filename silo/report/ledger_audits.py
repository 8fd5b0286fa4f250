"""The audits' lower bounds, beside what was claimed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from silo.report.ledger_markup import (
    Html,
    element,
    epsilon,
    exact,
    join,
    lines,
    lower,
    note,
    paragraph,
    section,
    table,
)

Audits = Sequence[Mapping[str, Any]]
"""The JSON of `silo audit noise`, one for each file."""

_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "what": ("name", "audit", "kind", "method", "mechanism"),
    "claimed": ("claimed", "claimed_epsilon", "epsilon_claimed", "epsilon", "upper", "bound"),
    "lower": ("lower", "lower_bound", "epsilon_lower", "epsilon_lower_bound", "measured"),
    "delta": ("delta",),
    "confidence": ("confidence",),
}
_LISTS: Final = ("audits", "rows", "results", "runs")


def faults(given: Audits) -> list[str]:
    """A sentence for each audit that measured more than was claimed."""
    return [
        f"An audit ({_first(one, 'what') or 'unnamed'}) measured more loss than was claimed: the noise is not what "
        "the ledger says. Rely on no figure of this page before that is explained."
        for one in _each(given)
        if _broken(one)
    ]


def audits(given: Audits) -> Html:
    """Measured lower bounds beside the claimed upper bounds."""
    rows = [
        (
            _first(one, "what") or "audit",
            _bound(one, "lower"),
            _bound(one, "claimed"),
            _figure_of(one, "delta"),
            _figure_of(one, "confidence"),
            _verdict(one),
            lines(_rest(one)) or "–",
        )
        for one in _each(given)
    ]
    headings = (
        "audit",
        "epsilon at least",
        "epsilon claimed, at most",
        "at delta",
        "confidence",
        "found",
        "also stated",
    )
    inside = (
        table("Measured lower bound beside the claimed upper bound", headings, rows, numbers=(1, 2, 3, 4))
        if rows
        else paragraph(
            "No audit was given with this page. `silo audit noise --json` makes one, and `--audit FILE` shows it here."
        )
    )
    return section(
        "audits",
        "Audits: the claim, tried",
        paragraph(
            "An accountant computes at most how much is lost if the mechanism does what it declares. An audit runs the "
            "mechanism and measures at least how much is lost. A lower bound above the claim proves a fault; one below "
            "it proves nothing more than that this audit found none. The files are the auditor's word: the ledger does "
            "not sign them."
        ),
        *(note(one) for one in faults(given)),
        inside,
    )  # fmt: skip


def _broken(one: Mapping[str, Any]) -> bool:
    claimed, least = _number(one, "claimed"), _number(one, "lower")
    return claimed is not None and least is not None and least > claimed


def _verdict(one: Mapping[str, Any]) -> object:
    if _broken(one):
        return element("b", "above the claim", kind="bad")
    known = _number(one, "claimed") is not None and _number(one, "lower") is not None
    return "below the claim" if known else "–"


def _bound(one: Mapping[str, Any], role: str) -> str:
    found = _number(one, role)
    return lower(found) if role == "lower" and found is not None and math.isfinite(found) else epsilon(found)


def _each(given: Audits) -> Iterator[Mapping[str, Any]]:
    """Every single audit, whether a file holds one or a list of them; what stands above a list holds for each."""
    for one in given:
        inner = next((one[key] for key in _LISTS if isinstance(one.get(key), list)), None)
        if inner is None:
            yield one
            continue
        above = {key: value for key, value in one.items() if key not in _LISTS}
        yield from ({**above, **entry} for entry in inner if isinstance(entry, Mapping))


def _first(one: Mapping[str, Any], role: str) -> Any:
    return next((one[key] for key in _NAMES[role] if one.get(key) is not None), None)


def _number(one: Mapping[str, Any], role: str) -> float | None:
    for key in _NAMES[role]:
        found = one.get(key)
        if isinstance(found, int | float) and not isinstance(found, bool) and not math.isnan(found):
            return float(found)
    return None


def _figure_of(one: Mapping[str, Any], role: str) -> str:
    found = _number(one, role)
    return "–" if found is None else exact(found)


def _rest(one: Mapping[str, Any]) -> Iterator[Html]:
    """What else the audit states, as far as it is a single value."""
    known = {_used(one, role) for role in _NAMES}
    for key, value in one.items():
        if key not in known and isinstance(value, str | int | float):
            yield join((element("span", f"{key}: ".replace("_", " "), kind="soft"), value))


def _used(one: Mapping[str, Any], role: str) -> str | None:
    return next((key for key in _NAMES[role] if one.get(key) is not None), None)
