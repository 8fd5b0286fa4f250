"""Members of a split network in one process: their columns, their modules, and the network they make together."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import silo
from silo.charter import Vertical
from silo.protocols.vertical.context import MODELS
from silo.vertical import SplitNetwork

NAMES = ("bank", "cards", "telecom")
ROWS = 120
CUT = 5
_DRAW = np.random.default_rng(11)
X = {name: _DRAW.normal(size=(ROWS, width)) for name, width in zip(NAMES, (3, 2, 4), strict=True)}
_SCORE = 2 * X["bank"][:, 0] + 2 * X["telecom"][:, 1] - X["cards"][:, 0]
Y = (_SCORE + 0.3 * _DRAW.normal(size=ROWS) > 0).astype(int)
THREE = np.digitize(_SCORE, [-1.0, 1.0])
STRICT = Vertical(MODELS, rows=10_000, passes=100)
OPEN = Vertical(MODELS, rows=10_000, passes=100, noised=())


def fixed(module: nn.Module, seed: int) -> nn.Module:
    """The module with weights that follow from a seed, in whichever thread it is made."""
    draw = np.random.default_rng(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.from_numpy(draw.uniform(-0.4, 0.4, tuple(p.shape))))
    return module


def bottom(name: str) -> nn.Module:
    return fixed(nn.Sequential(nn.Linear(X[name].shape[1], CUT), nn.Tanh()), len(name))


def top(width: int = 2 * CUT, logits: int = 1) -> nn.Module:
    return fixed(nn.Sequential(nn.Linear(width, 6), nn.ReLU(), nn.Linear(6, logits)), 7)


class Joined(nn.Module):
    """All bottoms side by side: the own output first, if any, behind it the sum of the others'."""

    def __init__(self, names: Sequence[str], *, own: bool = True) -> None:
        super().__init__()
        self.bottoms = nn.ModuleDict({name: copy.deepcopy(bottom(name)) for name in names})
        self.widths = [X[name].shape[1] for name in names]
        self.own = own

    def forward(self, x: Any) -> Any:
        parts = torch.split(x, self.widths, dim=1)
        made = [one(part) for one, part in zip(self.bottoms.values(), parts, strict=True)]
        if not self.own:
            return torch.stack(made).sum(0)
        return torch.cat([made[0], torch.stack(made[1:]).sum(0)], dim=1)


def member(session: silo.Session, **options: Any) -> SplitNetwork:
    """The estimator of a member, which all make alike; `options` by name go to that member alone."""
    name = session.me
    settings: dict[str, Any] = {"epochs": 3, "batch": 40, "lr": 0.01, "bottom": bottom(name)}
    if name == "bank":
        settings["top"] = top()
    for key, value in options.items():
        if key in NAMES:
            settings |= value if key == name else {}
        else:
            settings[key] = value
    return SplitNetwork(session, **settings)


def fitted(session: silo.Session, y: Any = Y, **options: Any) -> SplitNetwork:
    return member(session, **options).fit(X[session.me], y if session.me == "bank" else None)


def together(work: Any, names: Sequence[str] = ("bank", "telecom"), **options: Any) -> dict[str, Any]:
    """Run `work(session)` at each member."""
    if len(names) == 2:
        options["two_party"] = silo.TWO_PARTY_WORDS
    return silo.simulate(list(names), work, **options)


def saved(path: Path) -> Path:
    """Fit, and write telecom's part to a file."""

    def work(session: silo.Session) -> None:
        model = fitted(session, epochs=1, watch=False)
        if session.me == "telecom":
            model.save(path)

    together(work)
    return path


def table(names: Sequence[str]) -> Any:
    return np.hstack([X[name] for name in names])
