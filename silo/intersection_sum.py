"""How much do our common customers spend? Sums over an intersection of two members, as a collective of a session."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from silo import intersection
from silo.driver import Drive
from silo.errors import ParameterError, UsageError
from silo.extras import need
from silo.privacy.generator import described
from silo.privacy.skellam import Plan, Skellam, steps
from silo.protocols.psi import sums
from silo.protocols.psi.context import SUM
from silo.protocols.psi.sums import LIMIT, MOST_COLUMNS, Summand
from silo.protocols.rollcall import Term

if TYPE_CHECKING:
    from silo.session import Session

TAG: Final = "noised sum over an intersection"
_FINEST: Final = 2.0**51
"""Steps of the largest value: what floats hold exactly, with room."""
_NOISED_LIMIT: Final = 2**42
"""With noise the steps are coarser: its sampler draws up to 2^40."""
_ENTRY: Final = 1024
"""Bytes of a row on its way: a point and a ciphertext, with room for envelopes."""


@dataclass(frozen=True, slots=True)
class IntersectionSum:
    """`count` rows in common and `sums`, (columns,), float64; `noise` is the standard deviation in each of them."""

    count: float
    sums: npt.NDArray[np.float64]
    noise: float


@dataclass(frozen=True, slots=True)
class _Grid:
    """How a row becomes whole steps: `scale` of them per 1, and `one` for the row itself."""

    scale: float
    one: int
    clip: float
    plan: Plan | None

    def describe(self) -> str:
        """What both members compare."""
        return (
            self.plan.describe() if self.plan else f"exact, values up to {self.clip!r}, {self.scale!r} steps"
        )

    def rows(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """A row of steps for each row of values, behind the `one`."""
        if self.plan:
            found = steps(values, self.scale, self.one)
        else:
            found = np.rint(values * self.scale).astype(np.int64)
        return np.hstack([np.full((len(values), 1), self.one, np.int64), found])

    def restore(self, total: npt.NDArray[np.int64]) -> IntersectionSum:
        std = self.plan.std(1) if self.plan else 0.0
        return IntersectionSum(int(total[0]) / self.one, total[1:] / self.scale, std)


def intersect_sum(
    session: Session,
    ids: Any,
    values: Any = None,
    *,
    columns: int = 1,
    clip: float | None = None,
    noise: Skellam | None = None,
    column: str = "the identifiers",
) -> IntersectionSum | None:
    """See `Session.intersect_sum`. None for a member that the charter gives no results.

    Raises `ParameterError`, `NotAllowed`, `QueriesSpent`, `PrivacyBudgetExceeded`, `UsageError`, `UnlikeTerms`,
    `TooFewInCommon`, `TooFewParties`, `ProtocolViolation`.
    """
    need("a sum over an intersection", "he", "gmpy2")
    items = intersection.require(session, ids, SUM, column)
    if len(session.members) != 2:
        raise ParameterError(f"a sum over an intersection is between 2 members, not {len(session.members)}")
    grid = _grid(session, columns, clip, noise)
    table = None if values is None else _table(session, values, len(items), columns, grid)
    (other,) = (name for name in session.members if name != session.me)
    holder = other if table is None else session.me
    what = Summand(columns + 1, grid.one)
    terms = (
        Term("who has the values", holder),
        Term("columns of values", str(columns)),
        Term("steps", grid.describe()),
    )
    session.check_leaving(len(items) * _ENTRY)
    with _noise(session, grid if holder != session.me else None, columns) as drawn:
        context = intersection.begin(session, SUM, terms=terms)
        given = (context, session.me, items, session.channel_key, what)
        role = (
            sums.matcher(*given, drawn(), rng=session.rng, threads=session.threads)
            if table is None
            else sums.holder(*given, grid.rows(table), rng=session.rng, threads=session.threads)
        )
        total = Drive(session.seat, context.bearings, context.roster.keys).run(role)
    session.position += 1
    return None if total is None else grid.restore(total)


def _grid(session: Session, columns: int, clip: float | None, noise: Skellam | None) -> _Grid:
    terms = session.charter.intersection
    rows = terms.rows if terms else 1
    if not 1 <= columns < MOST_COLUMNS:
        raise ParameterError(f"a sum has 1 to {MOST_COLUMNS - 1} columns of values, not {columns}")
    if noise is not None:
        if clip is not None:
            raise ParameterError("the noise has a clip of its own: give clip or noise, not both")
        # The row itself counts like a column as large as the clip, so that the number is hidden as well as the sums.
        whole = replace(noise, clip=math.sqrt(2) * noise.clip)
        plan = whole.plan(length=columns + 1, rows=rows, honest=1, limit=_NOISED_LIMIT)
        return _Grid(plan.scale, math.floor(plan.event.l2 / math.sqrt(2)), noise.clip, plan)
    largest = session.charter.sum.clip if clip is None else float(clip)
    if not (math.isfinite(largest) and largest > 0):
        raise ParameterError(f"clip is the largest absolute value, a number above 0, not {clip}")
    room = min(LIMIT / (rows + 1), _FINEST) / largest
    return _Grid(2.0 ** math.floor(math.log2(room)), 1, largest, None)


def _table(session: Session, values: Any, rows: int, columns: int, grid: _Grid) -> npt.NDArray[np.float64]:
    """The values as (rows, columns). Raises a `ParameterError` that names the row and the column, from 0."""
    found = np.asarray(values)
    if found.dtype.kind not in "iubf":
        raise ParameterError(f"{session.me}: values to be summed are numbers, not of type {found.dtype}")
    found = np.asarray(found, np.float64)
    found = found[:, None] if found.ndim == 1 else found
    if found.shape != (rows, columns):
        raise ParameterError(
            f"{session.me}: {rows} identifiers and {columns} columns need values of shape ({rows}, {columns}), "
            f"not {found.shape}"
        )
    wrong = ~np.isfinite(found)
    if grid.plan is None:
        wrong |= np.abs(found) > grid.clip
    if wrong.any():
        row, place = np.argwhere(wrong)[0]
        raise ParameterError(
            f"{session.me}: row {row}, column {place} holds {found[row, place]}, and values up to {grid.clip:g} can "
            "be summed: agree on a larger clip, or mend it"
        )
    return found


@contextmanager
def _noise(session: Session, grid: _Grid | None, columns: int) -> Iterator[Any]:
    """What draws the noise of this member, which its ledger has paid for; zeros where none is due."""
    if grid is None or grid.plan is None:
        if session.policy:
            session.policy.release("sum over an intersection")
        yield lambda: np.zeros(columns + 1, np.int64)
        return
    if session.policy is None:
        raise UsageError(
            f"noise is charged to a ledger, and the charter has no privacy policy for {session.me}: "
            "agree on one (`silo charter new --privacy`)"
        )
    plan, policy = grid.plan, session.policy
    details = {
        "mechanism": "Skellam, added to a Paillier ciphertext",
        "observer": "the member with the values",
        "clip (L2, per row, with the row's own count)": repr(plan.clip),
        "steps per 1": repr(plan.scale),
        "generator": described(session.rng),
    }
    with policy.account.reserve(plan.event, purpose=TAG, details=details) as reservation:

        def drawn() -> npt.NDArray[np.int64]:
            noise = plan.noise(reservation.token(), rng=session.rng)
            policy.release(TAG, (reservation.identifier,))
            return noise

        yield drawn
