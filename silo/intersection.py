"""Which rows do we have in common? The private set intersection as a collective of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from silo import identifiers
from silo.agreement import Round
from silo.driver import Drive
from silo.errors import NotAllowed, ParameterError
from silo.extras import need
from silo.protocols import rollcall
from silo.protocols.errors import TooFewParties
from silo.protocols.psi import pair, ring
from silo.protocols.psi.context import PROTOCOL, ROWS, SIZE, Context, Parameters
from silo.protocols.rollcall import Term

if TYPE_CHECKING:
    from silo.session import Session

_TAG: Final = "intersect"
_BYTES: Final = 64
"""Bytes of an entry on its way through one member, with room for envelopes."""


def intersect(session: Session, ids: Any, *, reveal: str = ROWS, column: str = "the identifiers") -> Any:
    """What all members have in common: the rows (`reveal="rows"`) or how many (`"size"`).

    Returns an int64 array of places in `ids`, in an order that all members share, or an int; None for a member that the
    charter gives no results. Raises `ParameterError` for identifiers that cannot be compared, `NotAllowed` and
    `QueriesSpent` for what the charter does not grant, `TooFewInCommon`, `TooFewParties`, `ProtocolViolation`.
    """
    if reveal not in (ROWS, SIZE):
        raise ParameterError(
            f"reveal is {ROWS!r} or {SIZE!r}, not {reveal!r}: sums have a method, intersect_sum"
        )
    items = require(session, ids, reveal, column)
    members, rows = len(session.members), len(items)
    most = session.charter.intersection.rows if session.charter.intersection else 0
    session.check_leaving((rows + members * most * (members > 2)) * _BYTES * members)
    if session.policy:
        session.policy.release("intersection")
    context = begin(session, reveal)
    role = (pair if members == 2 else ring).member(
        context, session.me, items, session.channel_key, rng=session.rng, threads=session.threads
    )
    match = Drive(session.seat, context.bearings, context.roster.keys).run(role)
    session.position += 1
    if match is None:
        return None
    return match.size if match.places is None else match.places


def require(session: Session, ids: Any, reveal: str, column: str) -> list[bytes]:
    """The identifiers as they are compared, once the charter allows this. Raises `ParameterError`, `NotAllowed`."""
    need("an intersection", "vertical", "rbcl", "nacl")
    terms = session.charter.intersection
    if terms is None or reveal not in terms.reveal:
        granted = ", ".join(terms.reveal) if terms else "no intersections"
        raise NotAllowed(f"an intersection that reveals {reveal} was asked for", granted, reveal)
    items = identifiers.encode(ids, f"{session.me}: {column}")
    if len(items) > terms.rows:
        raise NotAllowed(f"{column} have {len(items)} rows", f"{terms.rows} in an intersection", len(items))
    return items


def begin(session: Session, reveal: str, *, terms: tuple[Term, ...] = ()) -> Context:
    """Call the roll for an intersection, compare `terms`, and count it as a query."""
    said = (Term("task", session.task.name), Term("reveal", reveal), *terms)
    round_ = session.roll_call(_TAG, said)
    rollcall.compare(round_.presents)
    context = _context(round_, reveal)
    queries = session.charter.intersection.queries if session.charter.intersection else 0
    session.journal.ask(session.charter.digest, round_.session, round_.number, queries)
    return context


def _context(round_: Round, reveal: str) -> Context:
    """Where the intersection stands; it takes every member. Raises `TooFewParties`."""
    charter = round_.charter
    terms = charter.intersection
    if terms is None:
        raise NotAllowed("an intersection was asked for", "no intersections", PROTOCOL)
    missing = [name for name in charter.names if name not in round_.presents]
    if missing:
        raise TooFewParties(len(charter.names), sorted(round_.presents), "an intersection", missing)
    receivers = tuple(name for name in charter.names if charter.receives(name))
    parameters = Parameters(reveal, receivers, terms.rows, terms.minimum, round_.binding())
    channels = {name: one.channel for name, one in round_.presents.items()}
    return Context(round_.session, round_.number, round_.roster, parameters, channels)
