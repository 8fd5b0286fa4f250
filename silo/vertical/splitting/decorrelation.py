"""Distance correlation between a host's columns and its activations, as a penalty that pulls it down.

Szekely, Rizzo and Bakirov, "Measuring and testing dependence by correlation of distances" (Annals of Statistics 2007),
definitions 4 and 5 (the sample's); Vepakomma et al., "NoPeek: Information leakage reduction to share activations in
distributed deep learning" (arXiv 2008.09161), which adds it to the loss.

A utility extra. It gives NO guarantee: the penalty makes it harder to rebuild columns from activations by distances,
on average over a batch. It bounds nothing that a row shows, and a bottom with a small distance correlation can still be
inverted. What bounds a leak is `silo.vertical.Noise` as `activations=`.

The sample's value is biased upwards: of two independent normal tables, both 16 wide, it is some .33 with 512 rows and
.70 with 64. Small batches have less to pull at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from silo.errors import ParameterError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Decorrelation:
    """A penalty of `weight` times the distance correlation, for each row of a batch. Raises `ParameterError`.

    No guarantee: it says nothing of a single row.
    """

    weight: float

    def __post_init__(self) -> None:
        if not 0 < self.weight < math.inf:
            raise ParameterError(f"the weight of a decorrelation is a number above 0, not {self.weight}")

    def penalty(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Columns (rows, columns), activations (rows, width): a scalar, to be added to a loss summed over rows.

        Raises `ParameterError`.
        """
        return self.weight * len(z) * distance_correlation(x, z)


def distance_correlation(x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """The distance correlation of (rows, columns) and (rows, width): a scalar from 0 to 1, in the type of `z`.

    0 where all rows of either are alike. Gradients are finite there, and where some rows coincide. Columns count by
    their size: standardise them. Time and memory grow with the square of the rows. Raises `ParameterError`.
    """
    import torch

    if x.ndim < 2 or z.ndim < 2 or len(x) != len(z):
        raise ParameterError(
            f"distance correlation is of two tables of the same rows, not of {tuple(x.shape)} and {tuple(z.shape)}"
        )
    a, b = _centred(x.flatten(1).to(z)).flatten(), _centred(z.flatten(1)).flatten()
    size = _root(a @ a) * _root(b @ b)
    varies = size > 0
    squared = (a @ b) / torch.where(varies, size, 1.0)
    return _root(torch.where(varies, squared, 0.0)).clamp(max=1.0)


def _centred(rows: torch.Tensor) -> torch.Tensor:
    """Distances between rows (n, n) in some unit, less the means of each row and column."""
    import torch

    with torch.no_grad():
        # The correlation does not depend on the unit; this one keeps squares and their sums within the type.
        unit = (rows - rows[:1]).abs().amax() if rows.numel() else rows.new_ones(())
        unit = torch.where(unit > 0, unit, 1.0)
    scaled = rows / unit
    # Without matrix products, which lose the small distances to cancellation. The gradient at a distance of 0 is 0.
    distances = torch.cdist(scaled, scaled, compute_mode="donot_use_mm_for_euclid_dist")
    means = distances.mean(dim=0)
    means = means - means.mean() / 2
    return distances - (means[:, None] + means[None, :])


def _root(square: torch.Tensor) -> torch.Tensor:
    """The square root, and 0 with a gradient of 0 where there is none."""
    import torch

    positive = square > 0
    return torch.where(positive, torch.where(positive, square, 1.0).sqrt(), 0.0)
