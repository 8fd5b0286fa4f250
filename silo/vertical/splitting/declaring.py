"""How much noise there is on residuals, as the label party says it in the roll call: what a watch allows for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from silo.protocols.errors import UnlikeTerms
from silo.vertical.splitting.noise import GRADIENTS, LEAST_SIGMA, MOST_SIGMA, NoisePlan
from silo.vertical.splitting.randomized import RandomizedLabels

if TYPE_CHECKING:
    from silo.vertical.splitting.setting import Setting

_NONE: Final = "0"
_TOLD: Final = "told at random"
"""Labels; their residuals are exact."""
_LONGEST: Final = 24


def word(how: NoisePlan | RandomizedLabels | None) -> str:
    """What the label party says."""
    if isinstance(how, RandomizedLabels):
        return _TOLD
    return _NONE if how is None else f"{how.noise_multiplier:g}"


def sigma(how: NoisePlan | RandomizedLabels | None) -> float:
    """The noise on residuals; 0 for none."""
    return how.noise_multiplier if isinstance(how, NoisePlan) else 0.0


def read(setting: Setting, said: str) -> float:
    """The noise that was declared. Raises `UnlikeTerms` for what cannot be, and for none where noise was agreed on."""
    vertical = setting.session.charter.vertical
    if said == _NONE and vertical is not None and GRADIENTS in vertical.noised:
        raise UnlikeTerms(
            "the label party declares no noise on residuals, and the charter lets no gradient leave without"
        )
    if said in (_NONE, _TOLD):
        return 0.0
    try:
        found = float(said) if len(said) <= _LONGEST else -1.0
    except ValueError:
        found = -1.0
    if not LEAST_SIGMA <= found <= MOST_SIGMA:
        raise UnlikeTerms(
            f"the label party declares a noise on residuals that cannot be: {said[:_LONGEST]!r}"
        )
    return found
