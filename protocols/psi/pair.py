"""Private set intersection of two members (Meadows 1986, Huberman, Franklin and Hogg 1999), on ristretto255.

Each hashes its items to the group and raises them to a secret exponent of this round; each raises the other's list too.
Raised by both, equal items are equal and all others look random (decisional Diffie-Hellman, hash as random oracle).

Adversary: semi-honest members, and a malicious relay, which learns the lengths of the lists only. What each learns: the
number of rows of the other; a receiver also which of its own rows are common (`rows`), or only how many (`size`: its
list comes back shuffled). A malicious member can enter items that it does not have, and learns whether they are in the
other list: what it may ask is bounded by the charter, not by cryptography. It can also answer falsely and spoil the
result. Deviations: what is sent back is cut to 16 bytes an entry, and is the u coordinate of the point on Curve25519
(`Exponent.raise_last`), which equal items share as they share the point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import refuse_pickle
from silo.crypto.keys import AgreementKey
from silo.crypto.ristretto import POINT_BYTES, Exponent
from silo.crypto.rng import Rng
from silo.protocols.psi import lists
from silo.protocols.psi.context import ROWS, SIZE, Context
from silo.protocols.psi.errors import TooFewInCommon
from silo.protocols.psi.lists import TOKEN_BYTES
from silo.protocols.step import Role
from silo.protocols.transit import Intake, Lot, carry


@dataclass(frozen=True, slots=True, repr=False)
class Match:
    """What an intersection gave: `size`, and the places in the own list (None where only the size is revealed).

    Everybody's places are in one common order. `sizes` are the lengths of the others' lists, where they were seen.
    """

    size: int
    places: npt.NDArray[np.int64] | None
    sizes: dict[str, int]

    def __repr__(self) -> str:
        return "Match(<places withheld>)"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


def member(
    context: Context, me: str, items: Sequence[bytes], own: AgreementKey, *, rng: Rng, threads: int = 1
) -> Role[Match | None]:
    """One of two members: yields steps, returns its match, or None if it gets no results.

    Items are different byte strings. Raises `ProtocolViolation`, `ProtocolAborted`, `TooFewInCommon`.
    """
    context.require(ROWS, SIZE)
    (peer,) = (name for name in context.roster if name != me)
    terms, prefix = context.parameters, context.prefix
    exponent, order = Exponent.random(rng=rng), lists.order(len(items), rng=rng)

    def masked(at: int, upto: int) -> bytes:
        return exponent.raise_items(prefix, [items[place] for place in order[at:upto]], threads=threads)

    def doubled(piece: bytes) -> bytes:
        return exponent.raise_last(piece, threads=threads)

    coming = Intake(POINT_BYTES, terms.most, doubled)
    yield from carry(context, me, own, 0, send={peer: Lot(len(items), masked)}, take={peer: coming}, rng=rng)
    theirs = lists.tokens(lists.points(coming.joined()))
    lists.require_different(theirs, peer, context.round)
    back, mine = {}, {}
    if context.receives(peer):
        said = theirs[lists.order(len(theirs), rng=rng)] if terms.reveal == SIZE else theirs
        back[peer] = Lot(len(said), lambda at, upto: said[at:upto].tobytes())
    if context.receives(me):
        mine[peer] = Intake(TOKEN_BYTES, len(items), least=len(items))
    yield from carry(context, me, own, 1, send=back, take=mine, rng=rng)
    if not context.receives(me):
        return None
    returned = lists.read_tokens(mine[peer].joined())
    lists.require_different(returned, peer, context.round)
    found = lists.matched(returned, [theirs])
    if len(found) < terms.minimum:
        raise TooFewInCommon(terms.minimum, len(items))
    places = None if terms.reveal == SIZE else order[found]
    return Match(len(found), places, {peer: len(theirs)})
