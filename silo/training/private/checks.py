"""What is not sound under DP-SGD is refused by name, with what to do instead."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.utils.data import DataLoader

from silo.errors import ParameterError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from opacus.optimizers import DPOptimizer
    from opacus.validators import ModuleValidator

_NORMS = (nn.modules.batchnorm._BatchNorm,)
_EXACT = (torch.float32, torch.float64)


class DeltaTooLarge(UserWarning):
    """A delta of 1 / N or more allows a mechanism that publishes a record."""


class NoRows(UserWarning):
    """Training goes on, as the absence of this member would tell that it has none."""


def check_model(model: nn.Module) -> None:
    """Refuse a model whose gradients are not each row's own. Raises `ParameterError`."""
    if isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
        raise ParameterError(
            f"a model under {type(model).__name__} adds noise on each worker: give the bare module"
        )
    if isinstance(model, torch.jit.ScriptModule) or hasattr(model, "_orig_mod"):
        raise ParameterError("a compiled model hides its layers from per-row gradients: give the bare module")
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
        if type(module).get_extra_state is not nn.Module.get_extra_state:
            raise ParameterError(
                f"{place} keeps an extra state, which would leave without noise: make it a constant buffer"
            )
        if hasattr(module, "autograd_grad_sample_hooks"):
            raise ParameterError("the model is already wrapped by Opacus: give the bare module")
    _check_parameters(model)
    _check_tied(model)
    modes = {module: module.training for module in model.modules()}
    problems = ModuleValidator.validate(model.train(), strict=False)
    for module, mode in modes.items():
        module.training = mode
    if problems:
        raise ParameterError(
            f"the model cannot be trained per row: {' '.join(str(problems[0]).split())[:300]}"
        )


def _check_parameters(model: nn.Module) -> None:
    if any(isinstance(p, (UninitializedParameter, UninitializedBuffer)) for p in _tensors(model).values()):
        raise ParameterError("a lazy layer has no shape yet: run the model once on made-up rows")
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not trained:
        raise ParameterError("the model has no parameter to train: set requires_grad on some")
    for name, p in trained.items():
        if p.is_complex():
            raise ParameterError(f"{name} is complex and has no per-row gradient here: use two real ones")
        if p.dtype not in _EXACT:
            raise ParameterError(
                f"{name} is {p.dtype}, in which a clipped gradient exceeds the clip: train in torch.float32"
            )
    if len({(p.device, p.dtype) for p in trained.values()}) > 1:
        raise ParameterError("the parameters lie on several devices or in several types: put them into one")


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


def check_autocast() -> None:
    """Refuse to clip and sum in half precision, where the sum exceeds its bound. Raises `ParameterError`."""
    if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
        raise ParameterError("autocast adds clipped gradients in half precision: train outside of it")


def check_data(data: Any) -> None:
    """Refuse data that comes in batches of its own. Raises `ParameterError`."""
    if isinstance(data, DataLoader):
        raise ParameterError(
            "a DataLoader makes batches that are not Poisson samples, so nothing could be accounted: "
            "give its data set, or (x, y)"
        )


def warn_of_rows(delta: float, rows: int) -> None:
    """Warn on this machine only, of a delta too large and of no rows: their number never leaves."""
    if not rows:
        warnings.warn(
            "there are no rows: every step is noise alone, and is charged all the same", NoRows, stacklevel=3
        )
    if rows and delta >= 1 / rows:
        warnings.warn(
            f"delta {delta:g} is not below 1 / rows = {1 / rows:.2g}: it allows to publish a whole record; "
            "agree on a smaller one",
            DeltaTooLarge,
            stacklevel=3,
        )


def check_optimizer(optimizer: Any, trained: Sequence[torch.Tensor]) -> None:
    """Refuse an optimizer that moves other parameters than those that get noise. Raises `ParameterError`."""
    if isinstance(optimizer, DPOptimizer):
        raise ParameterError("Opacus' optimizer would clip and add noise of its own: give one of torch.optim")
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ParameterError(f"optimizer makes a torch.optim.Optimizer, not a {type(optimizer).__name__}")
    moved = [id(p) for group in optimizer.param_groups for p in group["params"]]
    if sorted(moved) != sorted(id(p) for p in trained):
        raise ParameterError(
            "the optimizer moves other parameters than it was given: give it those, each once"
        )


def everything_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of all parameters and buffers."""
    return {name: value.detach().clone() for name, value in _tensors(model).items()}


def constants_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of what training leaves as it is: buffers, and parameters that are frozen."""
    return {
        name: value.detach().clone() for name, value in _tensors(model).items() if not value.requires_grad
    }


def check_constants(
    model: nn.Module, before: Mapping[str, torch.Tensor], among: Container[str] | None = None
) -> None:
    """Refuse, and undo, a change of what no noise was added to. Raises `ParameterError`."""
    now = _tensors(model)
    changed = [
        name
        for name, value in before.items()
        if (among is None or name in among) and not (name in now and torch.equal(now[name], value))
    ]
    if changed:
        restore(model, before)
        raise ParameterError(
            f"{changed[0]} was changed by the rows in the forward pass, and would leave without noise: make it constant"
        )


def restore(model: nn.Module, before: Mapping[str, torch.Tensor]) -> None:
    """Put copies back."""
    now = _tensors(model)
    with torch.no_grad():
        for name, value in before.items():
            if name in now and not torch.equal(now[name], value):
                now[name].copy_(value)


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}
