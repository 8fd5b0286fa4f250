"""A host's bottom module whose activations leave under noise, and which learns by DP-SGD."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np
import torch

from silo.crypto.rng import Rng
from silo.errors import ParameterError
from silo.privacy.token import NoiseToken
from silo.protocols.split.schedule import Places
from silo.protocols.split.wire import Rows
from silo.training.private import checks
from silo.training.private.plan import DPSGD
from silo.training.private.rows import Rows as Data
from silo.training.private.trainer import Trainer
from silo.vertical.splitting.bottoms import noised
from silo.vertical.splitting.modules import outputs
from silo.vertical.splitting.noise import NoisePlan
from silo.vertical.splitting.part import Keep, Maker, Part, rows_of, tensor_of
from silo.vertical.splitting.watching import Guard

_SCALES: Final = (1.0, 1e3, 1e9)


class PrivateBottom:
    """Activations cut to a norm, with noise; and DP-SGD on the gradients that come back.

    An activation is noised once a row and epoch. The module's weights would carry a row into the activations of
    others: each row's gradient is cut and each batch's sum noised (Abadi et al., arXiv 1607.00133), and as a row is in
    one batch an epoch, all of an epoch's batches cost as much as one. `pay` reserves both for an epoch, before anything
    of it leaves.
    """

    def __init__(
        self,
        part: Part,
        make: Maker,
        x: Rows,
        plan: NoisePlan,
        pay: Callable[[int], NoiseToken],
        keep: Keep,
        *,
        who: str,
        width: int,
        most: float | None,
        rng: Rng,
    ) -> None:
        self.part, self._module, self._x = part, part.modules["bottom"], x
        self._plan, self._pay, self._keep, self._rng = plan, pay, keep, rng
        self._who, self._width, self._most = who, width, most
        self._paid, self._epoch = False, 0
        self._waiting: deque[tuple[Places, torch.Tensor]] = deque()
        self.guard = Guard()
        private = DPSGD(
            sampling=1.0,
            steps=1,
            clip=plan.row_clip,
            lot=1.0,
            noise_multiplier=plan.noise_multiplier,
            optimizer=lambda trained: part.optimizer or make(trained),
        )
        self._trainer = Trainer(self._module, self._loss, private.plan(), rng=rng)

    def rehearse(self) -> None:
        """Refuse, on made-up rows, a module whose rows are not each their own. Raises `ParameterError`."""
        blank = torch.zeros((1, self._width))
        self._trainer.rehearse(Data((tensor_of(self._x[:1], self._module), blank)))
        # Rows far out as well: a largest value so far, for example, moves with those only.
        steps = np.linspace(-1.0, 1.0, 8 * self._x.shape[1], dtype=np.float32).reshape(8, -1)
        before = checks.everything_of(self._module)
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            for scale in _SCALES:
                outputs(self._module, tensor_of(steps * np.float32(scale), self._module))
        checks.check_constants(self._module, before)

    def _require_constants(self) -> None:
        """Refuse a buffer that rows changed: it would carry them into others' activations. Raises `ParameterError`."""
        if self._trainer._buffers:
            checks.check_constants(self._module, self._trainer._constants, self._trainer._buffers)

    def begin(self, epoch: int) -> None:
        self._epoch, self._paid = epoch, False
        self._waiting.clear()
        self.guard.begin()
        self.part.begin(epoch)

    def forward(self, places: Places) -> Rows:
        state = torch.get_rng_state()
        with torch.no_grad():
            made = rows_of(outputs(self._module, tensor_of(self._x[places], self._module)))
        self._require_constants()
        if not self._paid:
            self._pay(self._epoch).use(self._plan.event)
            self._paid = True
        self._waiting.append((places, state))
        return noised(made, self._plan, self._most, rng=self._rng)

    def backward(self, gradient: Rows) -> None:
        self.guard.came(gradient)
        # What was sent is made again, under the hooks and with the same dropout.
        places, state = self._waiting.popleft()
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(state)
            self._trainer._gradients(tensor_of(self._x[places], self._module), torch.from_numpy(gradient))
        self._require_constants()

    def step(self, rows: int) -> None:
        if not self._paid:
            raise ParameterError("an epoch's noise is paid for before its first batch")
        self.guard.require()
        self._trainer.optimizer._move(float(rows))

    def end(self, epoch: int) -> None:
        self._keep(epoch + 1)

    def close(self) -> None:
        """Take the hooks off the module."""
        self._trainer.close()

    def _loss(self, output: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """What has, at a row's activations, the gradient that came back for them."""
        made = output.reshape(len(output), -1)
        norms = torch.linalg.vector_norm(made, dim=1, keepdim=True)
        kept = made * (self._plan.clip / (norms + 1e-12)).clamp(max=1.0)
        found: torch.Tensor = (kept * gradient.to(kept)).sum(dim=1)
        return found
