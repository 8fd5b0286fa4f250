"""The label party's modules, where nothing of their learning may be told: beside a guide, and alone at the end.

Not even by an error: whether a row's real residual overflows says what its label is. So nothing that goes wrong here
ends the fit. A batch whose gradients are not finite, or in which a module fails, is left out, and `lost` counts it. The
real modules draw from a state of torch's generators that is put back, so that none of their draws moves those of a
bottom whose activations leave.
"""

from __future__ import annotations

import torch

from silo.protocols.split.schedule import Places
from silo.protocols.split.wire import Rows
from silo.vertical.splitting.part import Part, backward, rows_of, tensor_of
from silo.vertical.splitting.passing import Pass
from silo.vertical.splitting.residuals import loss_of


class Quiet:
    """Trains a part from true labels, and raises nothing."""

    def __init__(self, part: Part, x: Rows | None, labels: torch.Tensor) -> None:
        self.part, self._x, self._labels = part, x, labels
        self._failed, self.lost = False, 0
        devices = {p.device for one in part.modules.values() for p in one.parameters()}
        self.devices = [one.index or 0 for one in devices if one.type == "cuda"]

    def learn(self, places: Places, activations: Rows) -> Rows | None:
        """Take in some rows; their logits, (rows, logits), or None if that failed."""
        with torch.random.fork_rng(self.devices):
            try:
                one = Pass(self.part, None if self._x is None else self._x[places])
                made = one.logits(tensor_of(activations, self.part.modules["top"]))
                backward(loss_of(made, self._labels[places]))
                one.settle()
                return rows_of(made)
            except Exception:  # of any module: see above
                self._failed = True
                return None

    def step(self, rows: int) -> None:
        """Move by the batch's gradients, if all of them are numbers."""
        failed, self._failed = self._failed, False
        with torch.random.fork_rng(self.devices):
            try:
                gradients = [p.grad for p in self.part.trained if p.grad is not None]
                if not failed and all(bool(torch.isfinite(one).all()) for one in gradients):
                    self.part.step(rows)
                    return
            except Exception:  # of any optimiser, or kind of gradient: see above  # noqa: S110
                pass
        self.lost += 1
        for p in self.part.trained:
            p.grad = None
