"""`session.sum(records, noise=...)`: the ledger is charged, every member adds noise, and the sum is released."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from silo.crypto.errors import ParameterError
from silo.crypto.ring import Exact, Ring
from silo.crypto.rng import Rng
from silo.errors import NotAllowed, UsageError
from silo.privacy.generator import described
from silo.privacy.skellam import Plan, Skellam
from silo.protocols.rollcall import Term

if TYPE_CHECKING:
    from silo.session import Session

TAG = "noised sum"


def sum_records(session: Session, records: Any, noise: Skellam) -> Any:
    """Sum records (records, ...) of all members with noise; returns float64 of a record's shape.

    Raises `PrivacyBudgetExceeded` before anything is drawn, `ParameterError`, `NotAllowed`, `UsageError`.
    """
    if session.policy is None:
        raise UsageError(
            f"a noised sum is charged to a ledger, and the charter has no privacy policy for {session.me}: "
            "agree on one (`silo charter new --privacy`)"
        )
    table = np.asarray(records)
    if table.ndim < 1 or table.dtype.kind not in "iubf":
        raise ParameterError("a noised sum takes an array whose first axis is records")
    if len(table) > session.task.rows:
        raise NotAllowed("more records than the task's rows", session.task.rows, len(table))
    shape = table.shape[1:]
    flat = np.ascontiguousarray(table, np.float64).reshape(
        len(table), -1 if len(table) else int(np.prod(shape))
    )
    if not np.isfinite(flat).all():
        row, column = np.argwhere(~np.isfinite(flat))[0]
        raise ParameterError(f"record {row} holds {flat[row, column]} at {column}: fill it or leave it out")
    plan = plan_for(session, noise, flat.shape[1])
    account = session.policy.account
    with account.reserve(plan.event, purpose=TAG, details=_details(plan, shape, session.rng)) as reservation:
        words = plan.noised(flat, reservation.token(), rng=session.rng)
        total = session.collect(
            words.reshape(shape),
            tag=TAG,
            terms=(Term("noise", plan.describe()),),
            charges=(reservation.identifier,),
        )
    return np.asarray(total, np.float64) / plan.scale


def plan_for(session: Session, noise: Skellam, length: int) -> Plan:
    """The plan of a noised sum of records of `length` numbers in this session."""
    terms, members = session.charter.sum, len(session.charter.names)
    # The observer is at best a member: its own noise hides nothing from it.
    honest = terms.minimum_cohort - max(terms.colluders, 1)
    limit = Exact(Ring.of(terms.bits), members).limit
    return noise.plan(length=length, rows=session.task.rows, honest=honest, limit=limit)


def _details(plan: Plan, shape: tuple[int, ...], rng: Rng) -> dict[str, str]:
    return {
        "mechanism": "Skellam in the ring of the secure sum",
        "observer": "whoever sees the sum: members, and the relay unless it is blinded",
        "clip (L2, per unit)": repr(plan.clip),
        "steps per 1": repr(plan.scale),
        "members whose noise counts": str(plan.honest),
        "shape": str(list(shape)),
        "generator": described(rng),
    }
