"""The networks of audits and rehearsals: bottoms of width 16 whose outputs are added, a top on the sum, a guide."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch
    from torch import nn

    from silo.crypto.rng import Rng

LAYERS: Final = ("linear", "two-layer")
WIDTH: Final = 16
HIDDEN: Final = 32
"""Of a bottom of two layers."""


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


def bottom(inputs: int, layers: str, source: torch.Generator, width: int = WIDTH) -> nn.Module:
    """What a party computes from its own features: one layer, or two."""
    from torch import nn

    if layers == "linear":
        return linear(inputs, width, source)
    return nn.Sequential(linear(inputs, HIDDEN, source), nn.ReLU(), linear(HIDDEN, width, source))


def top(source: torch.Generator, width: int) -> nn.Module:
    """From so many numbers of the bottoms to one logit."""
    from torch import nn

    return nn.Sequential(linear(width, WIDTH, source), nn.ReLU(), linear(WIDTH, 1, source))


def guide(source: torch.Generator, width: int) -> nn.Module:
    """One linear layer from so many activations to one logit, as in `silo.vertical.splitting.guided`."""
    return linear(width, 1, source)


def batches(count: int, size: int, source: torch.Generator) -> Iterator[torch.Tensor]:
    """One pass over the rows in a fresh order."""
    import torch

    order = torch.empty(count, dtype=torch.float64).uniform_(generator=source).argsort()
    parts: list[torch.Tensor] = list(torch.split(order, size))
    return iter(parts)


@contextmanager
def one_thread() -> Generator[None, None, None]:
    """Keep torch from splitting small products over all cores, which only costs."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
