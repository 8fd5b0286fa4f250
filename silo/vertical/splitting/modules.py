"""What the modules of a split network must be, found out before anything leaves or is spent."""

from __future__ import annotations

import copy
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from silo.errors import ParameterError
from silo.protocols.split.terms import MOST_WIDTH
from silo.protocols.split.wire import Rows, require_finite
from silo.vertical.splitting.part import rows_of, tensor_of

_LOOKED_AT: Final = 256
_MADE_UP: Final = 8
_BATCH_NORMS = (nn.modules.batchnorm._BatchNorm,)


def require_module(module: Any, name: str, who: str) -> nn.Module:
    """Refuse what is no module. Raises `ParameterError`."""
    if not isinstance(module, nn.Module):
        if module is None:
            raise ParameterError(f"{who}: pass {name}=, a torch.nn.Module")
        kind = f"the class {module.__name__}" if isinstance(module, type) else f"a {type(module).__name__}"
        raise ParameterError(f"{who}: {name} is a torch.nn.Module, not {kind}")
    return module


def require_whole(module: nn.Module, name: str, who: str, micro_batches: int) -> None:
    """Refuse what mixes the rows of a batch where it comes in parts. Raises `ParameterError`."""
    if micro_batches > 1 and any(isinstance(one, _BATCH_NORMS) for one in module.modules()):
        raise ParameterError(
            f"{who}: the {name} module has a batch norm, whose rows must come in one piece: set micro_batches = 1, "
            "or use torch.nn.GroupNorm"
        )


def width_of(module: nn.Module, x: Rows, name: str, who: str, *, scoring: bool = False) -> int:
    """How many numbers the module makes of a row, tried on copies and some rows. Raises `ParameterError`.

    To score, what is no number is for the scores to show.
    """
    some = x[:_LOOKED_AT]
    if len(some) > 1 and not scoring:
        # What gives no number in training only.
        _width(module, some, name, who, training=True)
    return _width(module, some, name, who, training=False, finite=not scoring)


def _width(module: nn.Module, x: Rows, name: str, who: str, *, training: bool, finite: bool = True) -> int:
    tried = copy.deepcopy(module).train(training)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            # A copy, as a module may work in place.
            output = tried(tensor_of(x.copy(), tried))
    except (RuntimeError, ValueError, TypeError, IndexError) as problem:
        said = " ".join(str(problem).split())[:200]
        raise ParameterError(
            f"{who}: the {name} module cannot take rows of {x.shape[1]} numbers ({said})"
        ) from None
    if not isinstance(output, torch.Tensor) or output.ndim > 2 or len(output) != len(x):
        raise ParameterError(f"{who}: the {name} module gives one row of numbers for each row")
    output = output.reshape(len(output), -1)
    if not 1 <= output.shape[1] <= MOST_WIDTH:
        raise ParameterError(f"{who}: the {name} module gives {output.shape[1]} numbers a row")
    if finite:
        require_finite(rows_of(output), f"{who}: the {name} module gave")
    return int(output.shape[1])


def outputs(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """(rows, width) of a module that may give (rows,)."""
    found: torch.Tensor = module(x)
    return found.reshape(len(found), -1)


def made_up(width: int) -> Rows:
    """A few rows, no two alike, to try a module on; none is anybody's."""
    return np.linspace(-1.0, 1.0, _MADE_UP * width, dtype=np.float32).reshape(_MADE_UP, width)
