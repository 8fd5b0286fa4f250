"""Opacus' DPOptimizer with the parts replaced that its noise and its normaliser come from.

One step: `accumulate` clips and sums a physical batch, as often as needed; `private_step` takes one token, adds one
draw of noise to the whole sum, divides by the declared lot, and moves the parameters.
"""

from __future__ import annotations

import warnings
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import torch

from silo.crypto.gaussian import gaussian, grid, round_to
from silo.crypto.rng import Rng
from silo.errors import ParameterError, UsageError
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

    def factors(self, norms: torch.Tensor) -> torch.Tensor:
        """What each row's gradient is multiplied by, so that its norm is at most the clip."""
        factors: torch.Tensor = (self.max_grad_norm / (norms + 1e-6)).clamp(max=1.0)
        return factors

    def accumulate(self) -> None:
        """Clip the rows' gradients (p.grad_sample) and add them to p.summed_grad.

        Raises `ParameterError` when a layer ran and had no backward pass: its rows would wait for the next batch.
        """
        samples = []
        for p in self.params:
            _require_finished(p)
            if p.grad_sample is not None:
                g = self._get_flat_grad_sample(p)
                samples.append((p, g.reshape(len(g), -1).to(p.dtype)))
                p.grad_sample = None
        if not samples:
            return
        norms = torch.stack([torch.linalg.vector_norm(g, dim=1) for _, g in samples])
        norms = torch.linalg.vector_norm(norms, dim=0)
        broken = ~torch.isfinite(norms)
        if bool(broken.any()):
            # A row whose gradient overflows would show itself through any noise: it counts as zero.
            for _, g in samples:
                g[broken] = 0
            norms = torch.where(broken, 0.0, norms)
        factors = self.factors(norms)
        for p, g in samples:
            _add(p, factors @ g)

    def private_step(self, token: NoiseToken) -> None:
        """Add noise for one token, and move. Raises `TokenUsed`; an empty batch is a step of noise."""
        token.use(self._step_event)
        self._move(self._lot)

    def _move(self, lot: float) -> None:
        """Add noise to the sum, divide by the size of a batch, and move. Its token was used."""
        noised = self._sum()
        noised += self._noise(len(noised))
        noised /= lot
        first = self.params[0]
        flat = torch.from_numpy(noised).to(device=first.device, dtype=first.dtype)
        sizes = [p.numel() for p in self.params]
        for p, piece in zip(self.params, torch.split(flat, sizes), strict=True):
            p.grad = piece.view_as(p)
            p.summed_grad = None
        self.original_optimizer.step()
        for p in self.params:
            p.grad = None

    def _noise(self, count: int) -> npt.NDArray[np.float64]:
        """One draw for the whole sum, on its grid."""
        return gaussian(count, self.noise_multiplier * self.max_grad_norm, rng=self._rng)

    def sums(self) -> list[torch.Tensor]:
        """The clipped sums so far, flat, one per parameter."""
        return [
            torch.zeros(p.numel(), dtype=p.dtype, device=p.device) if p.summed_grad is None else p.summed_grad
            for p in self.params
        ]

    def _sum(self) -> npt.NDArray[np.float64]:
        total = torch.cat(self.sums()).to("cpu", torch.float64).numpy()
        return round_to(total, grid(self.noise_multiplier * self.max_grad_norm))

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

    def norms(self, count: int) -> torch.Tensor:
        """Each row's norm after the first backward pass, whose sums are dropped. Raises `ParameterError`."""
        found = []
        for p in self.params:
            _require_finished(p)
            norm = vars(p).pop("_norm_sample", None)
            if norm is not None:
                found.append(norm)
            elif p.grad is not None:
                raise ParameterError(
                    'a weight is used outside its layer, where its rows\' norms are not seen: train with mode "hooks"'
                )
            p.grad = None
        if not found:
            return torch.zeros(count, device=self.params[0].device)
        norms: torch.Tensor = torch.linalg.vector_norm(torch.stack(found), dim=0)
        return norms

    def accumulate(self) -> None:
        """Add p.grad of the second backward pass to p.summed_grad."""
        for p in self.params:
            if p.grad is not None:
                _add(p, p.grad.detach().reshape(-1))
                p.grad = None


def _add(p: Any, total: torch.Tensor) -> None:
    p.summed_grad = total if p.summed_grad is None else p.summed_grad + total


def _require_finished(p: Any) -> None:
    if p._forward_counter:
        raise ParameterError(
            "a layer's output did not reach the loss: leave the layer out, or use what it gives"
        )
