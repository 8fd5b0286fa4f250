"""A verified ledger in words and figures: the screen, and the JSON that programs read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from silo.privacy.dataset import NEIGHBOURING
from silo.privacy.verify import Recomputed, Verified

ROLLBACK = (
    "a rollback of the whole file to an older copy cannot be seen without a witness: "
    "ask the partners for their lines and give them with --witness"
)


def of(verified: Verified) -> dict[str, Any]:
    """Each data set's budget and spend, and each release."""
    books = verified.books
    return {
        "ledger": books.ledger.hex(),
        "owner": books.owner,
        "records": verified.records,
        "frozen": books.frozen or None,
        "datasets": [_dataset(verified, name) for name in books.datasets],
        "releases": releases(verified),
        "head": str(verified.sealed),
    }


def releases(verified: Verified) -> list[dict[str, Any]]:
    """Everything that was charged, grouped by plan; in the order of the records."""
    grouped: dict[tuple[str, str, str], dict[str, Any]] = {}
    bodies = dict(verified.bodies)
    for identifier, one in verified.books.reservations.items():
        fields = bodies[one.sequence]
        row = grouped.setdefault(
            (one.dataset, one.plan or identifier, one.event),
            {
                "dataset": one.dataset,
                "purpose": one.purpose,
                "plan": one.plan,
                "first_record": one.sequence,
                "from": fields["time"],
                "event": fields["event"],
                "details": fields["details"],
                "reserved": 0,
                "charged": 0,
                "open": 0,
            },
        )
        row["reserved"] += one.count
        row["charged"] += one.charged
        row["open"] += one.executed is None
        row["last_record"], row["to"] = one.sequence, fields["time"]
    return list(grouped.values())


def verification(verified: Verified, found: Sequence[Recomputed]) -> dict[str, Any]:
    """What `silo ledger verify --json` prints."""
    return {
        "valid": True,
        "owner": verified.books.owner,
        "owner_checked": verified.owner_checked,
        "records": verified.records,
        "frozen": verified.books.frozen or None,
        "witnessed_record": verified.witnessed,
        "datasets": [
            {
                "dataset": one.dataset,
                "delta": one.delta,
                "budget": one.limit,
                "epsilon": None if one.unprotected else _number(one.pld),
                "epsilon_of_protected_releases": _number(one.pld),
                "filter": _number(one.filter),
                "rdp": _number(one.rdp),
                "prv": _number(one.prv),
                "unprotected_releases": one.unprotected,
            }
            for one in found
        ],
        "caveats": caveats(verified),
        "head": str(verified.sealed),
    }


def caveats(verified: Verified) -> list[str]:
    """What this check does not say."""
    found = []
    if verified.books.frozen:
        found.append(f"the ledger is frozen: {verified.books.frozen}")
    if not verified.owner_checked:
        found.append(
            "the owner's key is the ledger's own word: give --card to hold it against the owner's card"
        )
    if verified.witnessed == 0:
        found.append(ROLLBACK)
    elif verified.witnessed < verified.records:
        found.append(
            f"witnessed up to record {verified.witnessed} of {verified.records}: a cut or a rewrite after it "
            "cannot be seen"
        )
    return found


def screen(facts: dict[str, Any]) -> str:
    """The screen of `silo ledger show`."""
    lines = [f"The ledger of {facts['owner']}: {facts['records']} records"]
    if facts["frozen"]:
        lines.append(f"FROZEN: {facts['frozen']}")
    for one in facts["datasets"]:
        spent = "infinite (released without noise)" if one["unprotected"] else _text(one["filter_epsilon"])
        lines += [
            "",
            f"{one['dataset']}: budget epsilon {one['epsilon']:g} at delta {one['delta']:g} per {one['unit']}; "
            f"{_share(one['used'])}, the filter stands at epsilon {spent}",
        ]
        if one["parent"]:
            lines.append(f"  {one['relation']} of {one['parent']}")
        for row in (row for row in facts["releases"] if row["dataset"] == one["dataset"]):
            still = f", {row['open']} open" if row["open"] else ""
            lines.append(f"  {row['from'][:16]}  {row['purpose']}: {row['charged']:,} charged{still}")
        lines += [
            f"  record {number}: released without differential privacy" for number in one["unprotected"]
        ]
        if one["refusals"]:
            lines.append(f"  {len(one['refusals'])} refused")
    if facts["datasets"]:
        lines += [
            "",
            "Shares of a budget add up; epsilons do not: the first event of all costs most of its own.",
        ]
    else:
        lines.append("no budget is open: `silo ledger open`")
    return "\n".join(lines) + "\n"


def _dataset(verified: Verified, name: str) -> dict[str, Any]:
    books = verified.books
    one = books.datasets[name]
    spent = books.spent(name)
    return {
        "dataset": name,
        "unit": one.description.unit,
        "contribution": one.description.contribution,
        "neighbouring": NEIGHBOURING,
        "parent": one.description.parent,
        "relation": one.description.relation,
        "epsilon": one.budget.epsilon,
        "delta": one.budget.delta,
        "order": one.budget.order,
        "filter_epsilon": _number(one.budget.filter_epsilon(spent)),
        "used": _number(one.budget.used(spent)),
        "unprotected": books.unprotected(name),
        "refusals": list(one.refusals),
    }


def _number(value: float | None) -> float | None:
    """Infinity is no JSON; None says that there is no finite value."""
    return None if value is None or math.isinf(value) else value


def _text(value: float | None) -> str:
    return "infinite" if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "all and more" if value is None else f"{value:.0%} used"
