"""Whether the owner's bottom and its real top are apart, in the U-shape: tried out, before a fit, on made-up rows.

What the bottom makes leaves, and the real top learns true labels. Copies of a module share what Python does not copy: a
function that hooks or closures hold, an optimiser's history in the maker that was passed. Through such a thing labels
reach the bottom. So two real tops learn from opposite labels, each beside a bottom, and both bottoms have to come out
alike, bit for bit. What only some rows or later steps set off, or what is told to the outside, it does not
find. Between members no module of the label party leaves a trace in what hosts get, and there is nothing to try.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from silo.errors import ParameterError
from silo.vertical.splitting import building
from silo.vertical.splitting.modules import outputs
from silo.vertical.splitting.part import Part, backward, rows_of, tensor_of
from silo.vertical.splitting.quiet import Quiet
from silo.vertical.splitting.residuals import Labels
from silo.vertical.splitting.setting import Setting

_ROWS: Final = 8
_STEPS: Final = 12
_SEED: Final = 1


def require(setting: Setting, back: int) -> None:
    """Refuse modules and an optimiser through which labels reach the bottom. Raises `ParameterError`."""
    if not setting.guided:
        return
    kinds = np.arange(_ROWS) % setting.classes
    one, other = (_bottom(setting, back, labels) for labels in (kinds, (kinds + 1) % setting.classes))
    if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, other, strict=True)):
        raise ParameterError(
            f"{setting.who}: other labels at the real top change the bottom: a module or optimizer= holds something "
            "that its copies share, such as a function with a memory; give each copy its own"
        )


def _bottom(setting: Setting, back: int, labels: Labels) -> list[npt.NDArray[Any]]:
    """What a bottom makes and becomes, beside a real top that learns from these labels."""
    module = building.required(setting, setting.bottom, "bottom")
    part, real = Part({"bottom": module}, setting.make), building.real(setting, own=False)
    own = part.modules["bottom"]
    x = np.linspace(-1.0, 1.0, _ROWS * setting.columns, dtype=np.float32).reshape(_ROWS, -1)
    came = np.linspace(1.0, -1.0, _ROWS * back, dtype=np.float32).reshape(_ROWS, -1)
    quiet, places = Quiet(real, None, torch.from_numpy(labels)), np.arange(_ROWS)
    found: list[npt.NDArray[Any]] = []
    with torch.random.fork_rng(quiet.devices):
        torch.manual_seed(_SEED)
        for each in (part, real):
            each.train()
        for _ in range(_STEPS):
            made = outputs(own, tensor_of(x, own))
            found.append(rows_of(made))
            if made.requires_grad:
                backward(made, torch.linspace(-0.5, 0.5, made.numel()).reshape(made.shape).to(made))
            quiet.learn(places, came)
            part.step(_ROWS)
            quiet.step(_ROWS)
    return [*found, *part.arrays().values()]
