"""Private set intersection of three members and more: lists go round until all have raised and shuffled them.

A list that everybody has raised to a secret exponent of this round, and shuffled, can be compared and says no more. One
member compares. For `rows` the common points then go round once more, back to each receiver, while everybody else takes
its exponent off: the receiver finds its own points again.

Adversary: semi-honest members that do not collude, and a malicious relay, which learns the lengths of lists only. What
each learns: the lengths of all lists that pass it; the member that compares (the first receiver by name) learns for
every group of members how many items their lists have in common, and not which; with `rows` every member learns the
size of the result, and each receiver which of its own rows are in it. A member can enter items that it does not have:
the charter bounds how many.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from silo.crypto.keys import AgreementKey
from silo.crypto.ristretto import POINT_BYTES, Exponent
from silo.crypto.rng import Rng
from silo.protocols.errors import InconsistentSets
from silo.protocols.psi import lists
from silo.protocols.psi.context import ROWS, SIZE, Context
from silo.protocols.psi.errors import TooFewInCommon
from silo.protocols.psi.lists import TOKEN_BYTES, Table
from silo.protocols.psi.pair import Match
from silo.protocols.step import Role
from silo.protocols.transit import Intake, Lot, carry

_COUNT_BYTES = 8


class _Ring:
    """Who stands where: lists travel to the next name, and come from the one before."""

    def __init__(self, names: Sequence[str], me: str) -> None:
        self.names, self.place = tuple(names), tuple(names).index(me)

    def at(self, steps: int) -> str:
        return self.names[(self.place + steps) % len(self.names)]


def member(
    context: Context, me: str, items: Sequence[bytes], own: AgreementKey, *, rng: Rng, threads: int = 1
) -> Role[Match | None]:
    """One of several members: yields steps, returns its match, or None if it gets no results.

    Items are different byte strings. Raises `ProtocolViolation`, `ProtocolAborted`, and at the member that compares
    `TooFewInCommon`.
    """
    context.require(ROWS, SIZE)
    ring, many, terms = _Ring(context.roster.names, me), len(context.roster), context.parameters
    exponent, order = Exponent.random(rng=rng), lists.order(len(items), rng=rng)
    masked = lists.points(
        exponent.raise_items(context.prefix, [items[place] for place in order], threads=threads)
    )

    def raised(piece: bytes) -> bytes:
        return exponent.raise_points(piece, threads=threads)

    here, sizes = masked, {}
    for hop in range(1, many):
        coming = Intake(POINT_BYTES, terms.most, raised)
        yield from carry(
            context, me, own, hop, send={ring.at(1): _lot(here)}, take={ring.at(-1): coming}, rng=rng
        )
        here = lists.points(coming.joined())
        lists.require_different(here, ring.at(-1), context.round)
        here = here[lists.order(len(here), rng=rng)]
        sizes[ring.at(-hop)] = len(here)
    common = yield from _compare(context, me, here, own, many, rng)
    if terms.reveal == ROWS:
        back = yield from _undo(context, me, common, exponent.inverse(), own, ring, rng, threads)
        if not context.receives(me):
            return None
        return Match(len(common), order[_find(masked, back, context, ring.at(-1))], sizes)
    return Match(len(common), None, sizes) if context.receives(me) else None


def _lot(table: Table) -> Lot:
    return Lot(len(table), lambda at, upto: table[at:upto].tobytes())


def _compare(context: Context, me: str, here: Table, own: AgreementKey, stage: int, rng: Rng) -> Role[Table]:
    """The points that are in all lists; for `size` an empty table of that length."""
    chief, terms = min(context.parameters.receivers), context.parameters
    others = [name for name in context.roster if name != me]
    told = [name for name in others if terms.reveal == ROWS or context.receives(name)]
    if me != chief:
        cut = lists.tokens(here)
        yield from carry(context, me, own, stage, send={chief: _lot(cut)}, take={}, rng=rng)
        if terms.reveal == ROWS:
            points = Intake(POINT_BYTES, terms.most)
            yield from carry(context, me, own, stage + 1, send={}, take={chief: points}, rng=rng)
            return lists.points(points.joined())
        count = Intake(_COUNT_BYTES, 1, least=1)
        if context.receives(me):
            yield from carry(context, me, own, stage + 1, send={}, take={chief: count}, rng=rng)
            return np.empty(_count(count.joined(), terms.most), here.dtype)
        return here[:0]
    coming = {name: Intake(TOKEN_BYTES, terms.most) for name in others}
    yield from carry(context, me, own, stage, send={}, take=coming, rng=rng)
    tables = []
    for name, one in coming.items():
        tables.append(lists.read_tokens(one.joined()))
        lists.require_different(tables[-1], name, context.round)
    common = here[lists.matched(lists.tokens(here), tables)]
    if len(common) < terms.minimum:
        raise TooFewInCommon(terms.minimum, len(here))
    if terms.reveal == ROWS:
        yield from carry(
            context, me, own, stage + 1, send={name: _lot(common) for name in told}, take={}, rng=rng
        )
        return common
    said = len(common).to_bytes(_COUNT_BYTES, "little")
    count_lot = Lot(1, lambda at, upto: said)
    yield from carry(context, me, own, stage + 1, send=dict.fromkeys(told, count_lot), take={}, rng=rng)
    return common


def _count(raw: bytes, most: int) -> int:
    return min(int.from_bytes(raw, "little"), most)


def _undo(
    context: Context,
    me: str,
    common: Table,
    inverse: Exponent,
    own: AgreementKey,
    ring: _Ring,
    rng: Rng,
    threads: int,
) -> Role[Table]:
    """Send the common points round for each receiver, without this member's exponent; return those that came for us."""
    many = len(ring.names)

    def undone(piece: bytes) -> bytes:
        return inverse.raise_points(piece, threads=threads)

    first = Lot(len(common), lambda at, upto: undone(common[at:upto].tobytes()))
    here = common
    for hop in range(1, many):
        # What leaves now ends at whoever stands `hop` places before us, what comes at `hop + 1` before.
        leaving, coming = context.receives(ring.at(-hop)), context.receives(ring.at(-hop - 1))
        last = hop == many - 1
        send = {ring.at(1): _lot(here) if hop > 1 else first} if leaving else {}
        intake = Intake(POINT_BYTES, len(common), bytes if last else undone, least=len(common))
        take = {ring.at(-1): intake} if coming else {}
        yield from carry(context, me, own, 2 * many + hop, send=send, take=take, rng=rng)
        here = lists.points(intake.joined()) if coming else common[:0]
    return here


def _find(
    masked: Table, back: Table, context: Context, before: str
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Places of the returned points in the own list, in the order in which they came back."""
    places = {bytes(point): place for place, point in enumerate(masked)}
    try:
        return np.array([places[bytes(point)] for point in back], np.int64)
    except KeyError:
        raise InconsistentSets(
            "common points came back that are not of the own list: a member did not follow the protocol",
            culprits=(before, *(name for name in context.roster if name != before)),
            round=context.round,
        ) from None
