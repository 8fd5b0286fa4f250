"""The bottoms of the audit's reference job, of one layer or two, and how it goes through the rows."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from silo.leak.networks import WIDTH, linear

if TYPE_CHECKING:
    import torch
    from torch import nn

LAYERS: Final = ("linear", "two-layer")
HIDDEN: Final = 32
"""Of a bottom of two layers."""


def bottom(inputs: int, layers: str, source: torch.Generator, width: int = WIDTH) -> nn.Module:
    """What a party computes from its own features: one layer, or two."""
    from torch import nn

    if layers == "linear":
        return linear(inputs, width, source)
    return nn.Sequential(linear(inputs, HIDDEN, source), nn.ReLU(), linear(HIDDEN, width, source))


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
