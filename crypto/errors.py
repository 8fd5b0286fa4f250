"""The root of every error that Silo raises, and those of the crypto floor.

Each class has a stable `code`; docs/errors has one page per code.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, NoReturn


class SiloError(Exception):
    """Anything that Silo refuses or cannot do. `str()` is one sentence for a person."""

    code: ClassVar[str] = "SILO-000"


class ParameterError(SiloError, ValueError):
    """A parameter, shape or value that cannot be used; nothing was changed."""

    code = "SILO-101"


class ValueOutOfRange(ParameterError):
    """A value that cannot be encoded: NaN, infinite, or beyond the limit; `index` is its flat place."""

    code = "SILO-106"

    def __init__(self, index: int, value: float, limit: float, where: str = "") -> None:
        place = where or f"the value at index {index}"
        what = "remove it" if not math.isfinite(value) else "clip the values or agree on a larger limit"
        super().__init__(f"{place} is {value}, and only finite values up to {limit} can be encoded: {what}")
        self.index = index
        self.value = value
        self.limit = limit
        self.where = where

    def shifted(self, by: int) -> ValueOutOfRange:
        """The same error in an array of which this one starts at index `by`."""
        return ValueOutOfRange(self.index + by, self.value, self.limit, self.where)

    def named(self, where: str) -> ValueOutOfRange:
        """The same error with the place as the caller knows it, such as "w1[3, 4]"."""
        return ValueOutOfRange(self.index, self.value, self.limit, where)

    def __reduce__(self) -> Any:
        return type(self), (self.index, self.value, self.limit, self.where)


class UsageError(SiloError):
    """The caller used the library in a way that is never right."""

    code = "SILO-102"


class StateReused(UsageError):
    """A protocol state, key or token that may be used once was used again."""

    code = "SILO-103"


class DecryptionFailed(SiloError):
    """An authenticated ciphertext did not open: wrong key, wrong context or tampered bytes."""

    code = "SILO-104"


class InvalidSignature(SiloError):
    """A signature does not verify under the pinned key."""

    code = "SILO-105"


def refuse_pickle(thing: object) -> NoReturn:
    """Body of `__reduce__` for everything that holds a secret."""
    raise TypeError(f"{type(thing).__name__} holds a secret and cannot be pickled or copied")
