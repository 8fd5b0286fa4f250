"""The loop of DP-SGD: sample, per-row gradients, clip, one token, noise, move."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any

import torch
from torch import nn

from silo.crypto.rng import Rng
from silo.crypto.sampling import subsample
from silo.privacy.account import Account
from silo.privacy.token import NoiseToken
from silo.training.private import checks
from silo.training.private.loss import Loss
from silo.training.private.optimizer import GhostOptimizer, PrivateOptimizer
from silo.training.private.plan import Plan
from silo.training.private.rows import Rows

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping

# The rows need no gradient of their own, which torch remarks on at the first step.
warnings.filterwarnings("ignore", message="Full backward hook is firing", category=UserWarning)

_RATE = 0.1


class Trainer:
    """Trains `model` in place while it is open; a context manager that takes Opacus' hooks off again."""

    def __init__(
        self, model: nn.Module, loss: Loss, plan: Plan, *, rng: Rng, learning_rate: float | None = None
    ) -> None:
        checks.check_model(model)
        privacy = plan.privacy
        self.model, self.loss, self.plan, self._rng = model, loss, plan, rng
        self._ghost = privacy.mode == "ghost"
        self._was_training = model.training
        model.train()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._wrapped: Any = (
                GradSampleModuleFastGradientClipping(
                    model, loss_reduction="sum", max_grad_norm=privacy.clip, use_ghost_clipping=True
                )
                if self._ghost
                else GradSampleModule(model, loss_reduction="sum")
            )
        trained = [p for p in model.parameters() if p.requires_grad]
        inner = (
            privacy.optimizer(trained)
            if privacy.optimizer
            else torch.optim.SGD(
                trained, lr=privacy.learning_rate or learning_rate or _RATE, momentum=privacy.momentum
            )
        )
        kind = GhostOptimizer if self._ghost else PrivateOptimizer
        self.optimizer = kind(inner, step=plan.step, clip=privacy.clip, lot=privacy.lot, rng=rng)
        self._buffers = checks.buffers_of(model)
        self._device = trained[0].device

    def run(
        self,
        rows: Rows,
        account: Account,
        steps: int,
        *,
        purpose: str,
        plan_id: str,
        on_step: Callable[[int], None] = lambda _: None,
    ) -> None:
        """So many steps, reserved in chunks; what a chunk did not use is given back."""
        done, details = 0, self.plan.details()
        while done < steps:
            chunk = min(self.plan.privacy.chunk, steps - done)
            with account.reserve(
                self.plan.step, chunk, purpose=purpose, details=details, plan=plan_id
            ) as reservation:
                for _ in range(chunk):
                    self.step(rows, reservation.token)
                    done += 1
                    on_step(done)

    def step(self, rows: Rows, token: Callable[[], NoiseToken]) -> None:
        """One step; the token is taken when the gradients are there."""
        indices = subsample(len(rows), self.plan.privacy.sampling, rng=self._rng)
        most = self.plan.privacy.physical_batch
        try:
            for at in range(0, len(indices), most):
                x, y = rows.take(indices[at : at + most])
                self._gradients(x.to(self._device), y.to(self._device))
        except BaseException:
            self.optimizer.forget()
            raise
        checks.check_buffers(self.model, self._buffers)
        self.optimizer.private_step(token())

    def _gradients(self, x: torch.Tensor, y: torch.Tensor) -> None:
        if self._ghost:
            self._ghost_gradients(x, y)
            return
        self.loss(self._wrapped(x), y).sum().backward()  # type: ignore[no-untyped-call]
        self.optimizer.accumulate()

    def _ghost_gradients(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Two backward passes: the norms, then the sum of the losses weighted by the clip factors."""
        losses = self.loss(self._wrapped(x), y)
        losses.sum().backward(retain_graph=True)  # type: ignore[no-untyped-call]
        self.optimizer.zero_grad()
        norms = self._wrapped.get_norm_sample()
        whole = torch.isfinite(norms)
        self._wrapped.disable_hooks()
        try:
            if bool(whole.all()):
                (self._wrapped.get_clipping_coef() * losses).sum().backward()
            elif bool(whole.any()):
                # A row whose gradient overflows counts as zero, and must not touch the others' sum.
                factor = (self.plan.privacy.clip / (norms[whole] + 1e-6)).clamp(max=1.0)
                (factor * self.loss(self._wrapped(x[whole]), y[whole])).sum().backward()
        finally:
            self._wrapped.enable_hooks()
        self.optimizer.accumulate()

    def close(self) -> None:
        """Take the hooks and what they left off the model."""
        self._wrapped.remove_hooks()
        for parameter in self.model.parameters():
            for left in (
                "grad_sample",
                "summed_grad",
                "_forward_counter",
                "_norm_sample",
                "_current_grad_sample",
            ):
                if hasattr(parameter, left):
                    delattr(parameter, left)
            parameter.grad = None
        for module in self.model.modules():
            for left in ("activations", "max_batch_len"):
                if hasattr(module, left):
                    delattr(module, left)
        self.model.train(self._was_training)

    def __enter__(self) -> Trainer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
