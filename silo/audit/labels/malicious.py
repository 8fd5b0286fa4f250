"""A host that wants the model to lean on its own bottom: the malicious local optimiser of Fu et al.

Fu et al., "Label inference attacks against vertical federated learning" (USENIX Security 2022), section 4.3: where an
update goes on as before it is inflated, so that the bottom learns more than its share and tells more of the labels.
Deviation: the factor is taken of Adam's own step, because Adam undoes any scale of the gradients themselves.
"""

from __future__ import annotations

from typing import Any, Final

import torch

_GAIN: Final = 1.0
_MOST: Final = 5.0


class Inflated(torch.optim.Adam):
    """Adam whose step grows, up to fivefold, in every coordinate that goes on in the same direction."""

    def step(self, closure: Any = None) -> Any:
        """Take Adam's step, and go further."""
        parameters = [one for group in self.param_groups for one in group["params"]]
        before = [one.detach().clone() for one in parameters]
        loss = super().step(closure)
        with torch.no_grad():
            for parameter, old in zip(parameters, before, strict=True):
                moved = parameter - old
                last = self.state[parameter].setdefault("moved", torch.zeros_like(moved))
                ratio = moved / torch.where(last == 0, torch.full_like(last, torch.inf), last)
                parameter.copy_(old + moved * (1 + _GAIN * ratio).clamp(1.0, _MOST))
                last.copy_(moved)
        return loss
