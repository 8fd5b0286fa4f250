"""Privacy random variables: the second opinion, by another code and another theorem.

Gopi, Lee and Wutschitz (arXiv 2106.02848), as Opacus has it: Gaussian noise only, sampled by Poisson or not. Besides
the upper bound there is a certified lower one: an accountant that reports less than it is wrong.
"""

from __future__ import annotations

import math
import warnings
from importlib.metadata import version
from typing import Any, Final

import numpy as np

from silo.extras import need
from silo.privacy import events
from silo.privacy.accountants.base import Leaves, check_delta, flatten, refuse
from silo.privacy.errors import Unaccountable
from silo.privacy.events import Event

need("accounting by PRV", "dp", "opacus")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from opacus.accountants import PRVAccountant
    from opacus.accountants.analysis.prv import PoissonSubsampledGaussianPRV, compute_safe_domain_size

ERROR: Final = 0.01
"""Half the width of the certified interval of epsilon."""
_MOST_CELLS: Final = 1 << 23


class PRV:
    """The accountant; what its code cannot do, for whatever reason, is `Unaccountable`."""

    name = "PRV"
    version = f"opacus {version('opacus')}"

    def epsilon(self, event: Event, delta: float) -> float:
        """The certified upper bound of epsilon at `delta`. Raises `Unaccountable`, `ParameterError`."""
        return self.bounds(event, delta)[1]

    def bounds(self, event: Event, delta: float, *, error: float = ERROR) -> tuple[float, float]:
        """The certified lower and upper bound of epsilon at `delta`. Raises `Unaccountable`, `ParameterError`."""
        check_delta(delta)
        leaves = flatten(event)
        if not leaves:
            return 0.0, 0.0
        if events.NoPrivacy() in leaves:
            return math.inf, math.inf
        history = _history(leaves)
        if delta == 0:
            return math.inf, math.inf
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                lower, upper = _bounds(history, delta, error)
            except (ArithmeticError, IndexError, MemoryError, RuntimeError, TypeError, ValueError):
                lower = upper = math.nan
        if not 0 <= upper < math.inf or not lower <= upper:
            raise Unaccountable(
                "the PRV accountant finds no bound for these figures: rely on PLD, or take a larger delta"
            )
        return max(0.0, lower), upper


def lower(event: Event, delta: float) -> float:
    """No epsilon below this one is true. Raises as `PRV.bounds`."""
    return PRV().bounds(event, delta)[0]


def _history(leaves: Leaves) -> list[tuple[float, float, int]]:
    found = []
    for leaf, count in leaves.items():
        match leaf:
            case events.Gaussian(sigma):
                found.append((sigma, 1.0, count))
            case events.PoissonSampled(probability, events.Gaussian(sigma)):
                found.append((sigma, probability, count))
            case _:
                raise refuse(leaf, PRV.name)
    return found


def _bounds(history: list[tuple[float, float, int]], delta: float, error: float) -> tuple[float, float]:
    lost, counts = delta / 1000, [count for _, _, count in history]
    reach = compute_safe_domain_size(
        prvs=[PoissonSubsampledGaussianPRV(probability, sigma) for sigma, probability, _ in history],
        max_self_compositions=counts,
        eps_error=error,
        delta_error=lost,
    )
    # Opacus would allocate this much without asking.
    cells = 2 * reach * math.sqrt(sum(counts) * math.log(12 / lost) / 2) / error
    if not cells <= _MOST_CELLS:
        raise MemoryError
    accountant = PRVAccountant()
    accountant.history = history
    found: Any = accountant._get_dprv(eps_error=error, delta_error=lost)
    low, _, high = found.compute_epsilon(delta, lost, error)
    return float(low), float(high)
