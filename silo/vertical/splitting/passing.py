"""One pass of a part's modules over some rows, in pieces, so that what nobody waits for is done while bytes travel."""

from __future__ import annotations

import torch

from silo.protocols.split.wire import Rows
from silo.vertical.splitting.modules import outputs
from silo.vertical.splitting.part import Part, backward, tensor_of


class Pass:
    """The own bottom goes at once, the top when the others' activations are there, and back through the bottom last."""

    def __init__(self, part: Part, x: Rows | None) -> None:
        bottom, self._top = part.modules.get("bottom"), part.modules["top"]
        self._made = None if bottom is None or x is None else outputs(bottom, tensor_of(x, bottom))
        self._own = None if self._made is None else self._made.detach()
        if self._own is not None and self._made is not None and self._made.requires_grad:
            self._own.requires_grad_()

    def logits(self, activations: torch.Tensor) -> torch.Tensor:
        """(rows, logits) from (rows, width) of the others, behind the own output where there is one."""
        if self._own is None:
            # A copy, as a module may work in place.
            return outputs(self._top, activations.clone())
        return outputs(self._top, torch.cat([self._own, activations.to(self._own)], dim=1))

    def settle(self) -> None:
        """Carry on to the own bottom what came back to its output."""
        if self._made is not None and self._own is not None and self._own.grad is not None:
            backward(self._made, self._own.grad)


def logits_of(part: Part, x: Rows | None, activations: torch.Tensor) -> torch.Tensor:
    """(rows, logits) of one party's modules."""
    return Pass(part, x).logits(activations)
