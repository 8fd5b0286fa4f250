"""What a guarantee promises about labels: how well can the best attacker tell a positive from a negative?

Gaussian differential privacy (Dong, Roth and Su 2022): under mu-GDP every test between two values of one label has at
best the error rates of a test between N(0, 1) and N(mu, 1), whose ROC curve encloses Phi(mu / sqrt 2). Releases
compose by the root of the sum of squares. All of it is about one label with everything else known: what the features
say of the label anyway is no part of it.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

from silo.crypto.errors import ParameterError

_NORMAL: Final = NormalDist()


def bound(mu: float) -> float:
    """The largest area under the curve that mu-GDP allows: Phi(mu / sqrt 2). Raises `ParameterError`."""
    if not mu >= 0:
        raise ParameterError(f"mu is at least 0, not {mu}")
    return _NORMAL.cdf(mu / math.sqrt(2))


def mu_of(sigma: float, releases: int, sensitivity: float = 1.0) -> float:
    """The mu of so many releases of one label under noise N(0, sigma^2). Raises `ParameterError`.

    A residual sigmoid(z) - y moves by 1 when its label flips, hence the sensitivity.
    """
    if not sigma >= 0 or releases < 0:
        raise ParameterError(f"noise and releases are at least 0, not {sigma} and {releases}")
    if not releases:
        return 0.0
    return sensitivity * math.sqrt(releases) / sigma if sigma else math.inf


def sigma_of(mu: float, releases: int) -> float:
    """The noise under which so many releases of one residual are mu-GDP. Raises `ParameterError`."""
    if not 0 < mu < math.inf:
        raise ParameterError(f"mu lies above 0, not at {mu}")
    return math.sqrt(releases) / mu
