"""The label party's side of the work: what all ways share, and the one with exact gradients.

See `silo.vertical.splitting.guided` for the one that protects labels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from silo.protocols.split.schedule import Places
from silo.protocols.split.wire import Rows, require_finite
from silo.vertical.splitting.metering import Leak, LiveMeter
from silo.vertical.splitting.part import Arrays, Keep, Part, backward, headed, rows_of, tensor_of, under
from silo.vertical.splitting.passing import Pass
from silo.vertical.splitting.residuals import Labels, loss_of

Disguise = Callable[[Rows, Labels], Rows]
"""Gradients and the labels of their rows to what is returned in their place."""


class Top:
    """The real modules, the true labels and the meter; `exchange` is for those who inherit."""

    def __init__(
        self, real: Part, x: Rows | None, labels: Labels, keep: Keep, *, who: str, meter: LiveMeter | None
    ) -> None:
        self.real, self.meter, self.lost = real, meter, 0
        """`lost`: how many batches the real modules left out, because they gave no numbers."""
        self._x, self._who, self._keep = x, who, keep
        self._labels, self._first = torch.from_numpy(labels), 0

    @property
    def leak(self) -> Leak | None:
        """What the meter read."""
        return None if self.meter is None else self.meter.leak

    def begin(self, epoch: int) -> None:
        self._first = 0
        self.real.begin(epoch)

    def ahead(self, places: Places) -> None: ...

    def exchange(self, places: Places, activations: Rows) -> Rows:
        raise NotImplementedError

    def settle(self) -> None: ...

    def step(self, rows: int) -> None:
        """The batch is whole; who inherits moves its modules."""
        self.settle()
        self._first = 0

    def end(self, epoch: int) -> None:
        if self.meter is not None:
            self.meter.end(epoch)
        self._keep(epoch + 1)

    def arrays(self) -> Arrays:
        """All that is needed to go on."""
        found = headed("real", self.real.arrays())
        return found if self.meter is None else found | headed("meter", self.meter.arrays())

    def load(self, arrays: Arrays) -> None:
        """Take `arrays` back. Raises `ParameterError`."""
        self.real.load(under("real", arrays))
        if self.meter is not None:
            self.meter.load(under("meter", arrays))

    def load_told(self, arrays: Arrays) -> None:
        """Take back the labels that were told at random, and nothing else."""


class ExactTop(Top):
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
        super().__init__(real, x, labels, keep, who=who, meter=meter)
        self._disguise = disguise
        self._ahead: Pass | None = None
        self._sent: tuple[Pass, Places, Rows, Rows] | None = None

    def begin(self, epoch: int) -> None:
        super().begin(epoch)
        self._ahead = self._sent = None

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
        self._sent = one, places, logits, returned
        return returned

    def settle(self) -> None:
        if self._sent is None:
            return
        (one, places, logits, returned), self._sent = self._sent, None
        one.settle()
        if self.meter is not None:
            self.meter.saw(places, returned, logits, logits)

    def step(self, rows: int) -> None:
        super().step(rows)
        self.real.step(rows)

    def _begun(self, places: Places) -> Pass:
        return Pass(self.real, None if self._x is None else self._x[places])
