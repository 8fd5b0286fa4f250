"""Accountants: events in, epsilon out, never lower than the truth.

PLD reports, RDP is the filter's, PRV is the cross-check. What one cannot bound soundly is `Unaccountable`.
"""

from __future__ import annotations

from typing import Protocol

from silo.privacy.errors import Unaccountable as Unaccountable
from silo.privacy.events import Event


class Accountant(Protocol):
    """One way to account for events."""

    name: str
    version: str

    def epsilon(self, event: Event, delta: float) -> float:
        """Epsilon of the event at `delta`; infinite where there is none. Raises `Unaccountable`."""
        ...
