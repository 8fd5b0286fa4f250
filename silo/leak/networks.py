"""What audits and rehearsals train in place of the real modules: a top on the sum of bottoms of width 16, a guide."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch
    from torch import nn

    from silo.crypto.rng import Rng

WIDTH: Final = 16


def generator(rng: Rng) -> torch.Generator:
    """A seeded generator for simulations only: what it draws protects nobody."""
    import torch

    return torch.Generator().manual_seed(int.from_bytes(rng.bytes(7), "little"))


def linear(inputs: int, outputs: int, source: torch.Generator) -> nn.Linear:
    """A linear layer with torch's usual initial weights, drawn from `source`."""
    from torch import nn

    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)  # type: ignore[no-untyped-call]
    limit = 1 / math.sqrt(inputs)
    nn.init.uniform_(layer.weight, -limit, limit, generator=source)
    nn.init.uniform_(layer.bias, -limit, limit, generator=source)
    return layer


def top(source: torch.Generator, width: int) -> nn.Module:
    """From so many numbers of the bottoms to one logit."""
    from torch import nn

    return nn.Sequential(linear(width, WIDTH, source), nn.ReLU(), linear(WIDTH, 1, source))


def guide(source: torch.Generator, width: int) -> nn.Module:
    """One linear layer from so many activations to one logit, as in `silo.vertical.splitting.guided`."""
    return linear(width, 1, source)
