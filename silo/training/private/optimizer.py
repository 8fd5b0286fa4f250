"""Opacus' DPOptimizer with the parts replaced that its noise and its normaliser come from.

One step: `accumulate` clips and sums a physical batch, as often as needed; `private_step` takes one token, adds one
draw of noise to the whole sum, divides by the declared lot, and moves the parameters.
"""

from __future__ import annotations

import warnings
from typing import Any, NoReturn

import numpy as np
import torch

from silo.crypto.gaussian import gaussian, grid, round_to
from silo.crypto.rng import Rng
from silo.errors import UsageError
from silo.privacy import events
from silo.privacy.token import NoiseToken

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from opacus.optimizers import DPOptimizer


class PrivateOptimizer(DPOptimizer):  # type: ignore[misc]
    """Adds noise only for a token; the loss is summed over rows."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        step: events.PoissonSampled,
        clip: float,
        lot: float,
        rng: Rng,
    ) -> None:
        if not isinstance(step.event, events.Gaussian):
            raise UsageError("DP-SGD adds Gaussian noise")
        super().__init__(
            optimizer,
            noise_multiplier=step.event.noise_multiplier,
            max_grad_norm=clip,
            expected_batch_size=None,
            loss_reduction="sum",
        )
        self._step_event = step
        self._lot = lot
        self._rng = rng

    def accumulate(self) -> None:
        """Clip the rows' gradients (p.grad_sample) and add them to p.summed_grad."""
        samples = [(p, self._get_flat_grad_sample(p)) for p in self.params]
        norms = torch.stack([g.reshape(len(g), -1).norm(2, dim=1) for _, g in samples], dim=1).norm(2, dim=1)
        broken = ~torch.isfinite(norms)
        if bool(broken.any()):
            # A row whose gradient overflows would show itself through any noise: it counts as zero.
            for _, g in samples:
                g[broken] = 0
            norms = torch.where(broken, 0.0, norms)
        factor = (self.max_grad_norm / (norms + 1e-6)).clamp(max=1.0)
        for p, g in samples:
            total = torch.einsum("i,i...", factor, g)
            p.summed_grad = total if p.summed_grad is None else p.summed_grad + total
            p.grad_sample = None

    def private_step(self, token: NoiseToken) -> None:
        """Add noise for one token, and move. Raises `TokenUsed`; an empty batch is a step of noise."""
        token.use(self._step_event)
        std = self.noise_multiplier * self.max_grad_norm
        sizes = [p.numel() for p in self.params]
        noised = self._sum()
        noised += gaussian(len(noised), std, rng=self._rng)
        noised /= self._lot
        flat = torch.from_numpy(noised)
        for p, piece in zip(self.params, torch.split(flat, sizes), strict=True):
            p.grad = piece.to(device=p.device, dtype=p.dtype).view_as(p)
            p.summed_grad = None
        self.original_optimizer.step()

    def _sum(self) -> Any:
        pieces = [
            np.zeros(p.numel())
            if p.summed_grad is None
            else p.summed_grad.detach().reshape(-1).to("cpu", torch.float64).numpy()
            for p in self.params
        ]
        step = grid(self.noise_multiplier * self.max_grad_norm)
        total = np.concatenate(pieces)
        return round_to(total, step)

    def forget(self) -> None:
        """Drop what a step that failed had summed."""
        for p in self.params:
            p.summed_grad = None
            p.grad_sample = None

    def add_noise(self) -> NoReturn:
        """Opacus' own noise is never drawn."""
        raise UsageError("noise is drawn in private_step, for a token of the ledger")

    def step(self, closure: Any = None) -> NoReturn:
        raise UsageError("a step takes a token of the ledger: call private_step")


class GhostOptimizer(PrivateOptimizer):
    """The same where the second backward pass has already clipped: p.grad is the clipped sum."""

    def accumulate(self) -> None:
        for p in self.params:
            if p.grad is None:
                continue
            total = p.grad.detach().clone()
            p.summed_grad = total if p.summed_grad is None else p.summed_grad + total
            p.grad = None
