"""The network of `silo demo split`, and the noise on what its label party returns: public constants for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any, Final

import torch
from torch import nn

from silo.vertical import Noise

NAME: Final = "split"
EPSILON: Final = 1.4
DELTA: Final = 1e-5
"""The budget of the label party's labels, all of which goes into one fit."""
NOISE: Final = Noise(epsilon=EPSILON, delta=DELTA)
CUT: Final = 16
_HIDDEN: Final = 32
_SEED: Final = 20


@dataclass(frozen=True, slots=True)
class Network:
    """How it trains; the names are those of `silo.vertical.SplitNetwork`."""

    epochs: int
    batch: int
    lr: float = 0.003
    finish: int = 0


SETTINGS: Final[Mapping[str, Network]] = {
    "full": Network(20, 512, finish=20),
    "default": Network(20, 128, lr=0.005, finish=20),
}


def options(setting: str) -> dict[str, Any]:
    """What all members pass alike."""
    return asdict(SETTINGS[setting])


def bottom(place: int, columns: int) -> nn.Module:
    """The bottom of the organisation at `place`; its first weights are public."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED + place)
        return nn.Sequential(nn.Linear(columns, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, CUT))


def top(width: int) -> nn.Module:
    """The label party's top, of one logit; its first weights are public."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED - 1)
        return nn.Sequential(nn.ReLU(), nn.Linear(width, CUT), nn.ReLU(), nn.Linear(CUT, 1))


class Joined(nn.Module):
    """All bottoms in one process, the label party's first: what pooled columns are trained with."""

    def __init__(self, columns: Sequence[int]) -> None:
        super().__init__()
        self.ends = list(accumulate(columns))[:-1]
        self.bottoms = nn.ModuleList(bottom(place, count) for place, count in enumerate(columns))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(rows, places * cut) of all columns side by side."""
        parts = x.tensor_split(self.ends, dim=1)
        return torch.cat([one(part) for one, part in zip(self.bottoms, parts, strict=True)], dim=1)
