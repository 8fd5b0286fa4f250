"""A hijack that hides behind huge numbers, at activations from which the bottom does not learn."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from silo.crypto.rng import SystemRng  # noqa: E402
from silo.leak.rehearsal import rehearse  # noqa: E402
from silo.leak.watch import Hijacked, Watch  # noqa: E402
from silo.vertical.splitting.bottoms import Bottom  # noqa: E402
from silo.vertical.splitting.part import Part  # noqa: E402
from silo.vertical.splitting.watching import Guard  # noqa: E402

BATCH, WIDTH, CLASSES = 256, 16, 2
Array = Any


def nothing(gradient: Array, shut: Array) -> None:
    """The attack as it was published."""


def one(gradient: Array, shut: Array) -> None:
    row, unit = np.argwhere(shut)[0]
    gradient[row, unit] = 1e5


def one_a_row(gradient: Array, shut: Array) -> None:
    rows = np.flatnonzero(shut.any(axis=1))
    gradient[rows, shut[rows].argmax(axis=1)] = 1e12


def all_shut(gradient: Array, shut: Array) -> None:
    gradient[shut] = 1e9


@pytest.mark.parametrize("hide", [nothing, one, one_a_row, all_shut])
def test_a_hijacker_beneath_a_declared_guide_shows_in_the_first_batch(
    hide: Callable[[Array, Array], None],
) -> None:
    """Claimed (docs/split.md): a hijacker's gradients point in more directions than a guide's. The bottom ends in a
    ReLU, so who sees activations sees which are shut; a huge number there held nearly all of the batch's energy, and
    300 batches of the hijack were learned."""
    draw = np.random.default_rng(4)
    torch.manual_seed(2)
    x = draw.normal(size=(2048, 6)).astype(np.float32)
    bottom, encoder = (nn.Sequential(nn.Linear(6, WIDTH), nn.ReLU()) for _ in range(2))
    with torch.no_grad():
        aims = encoder(torch.from_numpy(x)).numpy()

    def make(parameters: Any) -> Any:
        return torch.optim.Adam(parameters, lr=0.01)

    honest = rehearse(
        copy.deepcopy(bottom),
        x,
        positive=(0.5, 0.2, 0.05),
        rng=SystemRng(),
        sigma=8.0,
        guided=True,
        directions=CLASSES,
        batch=BATCH,
        make=make,
    )
    host = Bottom(Part({"bottom": bottom}, make), x, lambda done: None)
    host.guard = Guard(Watch(honest, party="bank"))
    host.begin(0)
    places = draw.permutation(len(x))[:BATCH]
    sent = host.forward(places)
    gradient = sent - aims[places]
    hide(gradient, sent == 0)
    host.backward(gradient.astype(np.float32))
    with pytest.raises(Hijacked, match="point elsewhere for each record"):
        host.step(BATCH)
