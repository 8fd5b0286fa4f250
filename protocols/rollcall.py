"""Before every collective: who is here, and do all ask for the same thing.

Each member signs what it is about to do: its tag, how many collectives it has finished, its terms (what is
summed, under which parameters, in which shape), the digest of its state, and an ephemeral X25519 key for
messages between members. The aggregator passes all of it on with a round number; every member compares.
A malicious aggregator can leave a member out; it cannot change what a member asked for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Final

from silo.protocols.codec import AtMostParties, AtMostTerms, Bytes32, Count, Frames, Message, Short, Text
from silo.protocols.envelope import EVERYBODY, Bearings, Opened, open_frame
from silo.protocols.errors import InconsistentSets, OutOfStep, ProtocolViolation, UnlikeTerms

PROTOCOL: Final = "rollcall"
PRESENT_LIMIT: Final = 1 << 20
_DIGEST: Final = re.compile("[0-9a-f]{64}")
_DIGITS: Final = 12
_PLAIN: Final = re.compile(r"(?!.*\bha(?:s|ve)\b)[^'\";]{0,100}")
"""A value that cannot be taken for a clause of the sentence it stands in."""


class Term(Message, frozen=True):
    """One thing that all members must say alike."""

    name: Text
    value: Text


class Present(Message, frozen=True):
    """Member to all."""

    tag: Text
    position: Count
    terms: Annotated[tuple[Term, ...], AtMostTerms]
    state: Short
    channel: Bytes32
    ledger: Text
    """The head of this member's ledger of privacy spent, where it has one."""
    witnesses: Annotated[tuple[Text, ...], AtMostParties]
    """This member's signatures over the heads that others showed before."""


class Begin(Message, frozen=True):
    """Aggregator to all: the round's number and the signed presences of those who take part."""

    round: Count
    presents: Frames


def bearings(charter: bytes, session: bytes) -> Bearings:
    """Roll calls belong to a session and a charter; rounds are numbered by what they begin."""
    return Bearings(PROTOCOL, charter, session, 0)


def called(
    begin: Begin, here: Bearings, keys: Mapping[str, bytes], relay: str, me: str, said: Present
) -> dict[str, Present]:
    """Who was called and what each said, in the order of the names, as the relay passed it on.

    Raises `ProtocolViolation` for a name called twice or signed wrongly, and if `me` did not say what it `said`.
    """
    presents: dict[str, Present] = {}
    for frame in begin.presents:
        opened: Opened[Present] = open_frame(
            frame,
            bearings=here,
            keys=keys,
            kinds={Present.__name__: Present},
            recipients=frozenset({EVERYBODY}),
            limit=PRESENT_LIMIT,
            came_from=relay,
        )
        if opened.sender in presents:
            raise ProtocolViolation(f"{opened.sender} is called twice", culprits=(relay,), round=begin.round)
        presents[opened.sender] = opened.message
    if presents.get(me) != said:
        raise InconsistentSets(
            f"the roll call does not show what {me} said", culprits=(relay,), round=begin.round
        )
    return dict(sorted(presents.items()))


def compare(presents: Mapping[str, Present]) -> None:
    """Raise `OutOfStep` or `UnlikeTerms`, naming the member and the difference, unless all agree."""
    _same({name: one.position for name, one in presents.items()}, presents, OutOfStep, "collective number")
    _same({name: one.tag for name, one in presents.items()}, presents, OutOfStep, "step")
    names = {name: tuple(term.name for term in one.terms) for name, one in presents.items()}
    _same(names, presents, UnlikeTerms, "entries")
    for place, term in enumerate(next(iter(presents.values())).terms):
        values = {name: one.terms[place].value for name, one in presents.items()}
        _same(values, presents, UnlikeTerms, term.name)
    _same({name: one.state for name, one in presents.items()}, presents, UnlikeTerms, "model")


def _same(values: Mapping[str, object], presents: Iterable[str], error: type[UnlikeTerms], what: str) -> None:
    counted = Counter(values.values()).most_common()
    if len(counted) <= 1:
        return
    shown = {value: _show(value) for value, _ in counted}
    if len(set(shown.values())) < len(shown):
        # Unlike values are never told alike.
        shown = {value: repr(value) for value, _ in counted}
    usual, often = counted[0]
    if often == counted[1][1]:
        told = "; ".join(f"{name} has {shown[values[name]]}" for name in presents)
        raise error(f"the members disagree about {what}: {told}", tuple(values))
    odd = [name for name, value in values.items() if value != usual]
    told = "; ".join(f"{name} has {shown[values[name]]}" for name in odd)
    raise error(f"the members disagree about {what}: {told}, the others have {shown[usual]}", odd)


def _show(value: object) -> str:
    if isinstance(value, bytes):
        return f"{value.hex()[:_DIGITS]}…" if value else "nothing"
    if isinstance(value, tuple):
        return ", ".join(map(_show, value[:8])) + (" …" if len(value) > 8 else "")
    text = str(value)
    if _DIGEST.fullmatch(text):
        return f"{text[:_DIGITS]}…"
    # What a member says stands in quotes where it could be read as more than a value.
    return (text if _PLAIN.fullmatch(text) else repr(text)) or "nothing"
