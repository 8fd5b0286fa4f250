"""The charter as a person reads it: who learns what, the caps, who signed, what ends when."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from silo import expiry
from silo.charter import intersections, verticals
from silo.charter.model import Charter
from silo.charter.sums import SUMS
from silo.charter.terms import EVERY_MEMBER


def leakage(charter: Charter) -> list[tuple[str, str]]:
    """Who learns what in each sum: the table of the protocol that the charter names."""
    kind, terms = SUMS[charter.sum.protocol], charter.sum
    rows = (kind.blinded or ()) if terms.blinded else kind.leakage
    filled = [(role.format(colluders=terms.colluders), learns) for role, learns in rows if "{" not in role]
    if terms.colluders:
        filled += [(role.format(colluders=terms.colluders), learns) for role, learns in rows if "{" in role]
    if terms.two_party:
        filled.append(("each member", "the other's input: the sum less its own"))
    return filled


def warnings(charter: Charter, now: datetime) -> list[str]:
    """Sentences about what has ended, or ends within 60, 30 or 7 days."""
    ends = [("the charter", charter.expires)]
    ends += [(f"task {task.name}", task.expires) for task in charter.tasks]
    ends += [
        (f"the certificate of {card.name}", card.expires) for card in (*charter.members, charter.relay.card)
    ]
    return [sentence for what, end in ends if (sentence := expiry.warning(what, end, now))]


def summary(charter: Charter, now: datetime) -> dict[str, Any]:
    """Everything that `show` prints, for programs."""
    terms = charter.sum
    return {
        "charter": charter.name,
        "digest": charter.digest.hex(),
        "created": charter.created.isoformat(),
        "expires": charter.expires.isoformat(),
        "relay": {
            "name": charter.relay.name,
            "url": charter.relay.url,
            "fingerprint": charter.relay.card.fingerprint,
            "allow_interception": charter.relay.allow_interception,
        },
        "members": [
            {
                "name": card.name,
                "fingerprint": card.fingerprint,
                "certificate_expires": card.expires.isoformat(),
                "signed": card.name in charter.signed_by,
                "receives_results": charter.receives(card.name),
            }
            for card in charter.members
        ],
        "unsigned": list(charter.unsigned),
        "sum": {name: getattr(terms, name) for name in terms.__slots__},
        "learns": [{"who": who, "what": what} for who, what in leakage(charter)],
        "tasks": [
            {
                "name": task.name,
                "script": task.script or None,
                "model": task.model or None,
                "rounds": task.rounds,
                "rows": task.rows,
                "bytes": task.bytes,
                "expires": task.expires.isoformat(),
            }
            for task in charter.tasks
        ],
        "intersection": _intersection(charter),
        "vertical": _vertical(charter),
        "privacy": [{name: getattr(one, name) for name in one.__slots__} for one in charter.privacy],
        "warnings": warnings(charter, now),
    }


def _intersection(charter: Charter) -> dict[str, Any] | None:
    one = charter.intersection
    if one is None:
        return None
    learns = [
        {"who": who, "what": what} for who, what in intersections.leakage(len(charter.members), one.reveal)
    ]
    return {**{name: getattr(one, name) for name in one.__slots__}, "learns": learns}


def _vertical(charter: Charter) -> dict[str, Any] | None:
    one = charter.vertical
    if one is None:
        return None
    rows = verticals.leakage(len(charter.members), one.models, one.noised)
    learns = [{"who": who, "what": what} for who, what in rows]
    return {**{name: getattr(one, name) for name in one.__slots__}, "learns": learns}


def show(charter: Charter, now: datetime) -> str:
    """One screen of plain text."""
    facts: Mapping[str, Any] = summary(charter, now)
    terms = charter.sum
    lines = [
        f"{charter.name}",
        f"  digest   {facts['digest'][:32]}…",
        f"  from     {charter.created:%Y-%m-%d} to {charter.expires:%Y-%m-%d}",
        f"  relay    {charter.relay.name} at {charter.relay.url}, {charter.relay.card.fingerprint}"
        + ("; TLS inspection is allowed" if charter.relay.allow_interception else ""),
        "",
        "Members (compare the fingerprints by telephone)",
    ]
    for member in facts["members"]:
        state = "signed" if member["signed"] else "NOT SIGNED"
        results = "gets results" if member["receives_results"] else "gets no results"
        lines.append(f"  {member['name']:<32} {member['fingerprint']}  {state:<10}  {results}")
    blind = ", blinded" if terms.blinded else ""
    if terms.key_holder:
        trust = f"key held by {terms.key_holder}: {terms.key[:23]}…"
    else:
        trust = f"{terms.colluders} may collude with the relay, graph {terms.graph}"
    lines += [
        "",
        f"Sum: {terms.protocol}{blind}, {terms.bits} bits, clip {terms.clip:g}, overflow: {terms.overflow}",
        f"  at least {terms.minimum_cohort} of {len(charter.members)} members, threshold {terms.threshold}, {trust}",
        f"  other members in the next round: {terms.changed_cohort}",
        "",
        "Who learns what",
    ]
    lines += [f"  {row['who']:<36} {row['what']}" for row in facts["learns"]]
    lines += ["", "Tasks and their caps"]
    for task in charter.tasks:
        lines.append(
            f"  {task.name:<20} {task.rounds:,} rounds, {task.rows:,} rows, {task.bytes:,} bytes, "
            f"until {task.expires:%Y-%m-%d}"
        )
        lines += [
            f"    {what} {digest}"
            for what, digest in (("script", task.script), ("model", task.model))
            if digest
        ]
    if charter.intersection:
        asked = charter.intersection
        lines += [
            "",
            f"Intersections of identifiers: {', '.join(asked.reveal)}, at most {asked.rows:,} rows a list, "
            f"{asked.queries:,} in all, none below {asked.minimum:,} in common",
        ]
        lines += [f"  {row['who']:<36} {row['what']}" for row in facts["intersection"]["learns"]]
    if charter.vertical:
        both = charter.vertical
        bringer = "any member" if both.label == EVERY_MEMBER else both.label
        lines += [
            "",
            f"Vertical models: {', '.join(both.models)}, labels of {bringer}, at most {both.rows:,} rows, "
            f"{both.passes:,} passes, {both.trees:,} trees, {both.fits:,} fits in all, "
            + ("scorings not capped" if both.scorings is None else f"{both.scorings:,} scorings in all"),
            *verticals.words(both.models, both.noised, both.classes),
            *verticals.unpaid(
                both, [card.name for card in charter.members], {one.member for one in charter.privacy}
            ),
        ]
        lines += [f"  {row['who']:<36} {row['what']}" for row in facts["vertical"]["learns"]]
    if charter.privacy:
        lines += ["", "Privacy budgets, for all that is ever released"]
    for one in charter.privacy:
        lines.append(
            f"  {one.member:<20} {one.dataset}: epsilon {one.epsilon:g}, delta {one.delta:g} per {one.unit}; "
            f"without noise: {one.without_noise}"
        )
    lines += ["", *(f"warning: {sentence}" for sentence in facts["warnings"])]
    return "\n".join(lines).rstrip() + "\n"
