"""Whether guide and real modules are apart: tried out, before a fit, on made-up rows.

Copies of a module share what Python does not copy: a function that hooks or closures hold, an optimiser's history in
the maker that was passed. Through such a thing true labels reach the guide. So two real parts learn from opposite
labels, each beside a guide, and both guides have to come out alike, bit for bit. What only some rows set off, or what
is told to the outside, this does not find.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from silo.errors import ParameterError
from silo.vertical.splitting import modules
from silo.vertical.splitting.building import tops
from silo.vertical.splitting.part import backward, rows_of, tensor_of
from silo.vertical.splitting.passing import Pass
from silo.vertical.splitting.quiet import Quiet
from silo.vertical.splitting.residuals import Labels
from silo.vertical.splitting.setting import Setting

_ROWS: Final = 8
_STEPS: Final = 3
_SEED: Final = 1


def require(setting: Setting, width: int) -> None:
    """Refuse modules and an optimiser through which labels reach the guide. Raises `ParameterError`."""
    if not setting.guided:
        return
    kinds = np.arange(_ROWS) % setting.classes
    one, other = (_guide(setting, width, labels) for labels in (kinds, (kinds + 1) % setting.classes))
    if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, other, strict=True)):
        raise ParameterError(
            f"{setting.who}: other labels at the real modules change the guide: a module or optimizer= holds something "
            "that its copies share, such as a function with a memory; give each copy its own"
        )


def _guide(setting: Setting, width: int, labels: Labels) -> list[npt.NDArray[Any]]:
    """What a guide returns and becomes, beside a real part that learns from these labels."""
    real, guide = tops(setting, own=not setting.u_shaped)
    if guide is None:
        return []
    own = None
    if "bottom" in real.modules:
        own = np.linspace(-1.0, 1.0, _ROWS * setting.columns, dtype=np.float32).reshape(_ROWS, -1)
    came = np.linspace(1.0, -1.0, _ROWS * width, dtype=np.float32).reshape(_ROWS, -1)
    quiet, places = Quiet(real, own, torch.from_numpy(labels)), np.arange(_ROWS)
    found: list[npt.NDArray[Any]] = []
    with torch.random.fork_rng(quiet.devices):
        torch.manual_seed(_SEED)
        for part in (real, guide):
            part.train()
        for _ in range(_STEPS):
            one = Pass(guide, own)
            shown = tensor_of(came, guide.modules["top"]).requires_grad_()
            made = one.logits(shown)
            backward(made, torch.linspace(-0.5, 0.5, made.numel()).reshape(made.shape).to(made))
            one.settle()
            quiet.learn(places, came)
            found += [rows_of(made), modules.blank(1, 1) if shown.grad is None else rows_of(shown.grad)]
            guide.step(_ROWS)
            quiet.step(_ROWS)
    return [*found, *guide.arrays().values()]
