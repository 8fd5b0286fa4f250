"""The label party's side of the work: its top module, and the guide that trains the hosts in its place.

The guide is a copy of top and own bottom that learns from protected residuals alone, and whatever the hosts get is the
guide's: its gradients, and through them its parameters. So all that leaves is worked out from protected residuals.
Noise on each returned gradient of the real top would not do: the real top's parameters carry the labels of other rows,
and of this row in earlier epochs, into what is returned. The real top and own bottom learn beside it, from the same
activations and the true labels; nothing of them leaves, not even that they diverged.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from silo.errors import UsageError
from silo.protocols.split.schedule import Places, Schedule
from silo.protocols.split.wire import Rows, require_finite
from silo.vertical.splitting.metering import Leak, LiveMeter
from silo.vertical.splitting.modules import outputs
from silo.vertical.splitting.part import Arrays, Part, backward, rows_of, tensor_of
from silo.vertical.splitting.passing import Pass
from silo.vertical.splitting.quiet import Quiet
from silo.vertical.splitting.residuals import Labels, Residuals, loss_of

Keep = Callable[[int], None]
Disguise = Callable[[Rows, Labels], Rows]
"""Gradients and the labels of their rows to what is returned in their place."""


class Top:
    """The real modules, and exact gradients; with a guide what leaves is the guide's."""

    def __init__(
        self,
        real: Part,
        x: Rows | None,
        labels: Labels,
        keep: Keep,
        *,
        who: str,
        guide: Part | None = None,
        residuals: Residuals | None = None,
        disguise: Disguise | None = None,
        meter: LiveMeter | None = None,
    ) -> None:
        if (guide is None) != (residuals is None) or (guide is not None and _shared(real, guide)):
            raise UsageError("protected labels need a guide that shares no parameter with the real modules")
        self.real, self.guide, self.residuals, self.meter = real, guide, residuals, meter
        self._x, self._who, self._keep, self._disguise = x, who, keep, disguise
        self._labels, self._first = torch.from_numpy(labels), 0
        self._shown = guide or real
        self._quiet = None if guide is None else Quiet(real, x, self._labels)
        self._ahead: Pass | None = None
        self._left: tuple[Pass, Places, Rows, Rows, Rows] | None = None

    @property
    def leak(self) -> Leak | None:
        """What the meter read."""
        return None if self.meter is None else self.meter.leak

    @property
    def lost(self) -> int:
        """Batches that the real modules left out, because they gave no numbers."""
        return 0 if self._quiet is None else self._quiet.lost

    def begin(self, epoch: int) -> None:
        self._first, self._ahead, self._left = 0, None, None
        for part in (self.real, self.guide):
            if part is not None:
                part.train()
        if self.residuals is not None:
            self.residuals.begin(epoch)

    def ahead(self, places: Places) -> None:
        self._ahead = self._begun(places)

    def exchange(self, places: Places, activations: Rows) -> Rows:
        self.settle()
        one, self._ahead = self._ahead or self._begun(places), None
        shown = tensor_of(activations, self._shown.modules["top"]).requires_grad_()
        made = one.logits(shown)
        logits = rows_of(made)
        require_finite(logits, f"{self._who}: the top module gave", self._first)
        if self.residuals is None:
            backward(loss_of(made, self._labels[places]))
        else:
            exact = made.detach().to("cpu", torch.float64).numpy()
            backward(made, torch.from_numpy(self.residuals.of(exact, places)).to(made))
        self._first += len(places)
        returned = np.zeros_like(activations) if shown.grad is None else rows_of(shown.grad)
        if self._disguise is not None:
            returned = self._disguise(returned, self._labels[places].numpy())
        self._left = one, places, activations, logits, returned
        return returned

    def settle(self) -> None:
        if self._left is None:
            return
        (one, places, activations, logits, returned), self._left = self._left, None
        one.settle()
        real = logits if self._quiet is None else self._quiet.learn(places, activations)
        if self.meter is not None:
            self.meter.saw(places, returned, logits, real)

    def _begun(self, places: Places) -> Pass:
        return Pass(self._shown, None if self._x is None else self._x[places])

    def step(self, rows: int) -> None:
        self.settle()
        self._first = 0
        self._shown.step(rows)
        if self._quiet is not None:
            self._quiet.step(rows)

    def end(self, epoch: int) -> None:
        if self.meter is not None:
            self.meter.end(epoch)
        self._keep(epoch + 1)

    def arrays(self) -> Arrays:
        """All that is needed to go on."""
        found = {f"real|{key}": value for key, value in self.real.arrays().items()}
        if self.guide is not None:
            found |= {f"guide|{key}": value for key, value in self.guide.arrays().items()}
        if self.residuals is not None:
            found |= {f"labels|{key}": value for key, value in self.residuals.arrays().items()}
        if self.meter is not None:
            found |= {f"meter|{key}": value for key, value in self.meter.arrays().items()}
        return found

    def load_told(self, arrays: Arrays) -> None:
        """Take back the labels that were told at random, and nothing else."""
        if self.residuals is not None:
            self.residuals.load(_under("labels", arrays))

    def load(self, arrays: Arrays) -> None:
        """Take `arrays` back. Raises `ParameterError`."""
        self.real.load(_under("real", arrays))
        if self.guide is not None:
            self.guide.load(_under("guide", arrays))
        if self.residuals is not None:
            self.residuals.load(_under("labels", arrays))
        if self.meter is not None:
            self.meter.load(_under("meter", arrays))


def top_alone(real: Part, x: Rows | None, labels: Labels, came: Rows, schedule: Schedule, epochs: int) -> int:
    """Train the real modules on activations that no longer move; nothing leaves, no error either.

    Returns how many batches gave no numbers and were left out.
    """
    quiet = Quiet(real, x, torch.from_numpy(labels))
    real.train()
    for epoch in range(epochs):
        for batch in schedule.batches(epoch):
            places = np.concatenate(batch)
            quiet.learn(places, came[places])
            quiet.step(len(places))
    return quiet.lost


class Middle:
    """The compute partner's module in the U-shape."""

    def __init__(self, part: Part, keep: Keep) -> None:
        self.part, self._module, self._keep = part, part.modules["middle"], keep
        self._waiting: list[tuple[torch.Tensor, torch.Tensor]] = []

    def begin(self, epoch: int) -> None:
        self._waiting.clear()
        self.part.train()

    def forward(self, activations: Rows) -> Rows:
        came = tensor_of(activations, self._module).requires_grad_()
        made = outputs(self._module, came)
        self._waiting.append((came, made))
        return rows_of(made)

    def backward(self, gradient: Rows) -> Rows:
        came, made = self._waiting.pop(0)
        backward(made, torch.from_numpy(gradient).to(made))
        return np.zeros_like(rows_of(came)) if came.grad is None else rows_of(came.grad)

    def step(self, rows: int) -> None:
        self.part.step(rows)

    def end(self, epoch: int) -> None:
        self._keep(epoch + 1)


def _shared(one: Part, other: Part) -> bool:
    """Whether training one moves the other."""
    mine = {id(p) for module in one.modules.values() for p in (*module.parameters(), *module.buffers())}
    return any(
        id(p) in mine for module in other.modules.values() for p in (*module.parameters(), *module.buffers())
    )


def _under(head: str, arrays: Arrays) -> Arrays:
    return {key.partition("|")[2]: value for key, value in arrays.items() if key.startswith(f"{head}|")}
