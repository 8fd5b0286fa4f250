"""How members come together for a vertical model: what the charter allows, the roll call, and who brought labels."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from silo.agreement import Round
from silo.charter.terms import EVERY_MEMBER
from silo.crypto import labels
from silo.driver import Drive
from silo.errors import NotAllowed, ParameterError
from silo.protocols import rollcall
from silo.protocols.errors import TooFewParties, UnlikeTerms
from silo.protocols.rollcall import Present, Term
from silo.protocols.step import Role
from silo.protocols.vertical.context import PROTOCOL, SPLIT, Context, Parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from silo.charter import Vertical
    from silo.session import Session

R = TypeVar("R")
S = TypeVar("S")
_LABELS: Final = "labels"
_COLUMNS: Final = "columns"
_INDEPENDENT: Final = "independent columns"
_REACHED: Final = "reached"
_OWN: Final = (_LABELS, _COLUMNS, _INDEPENDENT, _REACHED)
"""Terms that each member says for itself."""
_ROWS: Final = "rows"
_ORDER: Final = "order of the rows, a digest of their ids"


class Meeting(Generic[S]):
    """A roll call that was answered: the protocol's context, how far each member had come before, what was settled."""

    __slots__ = ("context", "reached", "session", "settled")

    def __init__(self, session: Session, context: Context, reached: Mapping[str, int], settled: S) -> None:
        self.session, self.context, self.reached, self.settled = session, context, reached, settled

    def drive(self, role: Role[R]) -> R:
        """Move a role of this meeting to its end."""
        found = Drive(self.session.seat, self.context.bearings, self.context.roster.keys).run(role)
        self.session.position += 1
        return found


def meet(
    session: Session,
    model: str,
    *,
    labelled: bool,
    rows: int | None,
    columns: int,
    independent: int | None = None,
    terms: Sequence[tuple[str, object]] = (),
    left_open: Sequence[tuple[str, str]] = (),
    aligned: bytes = b"",
    coming: int = 0,
    reached: int = 0,
    scoring: bool = False,
    noised: bool = False,
    settle: Callable[[Mapping[str, str], Context], S],
) -> Meeting[S]:
    """Call the roll for a fit (or a scoring) of a vertical model, once the charter allows it.

    `terms` (name, value) are what all must say alike, beside the rows; `independent` are the own columns that do not
    follow from the others: all, if nothing is said. `aligned` is the digest of the identifiers in
    their order, where they are known; `coming` are the bytes that will leave; `reached` is how far this member's
    checkpoint goes. In a scoring `labelled` says who gets the scores. Who has no rows says None, and leaves what is ""
    in `left_open` to the others: `settle` is told what they agreed on, and the context; it refuses what cannot be,
    before the fit counts, and what it returns is kept. `noised`: what leaves is accounted for elsewhere.
    Raises `NotAllowed`, `QueriesSpent`, `UnlikeTerms`, `TooFewParties`.
    """
    allowed = require(session, model, rows=rows, labelled=labelled)
    session.check_leaving(coming)
    if session.policy and not noised:
        session.policy.release(f"vertical {model} model")
    said = (
        Term("task", session.task.name),
        Term("model", model),
        Term(_ROWS, "" if rows is None else str(rows)),
        *(Term(name, str(value)) for name, value in terms),
        *(Term(name, value) for name, value in left_open),
        Term(_ORDER, aligned.hex()),
        Term(_LABELS, "yes" if labelled else "no"),
        Term(_COLUMNS, str(columns)),
        Term(_INDEPENDENT, str(columns if independent is None else independent)),
        Term(_REACHED, str(reached)),
    )
    round_ = session.roll_call("score" if scoring else "fit", said)
    missing = [name for name in session.members if name not in round_.presents]
    if missing:
        raise TooFewParties(len(session.members), sorted(round_.presents), "a vertical model", missing)
    open_names = (_ROWS, *(name for name, _ in left_open))
    round_ = replace(round_, presents=_filled(round_.presents, open_names))
    rollcall.compare({name: _common(one) for name, one in round_.presents.items()})
    (first, one), *_ = round_.presents.items()
    context = _context(round_, model, _number(one, _ROWS, first))
    require(session, model, rows=context.parameters.rows, labelled=labelled)
    if allowed.label not in (EVERY_MEMBER, context.label):
        raise NotAllowed(f"{context.label} brought labels", f"labels of {allowed.label}", context.label)
    settled = settle({name: _value(one, name) for name in open_names}, context)
    count = session.journal.score if scoring else session.journal.fit
    most = allowed.scorings if scoring else allowed.fits
    if most is not None:
        count(session.charter.digest, round_.session, round_.number, most)
    reaches = {name: _number(one, _REACHED, name) for name, one in round_.presents.items()}
    return Meeting(session, context, reaches, settled)


