"""The label party's side of the work: its top module, with exact gradients; see `silo.vertical.splitting.guided`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from silo.protocols.split.schedule import Places, Schedule
from silo.protocols.split.wire import Rows, require_finite
from silo.vertical.splitting.metering import Leak, LiveMeter
from silo.vertical.splitting.part import Arrays, Part, backward, headed, rows_of, tensor_of, under
from silo.vertical.splitting.passing import Pass
from silo.vertical.splitting.quiet import Quiet
from silo.vertical.splitting.residuals import Labels, loss_of

Keep = Callable[[int], None]
Disguise = Callable[[Rows, Labels], Rows]
"""Gradients and the labels of their rows to what is returned in their place."""


class Top:
    """What hosts get is worked out from the true labels: every gradient tells its row's label."""

    def __init__(
        self,
        real: Part,
        x: Rows | None,
        labels: Labels,
        keep: Keep,
        *,
        who: str,
        disguise: Disguise | None = None,
        meter: LiveMeter | None = None,
    ) -> None:
        self.real, self.meter = real, meter
        self._x, self._who, self._keep, self._disguise = x, who, keep, disguise
        self._labels, self._first = torch.from_numpy(labels), 0
        self._ahead: Pass | None = None
        self._left: tuple[Pass, Places, Rows, Rows] | None = None

    @property
    def lost(self) -> int:
        """Batches that the real modules left out, because they gave no numbers; here such a one ends the fit."""
        return 0

    @property
    def leak(self) -> Leak | None:
        """What the meter read."""
        return None if self.meter is None else self.meter.leak

    def begin(self, epoch: int) -> None:
        self._first, self._ahead, self._left = 0, None, None
        self.real.train()

    def ahead(self, places: Places) -> None:
        self._ahead = self._begun(places)

    def exchange(self, places: Places, activations: Rows) -> Rows:
        self.settle()
        one, self._ahead = self._ahead or self._begun(places), None
        shown = tensor_of(activations, self.real.modules["top"]).requires_grad_()
        made = one.logits(shown)
        logits = rows_of(made)
        require_finite(logits, f"{self._who}: the top module gave", self._first)
        backward(loss_of(made, self._labels[places]))
        self._first += len(places)
        returned = np.zeros_like(activations) if shown.grad is None else rows_of(shown.grad)
        if self._disguise is not None:
            returned = self._disguise(returned, self._labels[places].numpy())
        self._left = one, places, logits, returned
        return returned

    def settle(self) -> None:
        if self._left is None:
            return
        (one, places, logits, returned), self._left = self._left, None
        one.settle()
        if self.meter is not None:
            self.meter.saw(places, returned, logits, logits)

    def _begun(self, places: Places) -> Pass:
        return Pass(self.real, None if self._x is None else self._x[places])

    def step(self, rows: int) -> None:
        self.settle()
        self._first = 0
        self.real.step(rows)

    def end(self, epoch: int) -> None:
        if self.meter is not None:
            self.meter.end(epoch)
        self._keep(epoch + 1)

    def arrays(self) -> Arrays:
        """All that is needed to go on."""
        found = headed("real", self.real.arrays())
        if self.meter is not None:
            found |= headed("meter", self.meter.arrays())
        return found

    def load_told(self, arrays: Arrays) -> None:
        """Take back the labels that were told at random, and nothing else."""

    def load(self, arrays: Arrays) -> None:
        """Take `arrays` back. Raises `ParameterError`."""
        self.real.load(under("real", arrays))
        if self.meter is not None:
            self.meter.load(under("meter", arrays))


def top_alone(real: Part, x: Rows | None, labels: Labels, came: Rows, schedule: Schedule, epochs: int) -> int:
    """Train the real modules on activations that no longer move; nothing leaves, no error either.

    Returns how many batches gave no numbers and were left out.
    """
    quiet = Quiet(real, x, torch.from_numpy(labels))
    real.train()
    for epoch in range(epochs):
        real.slow(epoch, epochs)
        for batch in schedule.batches(epoch):
            places = np.concatenate(batch)
            quiet.learn(places, came[places])
            quiet.step(len(places))
    return quiet.lost
