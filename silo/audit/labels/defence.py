"""What stands between a label and the gradient that is returned; one of them is a guarantee.

- none: nothing.
- max_norm (Li et al. 2022, section 4.1): each gradient is made as long as the longest of its batch by noise along
  itself. It claims nothing.
- isotropic (section 4.1): noise N(0, (s |g_max|)^2 / d) in every coordinate. Its scale follows the batch, so it is no
  mechanism of differential privacy either; the bound beside it is what a clip at |g_max| would promise.
- guide: the holder of the labels keeps a second bottom and top, the guide. Its residuals sigmoid(z) - y get noise
  N(0, sigma^2), once per row and epoch; all that the guide learns and all that is returned, J^T of the noised
  residual, is computed from those. The model that is used learns beside it from the true labels, on activations from
  which no gradient flows back. A label moves its residual by 1, so the whole run is mu-GDP for mu = sqrt(epochs) /
  sigma (`silo.audit.labels.bound`).

The noise here comes from a seeded torch generator, for it is a simulation: it protects nobody.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from silo.audit.labels.bound import mu_of, sigma_of
from silo.crypto.errors import ParameterError

if TYPE_CHECKING:
    import torch

NAMES: Final = ("none", "max_norm", "isotropic", "guide")
MU: Final = 0.33
"""What the guide promises over a whole run unless told otherwise: a bound of .592."""
SCALE: Final = 4.0
"""The scale s of isotropic noise unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Defence:
    """One defence; `sigma` is the guide's noise, or the scale of isotropic noise."""

    name: str
    sigma: float = 0.0

    def mu(self, epochs: int, width: int) -> float:
        """What is promised after so many epochs; infinite where nothing is."""
        if self.name == "guide":
            return mu_of(self.sigma, epochs)
        if self.name == "isotropic":
            return mu_of(self.sigma, epochs, 2 * math.sqrt(width))
        return math.inf if epochs else 0.0

    @property
    def guaranteed(self) -> bool:
        """Whether the bound is a theorem about what is done."""
        return self.name == "guide"

    def of(self, gradients: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Gradients (records, width) as they are returned."""
        import torch

        if self.name not in ("max_norm", "isotropic"):
            return gradients
        norms = gradients.norm(dim=1, keepdim=True)
        longest = norms.max()
        if self.name == "isotropic":
            noise = torch.empty_like(gradients).normal_(generator=generator)
            returned: torch.Tensor = gradients + noise * longest * self.sigma / math.sqrt(gradients.shape[1])
            return returned
        missing = (longest.square() - norms.square()).clamp_min(0).sqrt()
        along = gradients / norms.clamp_min(1e-30)
        stretched: torch.Tensor = gradients + along * missing * torch.empty_like(norms).normal_(
            generator=generator
        )
        return stretched


def named(name: str | None, sigma: float | None, epochs: int) -> Defence:
    """The defence that was asked for, the guide by default. Raises `ParameterError`."""
    chosen = name or "guide"
    if chosen not in NAMES:
        raise ParameterError(f"{chosen} is no defence: name one of {', '.join(NAMES)}")
    if sigma is None:
        return Defence(chosen, {"guide": sigma_of(MU, epochs), "isotropic": SCALE}.get(chosen, 0.0))
    if chosen not in ("guide", "isotropic"):
        raise ParameterError(
            f"{chosen} has no noise to choose: leave --noise out, or name guide or isotropic"
        )
    if not 0 < sigma < math.inf:
        raise ParameterError(f"--noise takes a number above 0, not {sigma}")
    return Defence(chosen, sigma)
