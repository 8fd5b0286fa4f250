"""States that are used once, redacted, and never pickled."""

from __future__ import annotations

import dataclasses
from typing import Any

from silo.crypto.errors import StateReused, refuse_pickle


class Once:
    """Base of every party state: frozen, spent by the method that leads to the next state."""

    def _fresh(self) -> None:
        if self.__dict__.get("_spent"):
            raise StateReused(f"this {type(self).__name__} state was already used; each state is used once")

    def _spend(self) -> None:
        self._fresh()
        object.__setattr__(self, "_spent", True)

    def __repr__(self) -> str:
        names = ", ".join(f.name for f in dataclasses.fields(self))  # type: ignore[arg-type]
        return f"<{type(self).__module__}.{type(self).__name__}: {names} withheld>"

    def __reduce__(self) -> Any:
        refuse_pickle(self)
