"""Reserves one step after the other until the budget is used up; prints how many it got."""

from __future__ import annotations

import sys

from silo.privacy import events
from silo.privacy.errors import PrivacyBudgetExceeded
from silo.privacy.ledger import Ledger

got = 0
with Ledger.open(sys.argv[1]) as book:
    account = book.account()
    while True:
        try:
            with account.reserve(events.Gaussian(40.0), 1, purpose="a reserver") as reservation:
                reservation.token().use(events.Gaussian(40.0))
        except PrivacyBudgetExceeded:
            break
        got += 1
print(got)
