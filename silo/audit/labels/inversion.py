"""Feature inversion: what the receiver of activations reads of the features behind them.

The receiver has auxiliary records of the same kind with their features and activations (it may know some customers of
its own), and learns a decoder from them (He et al., "Model inversion attacks against collaborative inference", ACSAC
2019, section 4.2, the query-free case with known pairs). The error is in units of the trivial predictor's, which says
the mean of every feature: 1 is nothing learnt. A linear bottom at least as wide as its input hides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from silo.crypto.rng import Rng

Array = npt.NDArray[Any]

_HIDDEN: Final = 64
_STEPS: Final = 400
_BATCH: Final = 256


def invert(auxiliary: tuple[Array, Array], attacked: tuple[Array, Array], *, rng: Rng) -> float:
    """The error of a decoder, relative to the trivial predictor's; pairs are (activations, features)."""
    import torch
    from torch import nn
    from torch.nn.functional import mse_loss

    from silo.leak.networks import generator, linear

    source = generator(rng)
    activations, features = auxiliary
    mean, spread = activations.mean(axis=0), np.maximum(activations.std(axis=0), 1e-9)
    given, wanted = (torch.from_numpy(one) for one in ((activations - mean) / spread, features))
    straight = linear(given.shape[1], wanted.shape[1], source)
    bent = nn.Sequential(
        linear(given.shape[1], _HIDDEN, source), nn.ReLU(), linear(_HIDDEN, wanted.shape[1], source)
    )
    optimizer = torch.optim.Adam([*straight.parameters(), *bent.parameters()], 1e-2)
    for _ in range(_STEPS):
        rows = (torch.empty(_BATCH).uniform_(generator=source) * len(given)).long()
        optimizer.zero_grad()
        x = given[rows]
        mse_loss(straight(x) + bent(x), wanted[rows]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        seen = torch.from_numpy((attacked[0] - mean) / spread)
        guessed = (straight(seen) + bent(seen)).numpy()
    trivial = float(np.square(attacked[1] - features.mean(axis=0)).mean())
    return float(np.square(attacked[1] - guessed).mean()) / trivial if trivial else 1.0
