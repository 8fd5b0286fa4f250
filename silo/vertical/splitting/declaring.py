"""How labels are protected, as the label party says it in the roll call: what a host's watch allows for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from silo.protocols.errors import UnlikeTerms
from silo.protocols.split.terms import MOST_WIDTH
from silo.vertical.splitting.noise import GRADIENTS, LEAST_SIGMA, MOST_SIGMA, NoisePlan
from silo.vertical.splitting.randomized import RandomizedLabels

if TYPE_CHECKING:
    from silo.vertical.splitting.setting import Setting

_NONE: Final = "0"
_TOLD: Final = "told"
"""Labels, at random; their residuals are exact."""
_LONGEST: Final = 32


@dataclass(frozen=True, slots=True)
class Declared:
    """The noise on residuals, 0 for none; and how many classes a guide learns, 0 where there is no guide."""

    sigma: float
    classes: int


def word(how: NoisePlan | RandomizedLabels | None, classes: int) -> str:
    """What the label party says. Logits it cannot say yet: how many there are follows from what the others say."""
    if how is None:
        return _NONE
    noise = _TOLD if isinstance(how, RandomizedLabels) else f"{how.noise_multiplier:g}"
    return f"{noise} of {classes}"


def read(setting: Setting, said: str) -> Declared:
    """What was declared. Raises `UnlikeTerms` for what cannot be, and for what the charter does not grant."""
    vertical = setting.session.charter.vertical
    if said == _NONE:
        if vertical is not None and GRADIENTS in vertical.noised:
            raise UnlikeTerms(
                "the label party declares no noise on residuals, and the charter lets no gradient leave without"
            )
        return Declared(0.0, 0)
    noise, _, classes = said[:_LONGEST].partition(" of ")
    sigma = 0.0 if noise == _TOLD else _number(noise)
    many = int(classes) if classes.isascii() and classes.isdecimal() else 0
    if not (noise == _TOLD or LEAST_SIGMA <= sigma <= MOST_SIGMA) or not 2 <= many <= MOST_WIDTH:
        raise UnlikeTerms(
            f"the label party declares a noise on residuals that cannot be: {said[:_LONGEST]!r}"
        )
    if vertical is not None and vertical.classes is not None and many > vertical.classes:
        raise UnlikeTerms(
            f"the label party declares {many} classes, and the charter agrees on {vertical.classes} at most: "
            "a hijacker could hide in the further directions"
        )
    return Declared(sigma, many)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1.0
