"""What stands between a label and the gradient that is returned; one of them is a guarantee.

- none: nothing.
- max_norm (Li et al. 2022, section 4.1): each gradient is made as long as the longest of its batch by noise along
  itself. It claims nothing.
- isotropic (section 4.1): noise N(0, (s |g_max|)^2 / d) in every coordinate. Its scale follows the batch, so it is no
  mechanism of differential privacy either; the bound beside it is what a clip at |g_max| would promise.
- marvell (section 4.2): noise by the label, shaped so that the two classes of a batch look alike, of mean squared
  length s |D|^2, D the difference of the class means (`silo.vertical.splitting.marvell`). It claims nothing.
- guide: a linear layer over the host's activations. Its residuals sigmoid(z) - y get noise N(0, sigma^2), once per
  row and epoch; all that the guide learns and all that is returned is computed from those and the activations. The
  model that is used learns beside it from the true labels, on activations from which no gradient flows back. A label
  moves its residual by 1, so the whole run is mu-GDP for mu = sqrt(epochs) / sigma (`silo.leak.bound`).

The noise here comes from a seeded torch generator, for it is a simulation: it protects nobody.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from silo.crypto.errors import ParameterError
from silo.leak.bound import mu_of, sigma_of

if TYPE_CHECKING:
    import torch

NAMES: Final = ("none", "max_norm", "isotropic", "marvell", "guide")
MU: Final = 0.33
"""What the guide promises over a whole run unless told otherwise: a bound of .592."""
SCALE: Final = 4.0
"""The scale s of isotropic noise unless told otherwise."""
POWER: Final = 4.0
"""The power s of Marvell's noise unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Defence:
    """One defence; `sigma` is the guide's noise, the scale of isotropic noise, or the power of Marvell's."""

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

    def of(self, gradients: torch.Tensor, labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Gradients (records, width) as they are returned, of records with these labels (records,), 0 or 1."""
        if self.name == "isotropic":
            return _isotropic(gradients, self.sigma, generator)
        if self.name == "max_norm":
            return _max_norm(gradients, generator)
        if self.name == "marvell":
            return _marvell(gradients, labels, self.sigma, generator)
        return gradients


def _isotropic(gradients: torch.Tensor, scale: float, generator: torch.Generator) -> torch.Tensor:
    longest = gradients.norm(dim=1).max()
    returned: torch.Tensor = gradients + _normal(gradients, generator) * longest * scale / math.sqrt(
        gradients.shape[1]
    )
    return returned


def _max_norm(gradients: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    norms = gradients.norm(dim=1, keepdim=True)
    missing = (norms.max().square() - norms.square()).clamp_min(0).sqrt()
    along = gradients / norms.clamp_min(1e-30)
    stretched: torch.Tensor = gradients + along * missing * _normal(norms, generator)
    return stretched


def _marvell(
    gradients: torch.Tensor, labels: torch.Tensor, power: float, generator: torch.Generator
) -> torch.Tensor:
    import torch

    from silo.vertical.splitting import marvell

    told = labels.numpy()
    shape = marvell.fit(gradients.numpy(), told, power)
    if shape is None:
        return gradients
    noise = shape.noise(_normal(gradients, generator).numpy(), told)
    return gradients + torch.from_numpy(noise).to(gradients)


def _normal(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    import torch

    return torch.empty_like(like).normal_(generator=generator)


def named(name: str | None, sigma: float | None, epochs: int) -> Defence:
    """The defence that was asked for, the guide by default. Raises `ParameterError`."""
    chosen = name or "guide"
    if chosen not in NAMES:
        raise ParameterError(f"{chosen} is no defence: name one of {', '.join(NAMES)}")
    if sigma is None:
        usual = {"guide": sigma_of(MU, epochs), "isotropic": SCALE, "marvell": POWER}
        return Defence(chosen, usual.get(chosen, 0.0))
    if chosen not in ("guide", "isotropic", "marvell"):
        raise ParameterError(
            f"{chosen} has no noise to choose: leave --noise out, or name guide, isotropic or marvell"
        )
    if not 0 < sigma < math.inf:
        raise ParameterError(f"--noise takes a number above 0, not {sigma}")
    return Defence(chosen, sigma)
