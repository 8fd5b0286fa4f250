"""A loss as one number per row, which is what clipping each row's gradient needs."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from silo.errors import ParameterError

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def per_row(loss: Any = None) -> Loss:
    """The loss without its reduction; cross-entropy by default.

    torch's losses, as modules or functions, are asked for reduction="none"; any other callable has to give one
    number per row by itself. Raises `ParameterError` when it is called and does not.
    """
    if loss is None:
        loss = nn.functional.cross_entropy
    if isinstance(loss, nn.Module) and hasattr(loss, "reduction"):
        loss = copy.copy(loss)
        loss.reduction = "none"
    elif _takes_reduction(loss):
        loss = partial(loss, reduction="none")

    def checked(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = loss(output, target)
        if values.ndim == 0 or len(values) != len(output):
            raise ParameterError(
                f"the loss gives {tuple(values.shape) or 'one number'} for {len(output)} rows, not one number per row: "
                'leave its reduction to Silo, or use reduction="none"'
            )
        return values.reshape(len(output), -1).mean(dim=1) if values.ndim > 1 else values

    return checked


def _takes_reduction(loss: Any) -> bool:
    try:
        return "reduction" in inspect.signature(loss).parameters
    except (TypeError, ValueError):
        return False
