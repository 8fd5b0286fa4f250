"""Labels told at random, once for a whole fit: the other way to protect them.

Randomised response (Warner 1965; Ghazi et al., "Deep Learning with Label Differential Privacy", NeurIPS 2021): each
label stays with a known probability, else it is one of the others. All that is worked out from such labels costs no
more, in however many epochs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto.prg import SEED_BYTES, Keystream
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret
from silo.errors import ParameterError
from silo.privacy import events
from silo.privacy.generator import described
from silo.privacy.token import NoiseToken

_MOST_EPSILON: Final = 20.0


@dataclass(frozen=True, slots=True)
class RandomizedLabels:
    """As `gradients=`: what the hosts get is worked out from labels that were told at random, `epsilon`-DP.

    `corrected` takes the mean effect of wrong labels out of the loss; it then has more variance. Raises
    `ParameterError`.
    """

    epsilon: float
    corrected: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.epsilon <= _MOST_EPSILON:
            raise ParameterError(f"epsilon is above 0 and at most {_MOST_EPSILON:g}, not {self.epsilon}")

    def event(self, classes: int) -> events.RandomizedResponse:
        """What one fit costs."""
        odds = math.exp(self.epsilon)
        return events.RandomizedResponse(odds / (odds + classes - 1), classes)

    @property
    def auc_bound(self) -> float:
        """No attack on what leaves tells two labels apart with a larger AUC."""
        return 1 / (1 + math.exp(-self.epsilon))

    def describe(self) -> str:
        """One line for people."""
        return (
            f"gradients: labels told at random, epsilon {self.epsilon:g} for a whole fit; no attack tells two labels "
            f"apart with an AUC above {self.auc_bound:.3f}"
        )

    def details(self, *, rng: Rng) -> dict[str, str]:
        """What the ledger keeps beside the event."""
        return {
            "mechanism": "randomised response on each label, once a fit",
            "direction": "gradients",
            "protects": "the label of a row",
            "neighbours": "one label changed",
            "generator": described(rng),
        }

    def targets(self, told: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.float64]:
        """(rows, classes) what the probabilities are compared with: one-hot, or unbiased estimates of it."""
        hot = np.zeros((len(told), classes))
        hot[np.arange(len(told)), told] = 1.0
        if not self.corrected:
            return hot
        keep = self.event(classes).keep
        other = (1 - keep) / (classes - 1)
        return (hot - other) / (keep - other)

    def tell(
        self, labels: npt.NDArray[np.int64], classes: int, token: NoiseToken, *, rng: Rng
    ) -> npt.NDArray[Any]:
        """Labels 0 to classes - 1, told at random, for one token."""
        event = self.event(classes)
        token.use(event)
        drawn = np.empty((2, len(labels)), np.uint64)
        Keystream(Secret.random(SEED_BYTES, rng=rng)).fill(drawn)
        stays = drawn[0] < np.uint64(int(event.keep * 2.0**64))
        moved = (labels + 1 + (drawn[1] % np.uint64(classes - 1)).astype(np.int64)) % classes
        return np.where(stays, labels, moved)
