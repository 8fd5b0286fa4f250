"""What one member brings to a split fit or scoring, the same for all roles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from silo.errors import NotAllowed
from silo.privacy.events import Event
from silo.protocols.split.terms import FRAME, Terms
from silo.protocols.split.wire import Rows
from silo.protocols.vertical.context import SPLIT
from silo.vertical.checkpoints import fingerprint
from silo.vertical.meeting import require
from silo.vertical.splitting.decorrelation import Decorrelation
from silo.vertical.splitting.kept import Kept
from silo.vertical.splitting.marvell import Marvell
from silo.vertical.splitting.noise import ACTIVATIONS, GRADIENTS, Noise, NoisePlan
from silo.vertical.splitting.part import Maker, Part
from silo.vertical.splitting.paying import Payer, policy_for, require_noise
from silo.vertical.splitting.randomized import RandomizedLabels
from silo.vertical.splitting.residuals import Labels

if TYPE_CHECKING:
    from torch import nn

    from silo.session import Session

Hidden = tuple[NoisePlan | RandomizedLabels, Payer]
Shown = tuple[NoisePlan, Payer]
CUT: Final = "width of the cut"
BACK: Final = "width of what comes back"
SIGMA: Final = "noise on residuals"


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """A member's part: its modules, rows and labels, and how they are protected."""

    session: Session
    terms: Terms
    make: Maker
    guide_rate: float
    u_shaped: bool
    bottom: nn.Module | None = None
    top: nn.Module | None = None
    middle: nn.Module | None = None
    x: Rows | None = None
    labels: Labels | None = None
    classes: int = 0
    cut: int | None = None
    gradients: Noise | RandomizedLabels | Marvell | None = None
    activations: Noise | None = None
    decorrelation: Decorrelation | None = None
    finish: int = 0
    watch: bool | float = True
    meter: bool | str | Path = True
    checkpoint: str | Path | None = None
    aligned: bytes = b""
    plan_id: str = ""

    @property
    def who(self) -> str:
        return self.session.me

    @property
    def rows(self) -> int | None:
        """How many there are; None at who has none."""
        if self.x is not None:
            return len(self.x)
        return None if self.labels is None else len(self.labels)

    @property
    def guided(self) -> bool:
        """Whether labels have a guarantee: then hosts get what a guide learned, and nothing of the real top."""
        return isinstance(self.gradients, Noise | RandomizedLabels)

    @property
    def columns(self) -> int:
        return 0 if self.x is None else self.x.shape[1]

    def said(self, *, scoring: bool = False) -> tuple[tuple[str, str], ...]:
        """What all have to say alike."""
        shape = ("shape", "U" if self.u_shaped else "V")
        if scoring:
            return (*self.terms.said()[1:], shape)
        return (*self.terms.said(), shape, ("epochs of the top alone", str(self.finish)))

    def require(self) -> None:
        """Refuse what the charter does not grant. Raises `NotAllowed`."""
        allowed = require(self.session, SPLIT, rows=self.rows, labelled=self.labels is not None)
        if self.terms.epochs > allowed.passes:
            raise NotAllowed("the epochs of a split network", allowed.passes, self.terms.epochs)
        if allowed.classes is not None and self.classes > allowed.classes:
            raise NotAllowed("the classes of a split network", allowed.classes, self.classes)
        if self.finish and allowed.scorings is not None:
            # To finish takes a scoring, after everything was paid for.
            self.session.journal.require_scoring(self.session.charter.digest, allowed.scorings)

    def kept(self, *parts: Part) -> Kept:
        """The files of this fit; the weights with which a process happens to begin are no mark of it."""
        shapes = [(name, value.shape) for part in parts for name, value in sorted(part.arrays().items())]
        said = repr(
            (self.said(), self.session.members, self.gradients, self.activations, self.classes, shapes)
        )
        tables: list[Any] = [table for table in (self.x, self.labels) if table is not None]
        found = Kept(self.checkpoint, self.who, fingerprint(said, *tables))
        found.require()
        return found

    def activation_noise(self) -> Shown | None:
        """Noise on activations, and who pays for it. Raises `NotAllowed`, `NotCovered`, `UsageError`."""
        require_noise(self.session, ACTIVATIONS, self.activations is not None)
        if self.activations is None:
            return None
        policy = policy_for(self.session, ACTIVATIONS)
        plan = self.activations.plan(ACTIVATIONS, self.terms.epochs, policy.account)
        return plan, Payer(policy, ACTIVATIONS, plan.details(rng=self.session.rng), self.plan_id)

    def label_noise(self) -> Hidden | None:
        """The same for labels."""
        require_noise(self.session, GRADIENTS, self.guided)
        if self.gradients is None or isinstance(self.gradients, Marvell):
            return None
        policy = policy_for(self.session, GRADIENTS)
        how: NoisePlan | RandomizedLabels = (
            self.gradients
            if isinstance(self.gradients, RandomizedLabels)
            else (self.gradients.plan(GRADIENTS, self.terms.epochs, policy.account))
        )
        return how, Payer(policy, GRADIENTS, how.details(rng=self.session.rng), self.plan_id)

    def afford(self, done: int, hidden: Hidden | None, shown: Shown | None, *, told: bool) -> None:
        """Refuse what does not fit the budget as a whole, after so many epochs. Raises `PrivacyBudgetExceeded`.

        `told`: labels were told at random before.
        """
        left = self.terms.epochs - done
        all_of_it: list[Event] = []
        payer = None
        if hidden is not None:
            how, payer = hidden
            if isinstance(how, NoisePlan):
                all_of_it += [how.event] * left
            elif not told:
                all_of_it.append(how.event(self.classes))
        if shown is not None:
            plan, payer = shown
            all_of_it += [plan.event] * left + [plan.scoring] * bool(self.finish)
        if payer is not None:
            payer.require(*all_of_it)

    def coming(self, row_bytes: int, epochs: int, peers: int, rows: int | None = None) -> int:
        """About how many bytes will leave; `rows` are those of the others, where this member has none."""
        rows = rows or self.rows or 0
        return peers * epochs * (rows * row_bytes + self.terms.messages(rows) * FRAME)
