"""The label party's side where labels are protected: hosts get the gradients of a guide, and nothing of the real top.

The guide is one linear layer over the activations. It learns from protected residuals alone, and is made here: no
module, column or label of the label party is in it. So all that leaves is worked out from activations and protected
residuals. Noise on each returned gradient of the real top would not do: the real top's parameters carry the labels of
other rows, and of this row in earlier epochs, into what is returned; and its slope at a row shows the own columns.

The real top and own bottom learn beside it, from the same activations and the true labels; nothing of them leaves, not
even that they diverged. Under a guide hosts learn what adds up to the logits; what holds between members' columns is
for the real top to find. As the guide's slope is the same at every row, no gradient's length tells of features either.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from silo.protocols.split.schedule import Places
from silo.protocols.split.wire import Rows, require_finite
from silo.vertical.splitting.metering import LiveMeter
from silo.vertical.splitting.modules import outputs
from silo.vertical.splitting.part import Arrays, Keep, Part, backward, headed, rows_of, under
from silo.vertical.splitting.quiet import Quiet
from silo.vertical.splitting.residuals import Labels, Residuals
from silo.vertical.splitting.tops import Top


class GuidedTop(Top):
    """`rate` is the guide's first learning rate, ever smaller over `epochs`; activations are `width` wide."""

    def __init__(
        self,
        real: Part,
        x: Rows | None,
        labels: Labels,
        keep: Keep,
        *,
        who: str,
        residuals: Residuals,
        width: int,
        logits: int,
        rate: float,
        epochs: int,
        meter: LiveMeter | None = None,
    ) -> None:
        super().__init__(real, x, labels, keep, who=who, meter=meter)
        # Its optimiser is none of the script's, whose memory could hold true labels.
        self.guide = Part(
            {"guide": nn.Linear(width, logits, device="cpu", dtype=torch.float32)},
            lambda p: torch.optim.Adam(p, lr=rate),
        )
        self.guide.slowing = epochs
        self.residuals = residuals
        self._quiet = Quiet(real, x, self._labels)
        self._sent: tuple[Places, Rows, Rows, Rows] | None = None

    def begin(self, epoch: int) -> None:
        super().begin(epoch)
        self._sent = None
        self.guide.begin(epoch)
        self.residuals.begin(epoch)

    def exchange(self, places: Places, activations: Rows) -> Rows:
        self.settle()
        shown = torch.from_numpy(activations).requires_grad_()
        made = outputs(self.guide.modules["guide"], shown)
        logits = rows_of(made)
        require_finite(logits, f"{self._who}: the guide gave", self._first)
        exact = made.detach().to(torch.float64).numpy()
        backward(made, torch.from_numpy(self.residuals.of(exact, places)).to(made))
        self._first += len(places)
        returned = np.zeros_like(activations) if shown.grad is None else rows_of(shown.grad)
        self._sent = places, activations, logits, returned
        return returned

    def settle(self) -> None:
        if self._sent is None:
            return
        (places, activations, logits, returned), self._sent = self._sent, None
        real = self._quiet.learn(places, activations)
        if self.meter is not None:
            self.meter.saw(places, returned, logits, real)

    def step(self, rows: int) -> None:
        super().step(rows)
        self.guide.step(rows)
        self._quiet.step(rows)
        self.lost = self._quiet.lost

    def arrays(self) -> Arrays:
        found = super().arrays()
        found |= headed("guide", self.guide.arrays())
        return found | headed("labels", self.residuals.arrays())

    def load_told(self, arrays: Arrays) -> None:
        self.residuals.load(under("labels", arrays))

    def load(self, arrays: Arrays) -> None:
        super().load(arrays)
        self.guide.load(under("guide", arrays))
        self.load_told(arrays)
