"""The network of `silo demo split`, and the noise on what its label party returns: public constants for all.

The label party's top takes its own bottom's output and behind it the sum of the others'. Between two organisations that
sum is the one host's output as it is. Among three it is all that the label party sees: outputs travel as ring words
under masks, which hold numbers up to 128 only (`silo.protocols.split.words`), so that there bottoms end in a bound.

A host's bottom is one linear layer: it learns from noised residuals, and the noise harms few weights less than many.
The label party's own learns from the true labels and never leaves, so it may have a hidden layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import torch
from torch import nn

from silo.demo import split_data
from silo.vertical import Noise

NAME: Final = "split"
EPSILON: Final = 1.4
DELTA: Final = 1e-5
"""The budget of the label party's labels, all of which goes into one fit."""
NOISE: Final = Noise(epsilon=EPSILON, delta=DELTA)
BOUND: Final = 16.0
"""No activation among three organisations is larger."""
_SEED: Final = 20


class Bounded(nn.Module):
    """x as it is while it is small, and never beyond `BOUND`: BOUND tanh(x / BOUND)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return BOUND * torch.tanh(x / BOUND)


@dataclass(frozen=True, slots=True)
class Network:
    """Its widths, and how it trains in the words of `silo.vertical.SplitNetwork`; all members have it alike."""

    epochs: int
    batch: int
    lr: float = 0.003
    finish: int = 0
    cut: int = 16
    hidden: int = 32
    """The hidden layer of the label party's bottom; 0 is none."""

    def options(self) -> dict[str, Any]:
        """What all members pass alike."""
        return {"epochs": self.epochs, "batch": self.batch, "lr": self.lr, "finish": self.finish}

    def bottom(self, place: int, columns: int, members: int) -> nn.Module:
        """The bottom of the organisation at `place` of so many, the label party at 0; its first weights are public."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED + place)
            layers: list[nn.Module] = [nn.Linear(columns, self.cut)]
            if place == 0 and self.hidden:
                layers = [nn.Linear(columns, self.hidden), nn.ReLU(), nn.Linear(self.hidden, self.cut)]
        return nn.Sequential(*layers, *([Bounded()] if members > 2 else []))

    def top(self, *, alone: bool = False) -> nn.Module:
        """The label party's top, of one logit; `alone` is that of its own columns. Its first weights are public."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED - 1)
            width = self.cut if alone else 2 * self.cut
            return nn.Sequential(nn.Linear(width, self.cut), nn.ReLU(), nn.Linear(self.cut, 1))


class Joined(nn.Module):
    """All bottoms in one process, the label party's first: what pooled columns are trained with."""

    def __init__(self, network: Network, columns: Sequence[int]) -> None:
        super().__init__()
        self.ends = list(accumulate(columns))[:-1]
        self.bottoms = nn.ModuleList(
            network.bottom(place, count, len(columns)) for place, count in enumerate(columns)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(rows, 2 cut) of all columns side by side: the first bottom's output, and the sum of the others'."""
        parts = x.tensor_split(self.ends, dim=1)
        own, *others = [one(part) for one, part in zip(self.bottoms, parts, strict=True)]
        return torch.cat([own, torch.stack(others).sum(dim=0)], dim=1)


NETWORKS: Final[Mapping[str, Network]] = {
    split_data.BREAST: Network(20, 128, lr=0.005, finish=20),
    split_data.CREDITS: Network(20, 512, finish=20),
    split_data.BANKING: Network(10, 512, lr=0.001, finish=20, cut=20, hidden=0),
}
"""By the kind of data."""
