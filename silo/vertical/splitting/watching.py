"""A host's watch beside a fit: gradients that train its bottom for something else stop it before they are learned."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from silo.leak import networks
from silo.leak.rehearsal import rehearse
from silo.leak.watch import Watch
from silo.protocols.split.wire import FLOAT32, Rows

if TYPE_CHECKING:
    from silo.vertical.splitting.declaring import Declared
    from silo.vertical.splitting.setting import Setting

_log = logging.getLogger("silo.vertical")
_SAMPLE: Final = 2048
_RATIOS: Final = (0.5, 0.2, 0.05)
"""Of the rarest class, where nobody said it."""


class Guard:
    """Shows a watch each batch's gradients, which come in parts; without a watch it does nothing."""

    def __init__(self, watch: Watch | None = None) -> None:
        self._watch = watch
        self._parts: list[Rows] = []

    def begin(self) -> None:
        """Forget a batch that was cut off."""
        self._parts.clear()

    def came(self, gradient: Rows) -> None:
        """A part of the batch."""
        if self._watch is not None:
            self._parts.append(gradient)

    def require(self) -> None:
        """The batch is whole, and is about to be learned from. Raises `Hijacked`."""
        if self._watch is not None and self._parts:
            self._watch.saw(np.concatenate(self._parts))
        self._parts.clear()


def guard(setting: Setting, declared: Declared, width: int, party: str) -> Guard:
    """Rehearse the honest job as it was declared, with a cut of `width`. Raises `ParameterError` where that diverges.

    Where activations have noise the rehearsal is on made-up rows: when a watch stops is seen by all, and no noise
    covers it.
    """
    x, bottom = setting.x, setting.bottom
    if setting.watch is False or x is None or bottom is None:
        return Guard()
    if not any(one.requires_grad for one in bottom.parameters()):
        return Guard()
    rows = min(len(x), setting.terms.batch)
    if rows < 2:
        return Guard()
    if setting.activations is not None:
        source = networks.generator(setting.session.rng)
        sample = torch.empty((_SAMPLE, x.shape[1])).normal_(generator=source).numpy()
    else:
        sample = x[np.linspace(0, len(x) - 1, min(len(x), _SAMPLE)).astype(np.int64)]
    known = None if setting.watch is True else float(setting.watch)
    found = rehearse(
        bottom,
        sample,
        positive=_RATIOS if known is None else known,
        rng=setting.session.rng,
        sigma=declared.sigma,
        guided=declared.classes > 0,
        directions=_directions(setting, declared, width, party),
        batch=rows,
        make=setting.make,
    )
    return Guard(Watch(found, party=party))


def _directions(setting: Setting, declared: Declared, width: int, party: str) -> int:
    """In how many directions honest gradients point; 0 where that says nothing.

    In the U-shape they come back through the partner's middle; float16 and int8 round each row by itself.
    """
    if setting.u_shaped or setting.terms.wire != FLOAT32 or not declared.classes:
        return 0
    if declared.classes >= width:
        _log.warning(
            "%s: %s declares %d classes, and the cut is %d wide: a hijacker would not show by its directions",
            setting.who,
            party,
            declared.classes,
            width,
        )
        return 0
    return declared.classes
