"""The loop of DP-SGD: sample, per-row gradients, clip, one token, noise, move."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

import torch
from torch import nn

from silo.crypto.rng import Rng
from silo.crypto.sampling import subsample
from silo.privacy.account import Account
from silo.privacy.token import NoiseToken
from silo.training.private import checks, rehearsal
from silo.training.private.loss import Loss
from silo.training.private.optimizer import GhostOptimizer, PrivateOptimizer
from silo.training.private.plan import Plan
from silo.training.private.rows import Rows
from silo.training.private.seeding import reseed, unforeseeable
from silo.training.private.wrapping import forget_batch, unwrap, wrap

_RATE = 0.1


class Trainer:
    """Trains `model` in place while it is open; a context manager that takes Opacus' hooks off again.

    The first run begins with a rehearsal on made-up rows, unless the same model passed one (`rehearsed`).
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        plan: Plan,
        *,
        rng: Rng,
        learning_rate: float | None = None,
        rehearsed: bool = False,
    ) -> None:
        checks.check_model(model)
        checks.check_autocast()
        privacy = plan.privacy
        self.model, self.loss, self.plan, self._rng, self.rehearsed = model, loss, plan, rng, rehearsed
        self._ghost = privacy.mode == "ghost"
        names = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self._names, self._trained = [name for name, _ in names], [p for _, p in names]
        self._device, self._dtype = self._trained[0].device, self._trained[0].dtype
        rate = privacy.learning_rate or learning_rate or _RATE
        inner = (
            privacy.optimizer(self._trained)
            if privacy.optimizer
            else torch.optim.SGD(self._trained, lr=rate, momentum=privacy.momentum)
        )
        checks.check_optimizer(inner, self._trained)
        self._modes = {module: module.training for module in model.modules()}
        self._wrapped = wrap(model, ghost=self._ghost, clip=privacy.clip)
        kind = GhostOptimizer if self._ghost else PrivateOptimizer
        self.optimizer = kind(inner, step=plan.step, clip=privacy.clip, lot=privacy.lot, rng=rng)
        self._constants = checks.constants_of(model)
        self._buffers = dict(model.named_buffers())
        model.train()

    def run(
        self,
        rows: Rows,
        account: Account,
        steps: int,
        *,
        purpose: str,
        plan_id: str,
        on_step: Callable[[int], None] = lambda _: None,
    ) -> tuple[str, ...]:
        """So many steps, reserved in chunks; what a chunk did not use is given back. Returns the reservations."""
        done, details = 0, self.plan.details(rng=self._rng)
        charges: list[str] = []
        with unforeseeable(self._rng):
            self.rehearse(rows)
            while done < steps:
                chunk = min(self.plan.privacy.chunk, steps - done)
                with account.reserve(
                    self.plan.step, chunk, purpose=purpose, details=details, plan=plan_id
                ) as reservation:
                    charges.append(reservation.identifier)
                    for _ in range(chunk):
                        self.step(rows, reservation.token)
                        done += 1
                        on_step(done)
            checks.check_constants(self.model, self._constants)
        return tuple(charges)

    def step(self, rows: Rows, token: Callable[[], NoiseToken]) -> None:
        """One step; the token is taken when the gradients are there."""
        indices = subsample(len(rows), self.plan.privacy.sampling, rng=self._rng)
        most = self.plan.privacy.physical_batch
        try:
            for at in range(0, len(indices), most):
                batch = rows.take(indices[at : at + most])
                reseed(self._rng)  # a data set may have set a seed of its own
                self._gradients(*batch)
            if self._buffers:
                checks.check_constants(self.model, self._constants, self._buffers)
            self.optimizer.private_step(token())
        except BaseException:
            self._forget()
            raise

    def rehearse(self, rows: Rows) -> None:
        """Refuse, on made-up rows, what could not be clipped row by row. Raises `ParameterError`."""
        like = rows.like()
        if self.rehearsed or like is None:
            return
        x, y = (part.to(self._device) for part in rehearsal.made_up(like))
        other = rehearsal.made_up(like, seed=0)
        before = checks.everything_of(self.model)
        try:
            with torch.random.fork_rng(self._devices()), rehearsal.exact(self._device):
                rehearsal.keep_all(self.model)
                self._wrapped.disable_hooks()
                own = rehearsal.attempt(
                    lambda: rehearsal.check_apart(
                        self._losses,
                        (x, y),
                        (other[0].to(self._device), other[1].to(self._device)),
                        self._trained,
                    )
                )
                self.model.eval()
                rehearsal.attempt(lambda: rehearsal.check_alone(self._losses, (x, y)))
                rehearsal.attempt(lambda: self._check_targets(x, rows.targets))
                rehearsal.keep_all(self.model)
                self._wrapped.enable_hooks()
                clip = rehearsal.clip_below(own)
                if clip:
                    self.optimizer.max_grad_norm = clip
                    torch.manual_seed(rehearsal.SEED)
                    rehearsal.attempt(lambda: self._gradients(x, y))
                    found = self.optimizer.sums()
                    rehearsal.check_sum(found, own, clip, [] if self._ghost else self._names)
            checks.check_constants(self.model, before)
        finally:
            self.optimizer.max_grad_norm = self.plan.privacy.clip
            self._wrapped.enable_hooks()
            self.model.train()
            self._forget()
            checks.restore(self.model, before)
        self.rehearsed = True

    def _check_targets(self, x: torch.Tensor, targets: torch.Tensor | None) -> None:
        with torch.no_grad():
            output = self._wrapped(x.to(self._dtype) if x.is_floating_point() else x)
            if isinstance(output, torch.Tensor):
                rehearsal.check_targets(self.loss, output, targets)

    def _losses(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        x, y = (part.to(self._dtype) if part.is_floating_point() else part for part in (x, y))
        return self.loss(self._wrapped(x), y)

    def _gradients(self, x: torch.Tensor, y: torch.Tensor) -> None:
        x, y = x.to(self._device), y.to(self._device)
        if self._ghost:
            self._ghost_gradients(x, y)
        else:
            self._losses(x, y).sum().backward()  # type: ignore[no-untyped-call]
        self.optimizer.accumulate()

    def _ghost_gradients(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Two backward passes: the norms, then the sum of the losses weighted by the clip factors."""
        losses = self._losses(x, y)
        losses.sum().backward(retain_graph=True)  # type: ignore[no-untyped-call]
        norms = self.optimizer.norms(len(losses))
        whole = torch.isfinite(norms)
        if not bool(whole.all()):
            # A row whose gradient overflows counts as zero and must not touch the others' sum: they go again without
            # it, norms and all, as dropout falls anew.
            if bool(whole.any()):
                self._ghost_gradients(x[whole], y[whole])
            return
        self._wrapped.disable_hooks()
        try:
            (self.optimizer.factors(norms) * losses).sum().backward()  # type: ignore[no-untyped-call]
        finally:
            self._wrapped.enable_hooks()

    def _forget(self) -> None:
        self.optimizer.forget()
        forget_batch(self.model)

    def _devices(self) -> list[torch.device]:
        return [self._device] if self._device.type == "cuda" else []

    def close(self) -> None:
        """Take the hooks and what they left off the model."""
        unwrap(self.model)
        for module, mode in self._modes.items():
            module.training = mode

    def __enter__(self) -> Trainer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
