"""Sums of one member's columns over the rows that two members have in common (Private Join and Compute).

Source: Ion et al., "On Deploying Secure Computing: Private Intersection-Sum-with-Cardinality", EuroS&P 2020. The holder
of the columns sends its identifiers, raised to its exponent and shuffled, each beside its encrypted row (Paillier, a
fresh key of its own). The other member, the matcher, adds up the rows that both have, and sends back one ciphertext.

Adversary: semi-honest members, and a malicious relay, which learns lengths only. The matcher learns how many rows are
in common, exactly, and no value. The holder learns the sums and the number, with the matcher's noise if that was
agreed, and whether they were too few. Who gets no results learns neither: the plaintext is blinded, or not told. A
holder that lies about its values can use the 64 bits of each column to tell rows apart; a matcher that lies about its
rows chooses whose values are summed. The number that is compared with the least one is the noised one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto import powers
from silo.crypto.errors import DecryptionFailed, ParameterError
from silo.crypto.keys import AgreementKey
from silo.crypto.paillier import proof, vector
from silo.crypto.paillier.keys import PrivateKey, PublicKey, generate
from silo.crypto.ristretto import POINT_BYTES, Exponent
from silo.crypto.rng import Rng
from silo.protocols.errors import MalformedMessage
from silo.protocols.psi import lists
from silo.protocols.psi.context import SUM, Context
from silo.protocols.psi.errors import TooFewInCommon
from silo.protocols.psi.lists import TOKEN_BYTES
from silo.protocols.step import Role
from silo.protocols.transit import Intake, Lot, carry

KEY_BITS: Final = 3072
SLOT_BITS: Final = 64
MOST_COLUMNS: Final = 32
"""The number of rows is one of them."""
LIMIT: Final = 2 ** (SLOT_BITS - 2)
"""No sum is larger, noise included: what is planned stays below."""
_KEY_BYTES: Final = 2 + 3 * KEY_BITS // 8
_PROOF_BYTES: Final = proof.ROOTS * KEY_BITS // 8

Words = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Summand:
    """What both agreed to sum: `columns` numbers a row, the first of them `one`, which counts the rows."""

    columns: int
    one: int

    def __post_init__(self) -> None:
        if not 2 <= self.columns <= MOST_COLUMNS or not 0 < self.one < LIMIT:
            raise ParameterError(
                f"a sum has 1 to {MOST_COLUMNS - 1} columns of values, not {self.columns - 1}"
            )


def matcher(
    context: Context,
    me: str,
    items: Sequence[bytes],
    own: AgreementKey,
    what: Summand,
    noise: Words,
    *,
    rng: Rng,
    threads: int = 1,
) -> Role[Words | None]:
    """The member without values: yields steps, returns the sums in steps, or None if it gets no results.

    `noise` is added to the sums (zeros: none). Raises `ProtocolViolation`, `ProtocolAborted`, `TooFewInCommon`.
    """
    context.require(SUM)
    (peer,) = (name for name in context.roster if name != me)
    terms, prefix = context.parameters, context.prefix
    exponent, order = Exponent.random(rng=rng), lists.order(len(items), rng=rng)

    def masked(at: int, upto: int) -> bytes:
        return exponent.raise_items(prefix, [items[place] for place in order[at:upto]], threads=threads)

    sent = Intake(_KEY_BYTES + _PROOF_BYTES, 1, least=1)
    yield from carry(context, me, own, 0, send={peer: Lot(len(items), masked)}, take={peer: sent}, rng=rng)
    public = _public(sent.joined(), peer, context.round)
    back = Intake(TOKEN_BYTES, len(items), least=len(items))
    yield from carry(context, me, own, 1, send={}, take={peer: back}, rng=rng)
    mine = lists.read_tokens(back.joined())
    lists.require_different(mine, peer, context.round)
    total = _Total(mine, exponent, public, threads)
    rows = Intake(POINT_BYTES + public.ciphertext_bytes, terms.most, total.take)
    yield from carry(context, me, own, 2, send={}, take={peer: rows}, rng=rng)
    lists.require_different(lists.read_tokens(rows.joined()), peer, context.round)
    shown = total.count * what.one + int(noise[0])
    if shown < terms.minimum * what.one:
        yield from carry(context, me, own, 3, send={peer: _only(b"")}, take={}, rng=rng)
        raise TooFewInCommon(terms.minimum, len(items))
    blind = _blind(public, what, context.receives(peer), rng)
    answer = total.encrypted(_packed(noise) + blind, rng=rng)
    yield from carry(context, me, own, 3, send={peer: _only(answer)}, take={}, rng=rng)
    if not context.receives(me):
        return None
    opened = Intake(public.size, 1, least=1)
    yield from carry(context, me, own, 4, send={}, take={peer: opened}, rng=rng)
    return _apart((int.from_bytes(opened.joined(), "big") - blind) % int(public.n), public, what)


def holder(
    context: Context,
    me: str,
    items: Sequence[bytes],
    own: AgreementKey,
    what: Summand,
    values: Words,
    *,
    rng: Rng,
    threads: int = 1,
) -> Role[Words | None]:
    """The member with `values`, (rows, columns) in steps: returns the sums in steps, or None if it gets no results.

    Raises `ProtocolViolation`, `ProtocolAborted`, `TooFewInCommon`.
    """
    context.require(SUM)
    (peer,) = (name for name in context.roster if name != me)
    terms, prefix = context.parameters, context.prefix
    exponent, order = Exponent.random(rng=rng), lists.order(len(items), rng=rng)
    private = generate(KEY_BITS, rng=rng)
    public = private.public
    key = public.to_bytes() + proof.prove(private)

    def doubled(piece: bytes) -> bytes:
        return lists.tokens(lists.points(exponent.raise_last(piece, threads=threads))).tobytes()

    def pairs(at: int, upto: int) -> bytes:
        places = order[at:upto]
        points = exponent.raise_items(prefix, [items[place] for place in places], threads=threads)
        rows = vector.encrypt_messages([_packed(values[place]) for place in places], public, rng=rng)
        return _beside(points, rows)

    coming = Intake(POINT_BYTES, terms.most, doubled)
    yield from carry(context, me, own, 0, send={peer: _only(key)}, take={peer: coming}, rng=rng)
    theirs = lists.read_tokens(coming.joined())
    lists.require_different(theirs, peer, context.round)
    said = theirs[lists.order(len(theirs), rng=rng)]
    lot = Lot(len(said), lambda at, upto: said[at:upto].tobytes())
    yield from carry(context, me, own, 1, send={peer: lot}, take={}, rng=rng)
    yield from carry(context, me, own, 2, send={peer: Lot(len(items), pairs)}, take={}, rng=rng)
    answer = Intake(public.ciphertext_bytes, 1)
    yield from carry(context, me, own, 3, send={}, take={peer: answer}, rng=rng)
    if not answer.total:
        raise TooFewInCommon(terms.minimum, len(items))
    message = _decrypt(answer.joined(), private, peer, context.round)
    if context.receives(peer):
        opened = _only(message.to_bytes(public.size, "big"))
        yield from carry(context, me, own, 4, send={peer: opened}, take={}, rng=rng)
    return _apart(message, public, what) if context.receives(me) else None


class _Total:
    """The running product of the rows that both have."""

    def __init__(self, mine: lists.Table, exponent: Exponent, public: PublicKey, threads: int) -> None:
        self._mine = lists.ordered(mine)
        self._exponent, self._public, self._threads = exponent, public, threads
        self._product: Any = powers.number(1)
        self.count = 0

    def take(self, piece: bytes) -> bytes:
        """Multiply the matched ciphertexts of a piece in; returns the tokens of its points."""
        width = POINT_BYTES + self._public.ciphertext_bytes
        table = np.frombuffer(piece, np.uint8).reshape(-1, width)
        points = table[:, :POINT_BYTES].tobytes()
        raised = lists.tokens(lists.points(self._exponent.raise_last(points, threads=self._threads)))
        matched = lists.among(raised, self._mine)
        found = vector.read(table[:, POINT_BYTES:].tobytes(), self._public, len(table))
        vector.require_units(found, self._public)
        for place in np.flatnonzero(matched):
            self._product = self._product * found[place] % self._public.square
        self.count += int(matched.sum())
        return raised.tobytes()

    def encrypted(self, more: int, *, rng: Rng) -> bytes:
        """The sum and `more`, in a ciphertext that says nothing of the rows that it was made of."""
        added = 1 + more % int(self._public.n) * self._public.n
        total = vector.write([self._product * added % self._public.square], self._public)
        return vector.rerandomise(total, self._public, rng=rng)


def _only(entry: bytes) -> Lot:
    """A list of one entry; an empty one of none."""
    return Lot(1 if entry else 0, lambda at, upto: entry)


def _beside(points: bytes, rows: bytes) -> bytes:
    count = len(points) // POINT_BYTES
    left = np.frombuffer(points, np.uint8).reshape(count, POINT_BYTES)
    right = np.frombuffer(rows, np.uint8).reshape(count, len(rows) // max(1, count))
    return np.hstack([left, right]).tobytes()


def _public(raw: bytes, peer: str, round: int) -> PublicKey:
    try:
        public = PublicKey.from_bytes(raw[:_KEY_BYTES])
        proof.verify(public, raw[_KEY_BYTES:])
    except ParameterError as problem:
        raise MalformedMessage(str(problem), culprits=(peer,), round=round) from None
    return public


def _packed(row: Words) -> int:
    """Signed numbers as one: each in its slot, borrowing from the next where it is negative."""
    return sum(int(value) << SLOT_BITS * place for place, value in enumerate(row))


def _blind(public: PublicKey, what: Summand, seen: bool, rng: Rng) -> int:
    """Where the holder gets results: random bits above the slots, so that it is told what they hold and no more."""
    if not seen:
        return powers.below(int(public.n), rng=rng)
    used = SLOT_BITS * what.columns
    return powers.below(1 << public.bits - used - 3, rng=rng) << used


def _apart(message: int, public: PublicKey, what: Summand) -> Words:
    """The signed numbers of the slots, lowest first."""
    found, rest = [], message - int(public.n) if message > int(public.n) // 2 else message
    half = 1 << SLOT_BITS - 1
    for _ in range(what.columns):
        value = (rest + half) % (2 * half) - half
        found.append(value)
        rest = (rest - value) >> SLOT_BITS
    return np.array(found, np.int64)


def _decrypt(raw: bytes, private: PrivateKey, peer: str, round: int) -> int:
    try:
        return vector.decrypt_message(raw, private)
    except (ParameterError, DecryptionFailed) as problem:
        raise MalformedMessage(str(problem), culprits=(peer,), round=round) from None
