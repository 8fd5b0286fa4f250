"""Privacy random variables: the cross-check, by another code (Opacus's, after Gopi, Lee and Wutschitz 2021)."""

from __future__ import annotations

import math
import warnings
from importlib.metadata import version
from typing import Any

from silo.errors import UsageError
from silo.privacy import events
from silo.privacy.accountants.leaves import leaves
from silo.privacy.errors import Unaccountable
from silo.privacy.events import Event

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus.accountants import PRVAccountant
except ModuleNotFoundError:
    raise UsageError("accounting needs Opacus: install silo-privacy[dp]") from None


class PRV:
    """The accountant: Gaussian noise, sampled by Poisson or not. For all else it is `Unaccountable`."""

    name = "PRV"
    version = f"opacus {version('opacus')}"

    def epsilon(self, event: Event, delta: float) -> float:
        """The certified upper bound at `delta`."""
        return self.bounds(event, delta)[1]

    def bounds(self, event: Event, delta: float, *, error: float = 0.01) -> tuple[float, float]:
        """The certified lower and upper bound of epsilon. Raises `Unaccountable`."""
        counted = leaves(event)
        if not counted:
            return 0.0, 0.0
        if events.NoPrivacy() in counted:
            return math.inf, math.inf
        accountant = PRVAccountant()
        accountant.history = [(*_gaussian(leaf), count) for leaf, count in counted.items()]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found: Any = accountant._get_dprv(eps_error=error, delta_error=delta / 1000)
                lower, _, upper = found.compute_epsilon(delta, delta / 1000, error)
        except (ValueError, RuntimeError, ZeroDivisionError, OverflowError, MemoryError):
            raise Unaccountable("the PRV accountant finds no bound for these figures") from None
        if not (math.isfinite(lower) and math.isfinite(upper)):
            raise Unaccountable("the PRV accountant finds no bound for these figures")
        return float(lower), float(upper)


def _gaussian(leaf: Event) -> tuple[float, float]:
    match leaf:
        case events.Gaussian(sigma):
            return sigma, 1.0
        case events.PoissonSampled(q, events.Gaussian(sigma)):
            return sigma, q
    raise Unaccountable(f"the PRV accountant is for Gaussian noise, not for {events.dumps(leaf)[:60]}")
