"""What a mechanism will cost, before anything runs: the least noise for a budget, and the least budget for a noise.

Both count as the filter does, which decides. The PLD accountant, which reports, counts less: a budget of what it says
would be refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Final

from silo.errors import ParameterError
from silo.privacy import events
from silo.privacy.account import Account
from silo.privacy.accountants.rdp import ORDERS
from silo.privacy.budget import MAX_EPSILON, Budget, conversion
from silo.privacy.dataset import cost
from silo.privacy.errors import PrivacyBudgetExceeded
from silo.privacy.events import Event

_LEAST_EPSILON: Final = 1e-6
_CLOSE: Final = 1.0002


def least_noise(
    use: Callable[[float], Event], times: int, budget: Budget, *, low: float, high: float, of: str
) -> float:
    """The least noise multiplier from `low` to `high` with which `times` uses keep a fresh budget, to three digits.

    `use` makes the event of one from a multiplier; `of` is the plural of what is used. Raises `ParameterError`.
    """

    def enough(sigma: float) -> bool:
        return budget.admits(cost(events.dumps(use(sigma)), times, budget.order))

    if not enough(high):
        raise ParameterError(
            f"no noise up to {high:g} keeps epsilon {budget.epsilon:g} over {times} {of}: take fewer"
        )
    return _up(_least(enough, low, high))


def least_budget(use: Event, times: int, delta: float) -> float:
    """Epsilon of the least fresh budget at `delta` that admits so many uses, to three digits; infinite if none does.

    The order of a fresh budget falls as its epsilon grows, and some events cost a lower order hardly less: so each
    order is tried by itself, from where it is chosen.
    """
    text = events.dumps(use)

    def admitted(epsilon: float) -> bool:
        try:
            budget = Budget(epsilon, delta)
        except ParameterError:  # too little at this delta for any order, or beyond what a budget has
            return False
        return budget.admits(cost(text, times, budget.order))

    needed = [_needed(text, times, delta, order) for order in ORDERS]
    chosen = [_chosen(high, low, delta) for low, high in pairwise(ORDERS)]
    found = {_up(one) for one in (*needed, *chosen) if _LEAST_EPSILON < one <= MAX_EPSILON}
    return next((one for one in sorted(found) if admitted(one)), math.inf)


def _needed(text: str, times: int, delta: float, order: int) -> float:
    """The epsilon that a filter of this order counts."""
    return Budget(MAX_EPSILON, delta, order).filter_epsilon(cost(text, times, order))


def _chosen(high: int, low: int, delta: float) -> float:
    """From which epsilon on a fresh budget has the lower of two orders."""
    return (high * conversion(low, delta) - low * conversion(high, delta)) / (high - low)


def verdict(use: Event, times: int, delta: float, account: Account | None) -> str:
    """One line for people: whether an account admits so many uses, or what budget they need."""
    if account is None:
        least = least_budget(use, times, delta)
        if least == math.inf:
            return f"no budget at delta {delta:g} is large enough: they end at epsilon {MAX_EPSILON:g}"
        return f"a fresh budget at delta {delta:g} needs epsilon {least:g} at least, as its filter counts"
    with account.ledger.reading() as books:
        budget, spent = books.dataset(account.dataset).budget, books.spent(account.dataset)
        asked = spent.plus(cost(events.dumps(use), times, budget.order))
        found = "it fits"
        try:
            books.check_room(account.dataset, events.dumps(use), times)
        except PrivacyBudgetExceeded as full:
            shared = (
                ""
                if full.dataset == account.dataset
                else f"{full.dataset} shares units, and has too little: "
            )
            found = f"{shared}it does NOT fit"
        if books.frozen:
            found = f"the ledger is frozen ({books.frozen}): it does NOT fit"
    return (
        f"the budget of {account.dataset} (epsilon {budget.epsilon:g}) is used to {budget.used(spent):.1%}, "
        f"and to {budget.used(asked):.1%} afterwards: {found}"
    )


def _least(enough: Callable[[float], bool], low: float, high: float) -> float:
    """About the least number from `low` to `high` that is enough, as `high` is, and all above."""
    while high / low > _CLOSE:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _up(value: float) -> float:
    digits = 2 - math.floor(math.log10(value))
    return math.ceil(value * 10.0**digits) / 10.0**digits
