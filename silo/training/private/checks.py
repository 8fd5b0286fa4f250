"""What is not sound under DP-SGD is refused by name, with what to do instead."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import torch
from opacus.validators import ModuleValidator
from torch import nn
from torch.utils.data import DataLoader

from silo.errors import ParameterError

_NORMS = (nn.modules.batchnorm._BatchNorm,)


class DeltaTooLarge(UserWarning):
    """A delta of 1 / N or more allows a mechanism that publishes a record."""


def check_model(model: nn.Module) -> None:
    """Refuse a model whose gradients are not each row's own. Raises `ParameterError`."""
    if isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
        raise ParameterError(
            "a model under DistributedDataParallel adds noise on each worker: give the bare module"
        )
    for name, module in model.named_modules():
        place = f"{name or 'the model'} ({type(module).__name__})"
        if isinstance(module, _NORMS):
            raise ParameterError(
                f"{place} mixes the rows of a batch, so no row's gradient is its own: use torch.nn.GroupNorm instead"
            )
        if getattr(module, "track_running_stats", False):
            raise ParameterError(
                f"{place} keeps running statistics of the rows, which would leave without noise: "
                "set track_running_stats=False"
            )
        if hasattr(module, "autograd_grad_sample_hooks"):
            raise ParameterError("the model is already wrapped by Opacus: give the bare module")
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise ParameterError("the model has no parameter to train: set requires_grad on some")
    if any(p.is_complex() for p in trained):
        raise ParameterError("a complex parameter has no per-row gradient here: use two real ones")
    _check_tied(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        training = model.training
        model.train()
        problems = ModuleValidator.validate(model, strict=False)
        model.train(training)
    if problems:
        raise ParameterError(
            f"the model cannot be trained per row: {' '.join(str(problems[0]).split())[:300]}"
        )


def _check_tied(model: nn.Module) -> None:
    owners = Counter(
        id(parameter)
        for _, module in model.named_modules()
        for parameter in module.parameters(recurse=False)
        if parameter.requires_grad
    )
    if any(count > 1 for count in owners.values()):
        raise ParameterError(
            "a parameter belongs to two layers, whose gradients would be clipped apart: untie them"
        )


def check_data(data: Any) -> None:
    """Refuse data that comes in batches of its own. Raises `ParameterError`."""
    if isinstance(data, DataLoader):
        raise ParameterError(
            "a DataLoader makes batches that are not Poisson samples, so nothing could be accounted: "
            "give its data set, or (x, y)"
        )


def warn_of_delta(delta: float, rows: int) -> None:
    """Warn on this machine only: the number of rows never leaves."""
    if rows and delta >= 1 / rows:
        warnings.warn(
            f"delta {delta:g} is not below 1 / rows = {1 / rows:.2g}: it allows to publish a whole record; "
            "agree on a smaller one",
            DeltaTooLarge,
            stacklevel=3,
        )


def buffers_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of the buffers, to see afterwards that training on rows changed none."""
    return {name: buffer.detach().clone() for name, buffer in model.named_buffers()}


def check_buffers(model: nn.Module, before: dict[str, torch.Tensor]) -> None:
    """Refuse, and undo, a change of a buffer by the rows. Raises `ParameterError`."""
    changed = [name for name, buffer in model.named_buffers() if not torch.equal(buffer, before[name])]
    for name, buffer in model.named_buffers():
        buffer.copy_(before[name])
    if changed:
        raise ParameterError(
            f"buffer {changed[0]} was changed by the rows, and would leave without noise: make it constant"
        )