def nothing_to_settle(agreed: Mapping[str, str], context: Context) -> None:
    """Settle nothing: whatever was agreed on will do."""


def require(session: Session, model: str, *, rows: int | None, labelled: bool) -> Vertical:
    """The charter's terms for vertical models. Raises `NotAllowed`."""
    terms = session.charter.vertical
    if terms is None or model not in terms.models:
        granted = ", ".join(terms.models) if terms else "no vertical models"
        raise NotAllowed(f"a vertical model of the kind {model} was asked for", granted, model)
    if rows is not None and rows > terms.rows:
        raise NotAllowed("the rows of a vertical model", terms.rows, rows)
    if labelled and terms.label not in (EVERY_MEMBER, session.me):
        raise NotAllowed(f"{session.me} brought labels", f"labels of {terms.label}", session.me)
    return terms


def _common(present: Present) -> Present:
    """The presence without what each says for itself."""
    return _with(present, tuple(term for term in present.terms if term.name not in _OWN))


def _with(present: Present, terms: tuple[Term, ...]) -> Present:
    """The presence with other terms."""
    return Present(
        present.tag,
        present.position,
        terms,
        present.state,
        present.channel,
        present.ledger,
        present.witnesses,
    )


def _filled(presents: Mapping[str, Present], names: Sequence[str]) -> dict[str, Present]:
    """What a member left open, as the others say it; what they do not agree about stays open."""
    said = {name: {value for one in presents.values() if (value := _value(one, name))} for name in names}
    order = {_value(one, _ORDER) for one in presents.values() if _value(one, _ROWS)}
    filled = {}
    for member, one in presents.items():
        known = said if _value(one, _ROWS) else {**said, _ORDER: order}
        filled[member] = _with(one, tuple(_closed(term, known.get(term.name, set())) for term in one.terms))
    return filled


def _closed(term: Term, values: set[str]) -> Term:
    """A term as the others say it, where it was left open and they do so alike."""
    return Term(term.name, next(iter(values))) if not term.value and len(values) == 1 else term


def _value(present: Present, name: str) -> str:
    return next((term.value for term in present.terms if term.name == name), "")


def _number(present: Present, name: str, member: str) -> int:
    text = _value(present, name)
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise UnlikeTerms(f"{member} says no number of {name}: all members run the same script", (member,))
    return int(text)


def _context(round_: Round, model: str, rows: int) -> Context:
    presents = round_.presents
    bringers = [name for name, one in presents.items() if _value(one, _LABELS) == "yes"]
    if len(bringers) != 1:
        who = f"{', '.join(bringers)} brought labels" if bringers else "nobody brought labels"
        raise UnlikeTerms(
            f"{who}: one member passes y, and all others pass none", tuple(bringers or presents)
        )
    (label,) = bringers
    columns = {name: _number(one, _COLUMNS, name) for name, one in presents.items()}
    none = tuple(name for name, count in columns.items() if not count)
    if none and model != SPLIT:  # a compute partner has none
        raise UnlikeTerms(f"{', '.join(none)} brings no columns: each member has one at least", none)
    common = _common(next(iter(presents.values())))
    flat: list[bytes | int | str] = [round_.charter.digest, common.tag, common.position, PROTOCOL]
    for term in common.terms:
        flat += [term.name, term.value]
    binding = hashlib.sha256(labels.bind(labels.TERMS, *flat)).digest()
    channels = {name: one.channel for name, one in presents.items()}
    unlike = {name: _number(one, _INDEPENDENT, name) for name, one in presents.items()}
    parameters = Parameters(model, label, rows, columns, binding, unlike)
    return Context(round_.session, round_.number, round_.roster.only(presents), parameters, channels)


def order(ids: Any, *, who: str, rows: int | None = None) -> bytes:
    """Digest of aligned identifiers in their order: 32 bytes that say whether all have the same rows.

    Raises `ParameterError` for other than `rows` of them, or doubles.
    """
    from silo import identifiers

    parts: list[bytes | int | str] = list(identifiers.encode(ids, who))
    if rows is not None and len(parts) != rows:
        raise ParameterError(f"{who}: {len(parts)} identifiers and {rows} rows: give one for each row")
    return hashlib.sha256(labels.bind(labels.VERTICAL_ORDER, *parts)).digest()
