"""One data set's account: what a mechanism that spends its privacy sees of the ledger."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from silo.privacy import events
from silo.privacy.budget import Budget
from silo.privacy.dataset import cost
from silo.privacy.errors import PrivacyBudgetExceeded
from silo.privacy.events import Event
from silo.privacy.reservation import Reservation

if TYPE_CHECKING:
    from silo.privacy.ledger import Ledger


class Account:
    """An account holds no state of its own; it may be made as often as one likes."""

    def __init__(self, ledger: Ledger, dataset: str) -> None:
        self.ledger = ledger
        self.dataset = dataset

    @property
    def budget(self) -> Budget:
        with self.ledger.reading() as books:
            return books.dataset(self.dataset).budget

    def reserve(
        self,
        event: Event,
        count: int = 1,
        *,
        purpose: str,
        details: Mapping[str, str] | None = None,
        plan: str = "",
    ) -> Reservation:
        """Reserve `count` uses of an event, durably, before any noise is drawn.

        `plan` groups the reservations of one run. Raises `PrivacyBudgetExceeded` (written down as a refusal),
        `LedgerForked`, `LedgerError`, `Unaccountable`.
        """
        return self.ledger.reserve(
            self.dataset, event, count, purpose=purpose, details=details or {}, plan=plan
        )

    def require(
        self,
        event: Event,
        count: int = 1,
        *,
        purpose: str,
        details: Mapping[str, str] | None = None,
        plan: str = "",
    ) -> None:
        """Raise `PrivacyBudgetExceeded`, written down as a refusal, unless so many events would be admitted now.

        Nothing is reserved: it is asked before work begins.
        """
        self.ledger.require(self.dataset, event, count, purpose=purpose, details=details or {}, plan=plan)

    def affords(self, event: Event, count: int = 1) -> bool:
        """Whether so many events would be admitted now; nothing is written."""
        with self.ledger.reading() as books:
            try:
                books.check_room(self.dataset, events.dumps(event), count)
            except PrivacyBudgetExceeded:
                return False
        return True

    def epsilon(self, extra: Event | None = None) -> float:
        """Epsilon of all that was spent, and of `extra`, at the budget's delta, by the PLD accountant.

        Infinite when something was released without differential privacy.
        """
        with self.ledger.reading() as books:
            unprotected = books.unprotected(self.dataset)
        return math.inf if unprotected else self.protected_epsilon(extra)

    def protected_epsilon(self, extra: Event | None = None) -> float:
        """The same over the differentially private releases only."""
        from silo.privacy.accountants.pld import PLD

        with self.ledger.reading() as books:
            delta, worlds = books.dataset(self.dataset).budget.delta, books.worlds(self.dataset)
        accountant, found = PLD(), 0.0
        for world in worlds:
            whole = world if extra is None else events.Composed((world, extra))
            found = max(found, accountant.epsilon(whole, delta))
        return found

    def filter_epsilon(self, extra: Event | None = None) -> float:
        """What the filter counts: never less than what the budget has lost."""
        with self.ledger.reading() as books:
            budget, spent = books.dataset(self.dataset).budget, books.spent(self.dataset)
        if extra is not None:
            spent = spent.plus(cost(events.dumps(extra), 1, budget.order))
        return budget.filter_epsilon(spent)

    @property
    def used(self) -> float:
        """The share of the budget that the filter counts as gone, 0 to 1."""
        with self.ledger.reading() as books:
            return books.dataset(self.dataset).budget.used(books.spent(self.dataset))

    def commit(self, artefact: bytes, *, purpose: str, plan: str = "") -> None:
        """Write down the digest of what was released."""
        self.ledger.commit(self.dataset, artefact, purpose, plan)

    def release_unprotected(self, purpose: str, details: Mapping[str, str] | None = None) -> None:
        """Write down a release without differential privacy: `epsilon` is infinite from here on."""
        self.ledger.release_unprotected(self.dataset, purpose, details or {})
