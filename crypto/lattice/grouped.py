"""Products of many columns under the lattice: a key, and a ciphertext of the values, for each few of them.

Whoever lies about its replies has the owner decrypt what it likes: with plaintexts of 35 bits each forged reply tells
22 coefficients of the key, and 190 tell all. So no key opens more than `EACH` numbers, a tenth of what it is, and none
is used again.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, final

import numpy as np

from silo.crypto import products as contract
from silo.crypto.errors import ParameterError, refuse_pickle
from silo.crypto.lattice.products import PUBLIC_BYTES, LatticeMultiplier, LatticeOwner
from silo.crypto.products import Integers, Payload, Reply, Terms
from silo.crypto.rng import Rng

EACH: Final = 16


def groups(columns: int) -> list[slice]:
    """Which columns are under the same key."""
    contract.require_count(columns)
    return [slice(at, min(at + EACH, columns)) for at in range(0, columns, EACH)]


def _cut(raw: Payload, sizes: Sequence[int]) -> list[memoryview]:
    """Consecutive parts. Raises `ParameterError` for another length."""
    view = memoryview(raw).cast("B")
    if len(view) != sum(sizes):
        raise ParameterError(f"the message has {sum(sizes)} bytes, not {len(view)}")
    ends = np.cumsum([0, *sizes]).tolist()
    return [view[low:high] for low, high in pairwise(ends)]


@final
class GroupedOwner:
    """The owner of the values, towards one multiplier with so many columns."""

    __slots__ = ("_columns", "_owners", "terms")

    def __init__(self, owners: Sequence[LatticeOwner], columns: int) -> None:
        self._owners, self._columns = tuple(owners), columns
        self.terms = self._owners[0].terms

    @classmethod
    def generate(cls, terms: Terms, columns: int, *, rng: Rng) -> GroupedOwner:
        """Make the keys. Raises `ParameterError` for terms that do not fit."""
        return cls([LatticeOwner.generate(terms, rng=rng) for _ in groups(columns)], columns)

    @property
    def public(self) -> bytes:
        """All keys."""
        return b"".join(one.public for one in self._owners)

    @property
    def modulus(self) -> int:
        """t."""
        return self._owners[0].modulus

    @property
    def payload_bytes(self) -> int:
        """Bytes that `encrypt` gives."""
        return sum(one.payload_bytes for one in self._owners)

    def reply_bytes(self, columns: int) -> int:
        """Bytes that `decrypt` takes."""
        return sum(self._sizes(columns))

    def _sizes(self, columns: int) -> list[int]:
        if columns != self._columns:
            raise ParameterError(f"these keys are for {self._columns} columns, not for {columns}")
        return [
            one.reply_bytes(part.stop - part.start)
            for one, part in zip(self._owners, groups(columns), strict=True)
        ]

    def renewed(self, *, rng: Rng) -> GroupedOwner:
        """An owner under fresh keys."""
        return GroupedOwner([one.renewed(rng=rng) for one in self._owners], self._columns)

    def encrypt(self, values: Integers, *, rng: Rng) -> memoryview:
        """Encrypt (rows,) values under each key. Raises `ParameterError` for others than the terms say."""
        return memoryview(b"".join(one.encrypt(values, rng=rng) for one in self._owners))

    def decrypt(self, payload: Payload, columns: int) -> list[int]:
        """The masked products, one a column, below t. Raises `ParameterError` for bytes that are no reply."""
        parts = zip(self._owners, groups(columns), _cut(payload, self._sizes(columns)), strict=True)
        return [number for one, part, raw in parts for number in one.decrypt(raw, part.stop - part.start)]

    def __repr__(self) -> str:
        return f"GroupedOwner({len(self._owners)} keys, redacted)"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


@final
class GroupedMultiplier:
    """The owner of the columns."""

    __slots__ = ("_multipliers", "terms")

    def __init__(self, public: bytes, columns: Integers, terms: Terms) -> None:
        """Prepare (rows, d) columns for the keys of an owner. Raises `ParameterError`."""
        terms.require_columns(columns)
        parts = groups(columns.shape[1])
        keys = _cut(public, [PUBLIC_BYTES] * len(parts))
        self.terms = terms
        self._multipliers = tuple(
            LatticeMultiplier(bytes(key), columns[:, part], terms)
            for key, part in zip(keys, parts, strict=True)
        )

    @property
    def modulus(self) -> int:
        """t."""
        return self._multipliers[0].modulus

    @property
    def payload_bytes(self) -> int:
        """Bytes that `products` takes."""
        return sum(one.payload_bytes for one in self._multipliers)

    @property
    def reply_bytes(self) -> int:
        """Bytes of a reply's payload."""
        return sum(one.reply_bytes for one in self._multipliers)

    def rekey(self, public: bytes) -> None:
        """Go on under other keys of the owner. Raises `ParameterError`."""
        for one, key in zip(
            self._multipliers, _cut(public, [PUBLIC_BYTES] * len(self._multipliers)), strict=True
        ):
            one.rekey(bytes(key))

    def products(self, payload: Payload, *, rng: Rng) -> GroupedReply:
        """The masked products of encrypted values with all columns. Raises `ParameterError` for bytes that are none."""
        parts = _cut(payload, [one.payload_bytes for one in self._multipliers])
        made = zip(self._multipliers, parts, strict=True)
        return GroupedReply([one.products(raw, rng=rng) for one, raw in made])

    def __repr__(self) -> str:
        return f"GroupedMultiplier({len(self._multipliers)} keys, redacted)"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


@final
class GroupedReply:
    """Masked products of all groups."""

    __slots__ = ("_replies", "payload")

    def __init__(self, replies: Sequence[Reply]) -> None:
        self._replies = tuple(replies)
        self.payload: Payload = b"".join(bytes(one.payload) for one in self._replies)

    def remove(self, opened: Sequence[int]) -> Integers:
        """The exact signed products, (columns,). Once. Raises as `Reply.remove`."""
        columns = sum(one.columns for one in self._replies)
        if len(opened) != columns:
            raise ParameterError(f"{columns} numbers were to be opened, not {len(opened)}")
        parts = zip(self._replies, groups(columns), strict=True)
        return np.concatenate([one.remove(opened[part]) for one, part in parts])

    def __repr__(self) -> str:
        return f"GroupedReply({len(self.payload)} bytes, masks redacted)"

    def __reduce__(self) -> Any:
        refuse_pickle(self)
