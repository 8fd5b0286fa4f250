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
from torch import nn

from silo.errors import UsageError
from silo.protocols.split.schedule import Places, Schedule
from silo.protocols.split.wire import Rows, require_finite
from silo.vertical.splitting.metering import Leak, LiveMeter
from silo.vertical.splitting.modules import outputs
from silo.vertical.splitting.part import Arrays, Part, backward, rows_of, tensor_of
from silo.vertical.splitting.residuals import Labels, Residuals

Keep = Callable[[int], None]
Disguise = Callable[[Rows, Labels], Rows]
"""Gradients and the labels of their rows to what is returned in their place."""


def logits_of(part: Part, x: Rows | None, activations: torch.Tensor) -> torch.Tensor:
    """(rows, logits) of one party's modules: own columns first, where there is a bottom for them."""
    bottom, top = part.modules.get("bottom"), part.modules["top"]
    if bottom is not None and x is not None:
        own = outputs(bottom, tensor_of(x, bottom))
        activations = torch.cat([own, activations.to(own)], dim=1)
    return outputs(top, activations)


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
        self._disguise = disguise
        self._x, self._who, self._keep = x, who, keep
        self._labels, self._first = torch.from_numpy(labels), 0

    @property
    def leak(self) -> Leak | None:
        """What the meter read."""
        return None if self.meter is None else self.meter.leak

    def begin(self, epoch: int) -> None:
        self._first = 0
        for part in (self.real, self.guide):
            if part is not None:
                part.train()
        if self.residuals is not None:
            self.residuals.begin(epoch)

    def exchange(self, places: Places, activations: Rows) -> Rows:
        guide = self.guide or self.real
        own = None if self._x is None else self._x[places]
        shown = tensor_of(activations, guide.modules["top"]).requires_grad_()
        logits = told = logits_of(guide, own, shown)
        require_finite(rows_of(logits), f"{self._who}: the top module gave", self._first)
        if self.residuals is None:
            backward(loss_of(logits, self._labels[places]))
        else:
            exact = logits.detach().to("cpu", torch.float64).numpy()
            hidden = self.residuals.of(exact, places)
            backward(logits, torch.from_numpy(hidden).to(logits))
            told = logits_of(self.real, own, tensor_of(activations, self.real.modules["top"]))
            backward(loss_of(told, self._labels[places]))
        self._first += len(places)
        returned = np.zeros_like(activations) if shown.grad is None else rows_of(shown.grad)
        if self._disguise is not None:
            returned = self._disguise(returned, self._labels[places].numpy())
        if self.meter is not None:
            self.meter.saw(places, returned, rows_of(logits), rows_of(told))
        return returned

    def step(self, rows: int) -> None:
        self._first = 0
        for part in (self.real, self.guide):
            if part is not None:
                part.step(rows)

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

    def load(self, arrays: Arrays) -> None:
        """Take `arrays` back. Raises `ParameterError`."""
        self.real.load(_under("real", arrays))
        if self.guide is not None:
            self.guide.load(_under("guide", arrays))
        if self.residuals is not None:
            self.residuals.load(_under("labels", arrays))
        if self.meter is not None:
            self.meter.load(_under("meter", arrays))


def top_alone(
    real: Part, x: Rows | None, labels: Labels, came: Rows, schedule: Schedule, epochs: int
) -> None:
    """Train the real modules on activations that no longer move; nothing leaves."""
    top, kinds = real.modules["top"], torch.from_numpy(labels)
    real.train()
    for epoch in range(epochs):
        for batch in schedule.batches(epoch):
            places = np.concatenate(batch)
            own = None if x is None else x[places]
            backward(loss_of(logits_of(real, own, tensor_of(came[places], top)), kinds[places]))
            real.step(len(places))


def loss_of(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The sum of the rows' losses: logistic with one logit, cross-entropy with several."""
    labels = labels.to(logits.device)
    if logits.shape[1] == 1:
        return nn.functional.binary_cross_entropy_with_logits(
            logits[:, 0], labels.to(logits.dtype), reduction="sum"
        )
    return nn.functional.cross_entropy(logits, labels, reduction="sum")


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
