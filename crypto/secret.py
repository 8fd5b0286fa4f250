"""Bytes that must not be printed, compared in variable time, pickled or sent."""

from __future__ import annotations

import hmac
from typing import Any, final

from silo.crypto.errors import refuse_pickle
from silo.crypto.rng import Rng


@final
class Secret:
    """Secret bytes. Only `reveal()` gives them out, so that each use can be found by its name."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = bytes(value)

    @classmethod
    def random(cls, count: int, *, rng: Rng) -> Secret:
        """Draw `count` secret bytes."""
        return cls(rng.bytes(count))

    def reveal(self) -> bytes:
        """The bytes themselves."""
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Secret(<{len(self._value)} bytes>)"

    def __reduce__(self) -> Any:
        refuse_pickle(self)
