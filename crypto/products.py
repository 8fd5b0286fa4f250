"""Inner products of one party's encrypted numbers with another's columns: the contract of the schemes that do it.

The owner encrypts `rows` small signed integers under a key of its own and sends them. The multiplier has `rows` numbers
in each of its columns; it sends back one encrypted product a column, with a random mask added. The owner decrypts and
says what it sees; the multiplier takes the masks away and has its exact signed products.

Who learns what, if both do as prescribed: the owner nothing (its view is independent of the columns, up to what the
scheme states), the multiplier its products. Nobody proves anything but the form of the owner's key. So a multiplier
that lies has the owner decrypt what it likes: products with other columns at least; the schemes say what more.
"""

from __future__ import annotations

import hashlib
import hmac
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, final

import numpy as np
import numpy.typing as npt

from silo.crypto import labels
from silo.crypto.errors import ParameterError, StateReused, refuse_pickle
from silo.crypto.rng import Rng

Payload = bytes | bytearray | memoryview
Integers = npt.NDArray[np.int64]
TAG_BYTES: Final = 16
MAX_ROWS: Final = 1 << 24
MAX_BITS: Final = 32
MAX_COLUMNS: Final = 4096


@dataclass(frozen=True, slots=True)
class Terms:
    """What both agree on: |value| < 2^value_bits, |number of a column| < 2^column_bits. Raises `ParameterError`."""

    rows: int
    value_bits: int
    column_bits: int

    def __post_init__(self) -> None:
        if not 1 <= self.rows <= MAX_ROWS:
            raise ParameterError(f"products are over 1 to {MAX_ROWS} rows, not {self.rows}")
        for name, bits in (("value", self.value_bits), ("number of a column", self.column_bits)):
            if not 1 <= bits <= MAX_BITS:
                raise ParameterError(f"a {name} has 1 to {MAX_BITS} bits, not {bits}")
        if self.bound >> 63:
            raise ParameterError(
                f"products of {self.rows} rows, {self.value_bits} and {self.column_bits} bits have "
                f"{self.bound.bit_length()} bits and a sign, and at most 63 can be had: use fewer bits"
            )

    @property
    def bound(self) -> int:
        """The largest magnitude of a product."""
        return self.rows * ((1 << self.value_bits) - 1) * ((1 << self.column_bits) - 1)

    def require_values(self, values: Integers) -> None:
        """Refuse values that are not of these terms. Raises `ParameterError`."""
        if values.dtype != np.int64 or values.shape != (self.rows,):
            raise ParameterError(f"the values are {self.rows} of int64, not {values.shape} of {values.dtype}")
        _within(values, self.value_bits, "a value")

    def require_columns(self, columns: Integers) -> None:
        """Refuse columns that are not of these terms. Raises `ParameterError`."""
        if columns.dtype != np.int64 or columns.ndim != 2 or len(columns) != self.rows:
            raise ParameterError(
                f"the columns are {self.rows} rows of int64, not {columns.shape} of {columns.dtype}"
            )
        require_count(columns.shape[1])
        _within(columns, self.column_bits, "a number of a column")

    def tags(self, public: bytes) -> tuple[bytes, bytes]:
        """What requests and replies under a key begin with, so that none is taken for another.

        This catches mistakes; against those who forge messages there is the envelope's signature.
        """
        parts = (public, self.rows, self.value_bits, self.column_bits)
        found = hashlib.sha256(labels.bind(labels.PRODUCTS, *parts)).digest()
        return found[:TAG_BYTES], found[TAG_BYTES:]


def _within(numbers: Integers, bits: int, what: str) -> None:
    if max(int(numbers.max()), -int(numbers.min())) >= 1 << bits:
        raise ParameterError(f"{what} is beyond {bits} bits")


def require_count(columns: int) -> None:
    """Refuse a number of columns that is never right. Raises `ParameterError`."""
    if not 1 <= columns <= MAX_COLUMNS:
        raise ParameterError(f"products are of 1 to {MAX_COLUMNS} columns, not {columns}")


