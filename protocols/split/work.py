"""What a role asks of its owner: the modules, the optimiser and the noise are none of the protocol's business.

Places are those of rows in the owner's table. All arrays are (rows, width) float32. `begin` and `end` are told each
epoch, `step` how many rows the batch had, once all its micro-batches are through: what is done then is as if the batch
had come in one piece.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from silo.crypto.errors import ParameterError
from silo.protocols.split.schedule import Places
from silo.protocols.split.wire import Rows, require_finite


class Pace(Protocol):
    """What all have in common."""

    def begin(self, epoch: int) -> None:
        """An epoch begins; nothing of it has left."""
        ...

    def step(self, rows: int) -> None:
        """A batch of so many rows is through: move the parameters."""
        ...

    def end(self, epoch: int) -> None:
        """An epoch is over: keep what is needed to go on from here."""
        ...


class HostWork(Pace, Protocol):
    """A host's bottom module."""

    def forward(self, places: Places) -> Rows:
        """The activations that the label party may see."""
        ...

    def backward(self, gradient: Rows) -> None:
        """Take the gradient of the oldest activations that have none yet."""
        ...


class LabelWork(Pace, Protocol):
    """The label party's modules. Others wait for `exchange` only; `ahead` and `settle` are done while bytes travel.

    A role may leave both out, as the U-shape's owner does: `exchange` and `step` then do what is left.
    """

    def ahead(self, places: Places) -> None:
        """These rows' activations come next: begin with what does not depend on them."""
        ...

    def settle(self) -> None:
        """The last gradient has left: do what it does not depend on."""
        ...

    def exchange(self, places: Places, activations: Rows) -> Rows:
        """The gradient of each row's loss at the activations, as the hosts may see it."""
        ...


class MiddleWork(Pace, Protocol):
    """The compute partner's module."""

    def forward(self, activations: Rows) -> Rows:
        """What the middle makes of them."""
        ...

    def backward(self, gradient: Rows) -> Rows:
        """From the gradient of the oldest output that has none yet, that of its input."""
        ...


def checked(found: Rows, rows: int, width: int, what: str, first: int) -> Rows:
    """What a module gave, when it can leave. Raises `ParameterError`, naming the module and the row."""
    if found.shape != (rows, width):
        raise ParameterError(f"{what} gave an array of {found.shape} where {(rows, width)} was agreed")
    require_finite(found, f"{what} gave", first)
    return np.ascontiguousarray(found, np.float32)
