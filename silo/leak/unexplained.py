"""What is left of an attack's figure when what features tell of the labels is taken off.

An AUC is that of a signal of d' = sqrt(2) quantile(AUC), and signals that do not depend on each other add up by
squares. What features tell is taken to be what the real model tells of the rows that it learns from: more than they do
where it learned rows by heart, and then less is left than there is.
"""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist
from typing import Final

from silo.leak.reading import Attack

_NORMAL: Final = NormalDist()
_MOST: Final = 1 - 1e-12
"""Nearer to 1 the normal quantile would be without end."""


def unexplained(found: float, features: float) -> float:
    """The AUC that is left of an attack's; one half if nothing is."""
    whole, part = (_NORMAL.inv_cdf(min(max(one, 0.5), _MOST)) for one in (found, features))
    return _NORMAL.cdf(math.sqrt(max(whole * whole - part * part, 0.0)))


def beyond(attack: Attack, features: float) -> Attack:
    """The attack with the less of both figures: among records of a like prior, and with what features tell taken off.

    The ends of its interval lie as far from the figure over all records.
    """
    off = attack.accumulated - attack.beyond_features
    ends = [attack.beyond_features, attack.low, attack.high]
    less = [min(one, unexplained(one + off, features)) for one in ends]
    return replace(attack, beyond_features=less[0], low=less[1], high=less[2])