def body(payload: Payload, tag: bytes, size: int) -> memoryview:
    """What stands behind the tag of a payload of `size` bytes. Raises `ParameterError` for another size or tag."""
    view = memoryview(payload).cast("B")
    if len(view) != size:
        raise ParameterError(f"the message has {size} bytes, not {len(view)}")
    if not hmac.compare_digest(bytes(view[:TAG_BYTES]), tag):
        raise ParameterError("the message was made under another key or other terms, or is not the one due")
    return view[TAG_BYTES:]


class Masked(Protocol):
    """What a multiplier makes of a request: `payload` travels, the masks stay until `remove` takes them off. Secret."""

    payload: Payload

    def remove(self, opened: Sequence[int]) -> Integers:
        """The exact signed products, (columns,), from what the owner saw. Once. Raises `ParameterError`."""
        ...


@final
class Reply:
    """Masked products: `payload` travels, the masks stay here until `remove` is called with what the owner saw."""

    __slots__ = ("_bound", "_masks", "_modulus", "columns", "payload")

    def __init__(self, payload: Payload, masks: Sequence[int], modulus: int, bound: int) -> None:
        self.payload, self._modulus, self._bound = payload, modulus, bound
        self.columns = len(masks)
        self._masks: tuple[int, ...] | None = tuple(masks)

    def remove(self, opened: Sequence[int]) -> Integers:
        """The exact signed products, (columns,). Once.

        Raises `ParameterError` for another count, a number that is none below the modulus, or a product that the terms
        rule out: the owner decrypted something else. Nothing is used up then.
        """
        if self._masks is None:
            raise StateReused("the masks of this reply were taken off already")
        if len(opened) != len(self._masks):
            raise ParameterError(f"{len(self._masks)} numbers were to be opened, not {len(opened)}")
        numbers = [operator.index(number) for number in opened]
        if not all(0 <= number < self._modulus for number in numbers):
            raise ParameterError(
                f"an opened number is not below the modulus of {self._modulus.bit_length()} bits"
            )
        half = self._modulus // 2
        found = [
            (number - mask + half) % self._modulus - half
            for number, mask in zip(numbers, self._masks, strict=True)
        ]
        if any(abs(product) > self._bound for product in found):
            raise ParameterError(
                f"a product is beyond the {self._bound.bit_length()} bits of the terms: "
                "what was opened is not this reply"
            )
        self._masks = None
        return np.array(found, np.int64)

    def __repr__(self) -> str:
        return f"Reply({len(self.payload)} bytes, masks redacted)"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


class Owner(Protocol):
    """Who has the values and the key. Secret: it hides itself and cannot be pickled."""

    @property
    def public(self) -> bytes:
        """The key that the multiplier needs, with its proof where the scheme has one. It travels once."""
        ...

    @property
    def modulus(self) -> int:
        """What masked numbers are below."""
        ...

    @property
    def payload_bytes(self) -> int:
        """Bytes that `encrypt` gives."""
        ...

    def reply_bytes(self, columns: int) -> int:
        """Bytes that `decrypt` takes."""
        ...

    def renewed(self, *, rng: Rng) -> Owner:
        """An owner under a fresh key, where decryptions of forged replies would tell of the key; else itself."""
        ...

    def encrypt(self, values: Integers, *, rng: Rng) -> memoryview:
        """Encrypt (rows,) values. Raises `ParameterError` for others than the terms say."""
        ...

    def decrypt(self, payload: Payload, columns: int) -> list[int]:
        """The masked products, one a column, each below the modulus: to be sent back as they are.

        Raises `ParameterError` for bytes that are no reply.
        """
        ...


class Multiplier(Protocol):
    """Who has the columns. Made once for a training, with all that does not change from pass to pass. Secret."""

    @property
    def modulus(self) -> int:
        """What masked numbers are below."""
        ...

    @property
    def payload_bytes(self) -> int:
        """Bytes that `products` takes."""
        ...

    @property
    def reply_bytes(self) -> int:
        """Bytes of a reply's payload."""
        ...

    def rekey(self, public: bytes) -> None:
        """Go on under another key of the owner. Raises `ParameterError`, and changes nothing then."""
        ...

    def products(self, payload: Payload, *, rng: Rng) -> Masked:
        """The masked products of encrypted values with all columns. Raises `ParameterError` for bytes that are none."""
        ...
