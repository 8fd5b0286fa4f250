"""What the charter's privacy policy asks of every number that leaves, and the account that pays for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from silo.charter import Charter, Privacy
from silo.errors import NotAllowed
from silo.privacy import witness
from silo.privacy.account import Account
from silo.privacy.budget import Budget
from silo.privacy.dataset import Description
from silo.privacy.errors import NotCovered
from silo.privacy.ledger import Ledger
from silo.protocols.rollcall import Present


@dataclass(frozen=True, slots=True)
class Policy:
    """One member's policy, bound to the account of its data set."""

    terms: Privacy
    account: Account

    @classmethod
    def open(cls, terms: Privacy, ledger: Ledger) -> Policy:
        """Open the data set's budget, or go on with the one that it has.

        Raises `NotAllowed` when the ledger knows it under other figures: a new charter refills nothing.
        """
        known = ledger.books.datasets.get(terms.dataset)
        if known is None:
            budget, about = Budget(terms.epsilon, terms.delta), Description(unit=terms.unit)
            return cls(terms, ledger.add(terms.dataset, budget, about))
        have = (known.budget.epsilon, known.budget.delta, known.description.unit)
        asked = (terms.epsilon, terms.delta, terms.unit)
        if have != asked:
            raise NotAllowed(
                f"this site's ledger opened the budget of {terms.dataset} with other figures, and a budget is never "
                "changed: write those of the ledger into the charter, and plan fewer epochs or more noise",
                "epsilon {:g}, delta {:g} per {} in the charter".format(*asked),
                "epsilon {:g}, delta {:g} per {} on the ledger".format(*have),
            )
        return cls(terms, ledger.account(terms.dataset))

    def show(self) -> tuple[str, tuple[str, ...]]:
        """What this member says of ledgers at a roll call."""
        return witness.show(self.account.ledger)

    def witness(self, charter: Charter, presents: Mapping[str, Present], round: int) -> None:
        """Check and keep what the others said of ledgers. Raises as `witness.take`."""
        owners = {one.member for one in charter.privacy}
        ledger = self.account.ledger
        witness.take(ledger, self.terms.member, charter.keys, presents, owners=owners, round=round)

    def release(self, what: str, charges: Sequence[str] = ()) -> None:
        """A number is about to leave: for these reservations of its noise, or without any. Raises `NotCovered`.

        A reservation covers one release. Without one the policy refuses, or writes it down.
        """
        if charges:
            self.account.ledger.release(self.terms.dataset, what, charges)
            return
        if self.terms.without_noise == "refuse":
            raise NotCovered(
                f"this {what} of {self.terms.dataset} would leave without noise, and the charter refuses that: "
                "do without it, add noise=silo.Skellam(...), train with privacy=silo.DPSGD(...), give public ranges "
                '(silo.standardize with low= and high=), or agree on without_noise = "record"'
            )
        self.account.release_unprotected(what)
