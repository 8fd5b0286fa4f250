"""The networks of the benchmark of split learning: a small one, and one of a more usual width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from torch import nn

BATCH: Final = 512
NOISE_MULTIPLIER: Final = 13.55
"""mu .33 over 20 epochs."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Widths of the hidden layers of each bottom, of the cut, and of the top's hidden layer."""

    hidden: tuple[int, ...]
    cut: int
    head: int


SHAPES: Final = {"small": Shape((32,), 16, 16), "wide": Shape((256, 256), 64, 128)}


def bottom(columns: int, shape: Shape) -> nn.Module:
    """(rows, columns) to (rows, cut)."""
    return _dense((columns, *shape.hidden, shape.cut))


def top(shape: Shape) -> nn.Module:
    """(rows, 2 cut) to one logit."""
    from torch import nn

    return nn.Sequential(nn.ReLU(), _dense((2 * shape.cut, shape.head, 1)))


def joined(columns: tuple[int, int], shape: Shape) -> nn.Module:
    """Both bottoms in one process."""
    import torch
    from torch import nn

    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bottoms = nn.ModuleList(bottom(count, shape) for count in columns)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            parts = x.tensor_split([columns[0]], dim=1)
            return torch.cat([one(part) for one, part in zip(self.bottoms, parts, strict=True)], dim=1)

    return Joined()


def network(session: Any, what: str, *, labelled: bool, columns: int, epochs: int) -> Any:
    """A member's estimator; `what` is shape-noised or shape-plain/micro-batches, as `wide-plain/2`."""
    from silo.vertical import Noise, SplitNetwork

    kind, _, micro = what.partition("/")
    name, _, noise = kind.partition("-")
    shape = SHAPES[name]
    own: dict[str, Any] = {"top": top(shape)} if labelled else {}
    if labelled and noise == "noised":
        own["gradients"] = Noise(noise_multiplier=NOISE_MULTIPLIER)
    made = bottom(columns, shape)
    return SplitNetwork(session, bottom=made, epochs=epochs, batch=BATCH, micro_batches=int(micro), **own)


def warm_up() -> None:
    """Train for a moment in this process: what torch imports and allocates at first is none of the protocol's."""
    import numpy as np

    from silo.vertical import SplitNetwork
    from silo.vertical.splitting import fitting as fitting

    shape = SHAPES["small"]
    x, y = np.zeros((8, 4), np.float32), np.arange(8) % 2
    SplitNetwork(bottom=joined((2, 2), shape), top=top(shape), epochs=1, batch=4).fit(x, y)


def _dense(widths: tuple[int, ...]) -> nn.Module:
    """Linear layers with ReLU between them."""
    from itertools import pairwise

    from torch import nn

    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.ReLU()] if layers else []
        layers.append(nn.Linear(before, after))
    return nn.Sequential(*layers)
