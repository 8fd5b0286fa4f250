"""The ledger's side of a split fit: each epoch is reserved, and covered, before anything of it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from silo.errors import NotAllowed, UsageError
from silo.privacy.errors import NotCovered
from silo.privacy.events import Composed, Event
from silo.privacy.policy import Policy
from silo.privacy.token import NoiseToken
from silo.vertical.splitting.noise import PURPOSE

if TYPE_CHECKING:
    from silo.session import Session


class Payer:
    """Reserves one event at a time for one direction of one fit."""

    def __init__(self, policy: Policy, direction: str, details: Mapping[str, str], plan: str) -> None:
        self._policy, self._direction, self._details, self._plan = policy, direction, dict(details), plan
        self.charges: list[str] = []
        """The reservations so far."""

    def require(self, *events: Event) -> None:
        """Refuse, on the ledger too, what does not fit its budget as a whole. Raises `PrivacyBudgetExceeded`."""
        if events:
            self._policy.account.require(
                Composed(events), 1, purpose=PURPOSE, details=self._details, plan=self._plan
            )

    def pay(self, event: Event, what: str) -> NoiseToken:
        """The right to draw the noise of `event`, once it stands on the ledger. Raises `PrivacyBudgetExceeded`."""
        account = self._policy.account
        with account.reserve(event, purpose=PURPOSE, details=self._details, plan=self._plan) as reservation:
            self._policy.release(f"{self._direction} of {what}", (reservation.identifier,))
            self.charges.append(reservation.identifier)
            return reservation.token()


def policy_for(session: Session, direction: str) -> Policy:
    """Who pays for noise. Raises `UsageError` where the charter has no policy."""
    if session.policy is None:
        raise UsageError(
            f"noise on {direction} is charged to a ledger, and the charter has no privacy policy for {session.me}: "
            "agree on one (`silo charter new --privacy`)"
        )
    return session.policy


def require_noise(session: Session, direction: str, noised: bool) -> None:
    """Refuse what would leave without noise where charter or policy ask for it. Raises `NotAllowed`, `NotCovered`."""
    vertical = session.charter.vertical
    if noised:
        return
    if vertical is not None and direction in vertical.noised:
        raise NotAllowed(
            f"{direction} of split learning without noise: pass {direction}=silo.vertical.Noise(…)",
            f"noised {', '.join(vertical.noised)}",
            "none",
        )
    if session.policy is not None and session.policy.terms.without_noise == "refuse":
        raise NotCovered(
            f"the {direction} of split learning would leave {session.me} without noise, and its privacy policy refuses "
            f'that: pass {direction}=silo.vertical.Noise(…), or agree on without_noise = "record"'
        )
    if session.policy is not None:
        session.policy.release(f"{direction} of split learning")
