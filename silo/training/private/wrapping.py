"""Opacus' hooks on a model, and the model without a trace of them again."""

from __future__ import annotations

import warnings
from typing import Any, Final

from torch import nn

from silo.errors import ParameterError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
    from opacus.grad_sample.functorch import ft_compute_per_sample_gradient

# The rows need no gradient of their own, which torch remarks on at the first step.
warnings.filterwarnings("ignore", message="Full backward hook is firing", category=UserWarning)

_ON_PARAMETERS: Final = (
    "grad_sample",
    "summed_grad",
    "_forward_counter",
    "_norm_sample",
    "_current_grad_sample",
)
_ON_MODULES: Final = ("activations", "max_batch_len", "ft_compute_sample_grad", "autograd_grad_sample_hooks")


class RowGradients(GradSampleModule):  # type: ignore[misc]
    """Opacus' hooks, without copying the gradients of a layer that runs once in a batch."""

    def capture_backprops_hook(
        self, module: nn.Module, _input: Any, output: Any, loss_reduction: str, batch_first: bool
    ) -> None:
        """Set p.grad_sample of the layer's parameters; what runs more than once is left to Opacus."""
        trained: list[Any] = [p for p in module.parameters() if p.requires_grad]
        if not self.hooks_enabled or any(_busy(p) for p in trained):
            super().capture_backprops_hook(module, _input, output, loss_reduction, batch_first)
            return
        activations, backprops = self.rearrange_grad_samples(
            module=module,
            backprops=output[0].detach(),
            loss_reduction=loss_reduction,
            batch_first=batch_first,
        )
        sampler = self.GRAD_SAMPLERS.get(type(module), ft_compute_per_sample_gradient)
        found = sampler(module, activations, backprops)
        for p in trained:
            p.grad_sample = found.get(p)
            p._forward_counter = 0
        del module.max_batch_len


def _busy(p: Any) -> bool:
    return p._forward_counter != 1 or p.grad_sample is not None or hasattr(p, "_current_grad_sample")


def wrap(model: nn.Module, *, ghost: bool, clip: float) -> Any:
    """Hook a model that `checks.check_model` let pass. Raises `ParameterError`, and leaves it as it was."""
    try:
        if ghost:
            return GradSampleModuleFastGradientClipping(
                model, loss_reduction="sum", max_grad_norm=clip, use_ghost_clipping=True
            )
        return RowGradients(model, loss_reduction="sum")
    except Exception as problem:
        unwrap(model)
        text = " ".join(str(problem).split())[:300]
        raise ParameterError(
            f"the model cannot be trained per row: {text}; keep constants in a module without parameters"
        ) from None


def unwrap(model: nn.Module) -> None:
    """Take the hooks and what they left off the model, and the gradients with them."""
    for hook in getattr(model, "autograd_grad_sample_hooks", ()):
        hook.remove()
    for module in model.modules():
        _strip(module, _ON_MODULES)
    for parameter in model.parameters():
        _strip(parameter, _ON_PARAMETERS)
        parameter.grad = None


def forget_batch(model: nn.Module) -> None:
    """Drop what a batch that failed left between its forward and its backward pass."""
    for module in model.modules():
        _strip(module, ("activations", "max_batch_len"))
    for parameter in model.parameters():
        _strip(parameter, ("_norm_sample", "_current_grad_sample"))
        if hasattr(parameter, "_forward_counter"):
            parameter._forward_counter = 0


def _strip(thing: Any, names: tuple[str, ...]) -> None:
    for name in names:
        if name in vars(thing):
            delattr(thing, name)
