"""Feature-space hijacking: a top party that trains the host's bottom for itself instead of for the task.

Pasquini, Ateniese and Bernaschi, "Unleashing the tiger: inference attacks on split learning" (CCS 2021), section 3.
The attacker has records of the same kind. It trains an encoder of its own with a decoder on them, and a discriminator
that tells its encoder's outputs from the host's activations; what it returns is the gradient that makes the host's
bottom fool the discriminator. Once it does, the decoder reads the host's activations. Small dense networks and the
plain (not the Wasserstein) objective, for tables rather than pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from silo.leak.networks import WIDTH, generator, linear

if TYPE_CHECKING:
    from torch import nn

    from silo.crypto.rng import Rng

Array = npt.NDArray[Any]

_HIDDEN: Final = 64
_RATE: Final = 2e-3


class Hijacker:
    """The malicious top party; `own` (records, features) are records of its own.

    `sigma` is the noise that it adds to look as declared: relative to its gradients, as the guide's is to a residual.
    """

    def __init__(self, own: Array, *, rng: Rng, sigma: float = 0.0, width: int = WIDTH) -> None:
        import torch
        from torch import nn

        self._source = generator(rng)
        self._own, self._sigma = torch.from_numpy(own), sigma

        def dense(inputs: int, outputs: int) -> nn.Module:
            first, last = linear(inputs, _HIDDEN, self._source), linear(_HIDDEN, outputs, self._source)
            return nn.Sequential(first, nn.LeakyReLU(0.2), last)

        self._encoder, self._decoder = linear(own.shape[1], width, self._source), dense(width, own.shape[1])
        self._judge = dense(width, 1)
        pilot = [*self._encoder.parameters(), *self._decoder.parameters()]
        self._pilots = torch.optim.Adam(pilot, _RATE)
        self._judges = torch.optim.Adam(self._judge.parameters(), _RATE)

    def answer(self, activations: Array) -> Array:
        """Take the host's activations, learn, and return gradients that pull them to the encoder's."""
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits as loss
        from torch.nn.functional import mse_loss

        theirs = torch.from_numpy(activations)
        places = torch.empty(len(theirs)).uniform_(generator=self._source) * len(self._own)
        own = self._own[places.long()]
        encoded = self._encoder(own)
        self._pilots.zero_grad()
        mse_loss(self._decoder(encoded), own).backward()  # type: ignore[no-untyped-call]
        self._pilots.step()
        real, fake = self._judge(encoded.detach()), self._judge(theirs)
        self._judges.zero_grad()
        (loss(real, torch.ones_like(real)) + loss(fake, torch.zeros_like(fake))).backward()  # type: ignore[no-untyped-call]
        self._judges.step()
        pulled = theirs.requires_grad_()
        verdict = self._judge(pulled)
        loss(verdict, torch.ones_like(verdict), reduction="sum").backward()  # type: ignore[no-untyped-call]
        gradients = torch.zeros_like(pulled) if pulled.grad is None else pulled.grad
        if self._sigma:
            noise = torch.empty((len(gradients), 1)).normal_(generator=self._source)
            gradients = gradients * (1 + self._sigma * noise)
        return np.asarray(gradients.numpy())

    def reconstruct(self, activations: Array) -> Array:
        """Read features off the host's activations."""
        import torch

        with torch.no_grad():
            return np.asarray(self._decoder(torch.from_numpy(activations)).numpy())


def recovered(features: Array, guessed: Array) -> float:
    """The part of the features' variance that a reconstruction explains; 0 is what the mean of all records does."""
    trivial = float(np.square(features - features.mean(axis=0)).sum())
    return 1 - float(np.square(features - guessed).sum()) / trivial if trivial else 0.0


class HijackedHost:
    """The host of a hijacked job: its bottom learns from whatever is returned."""

    def __init__(
        self, bottom: nn.Module, features: Array, *, rng: Rng, rate: float, batch: int = 512
    ) -> None:
        import torch

        self.bottom, self._features = bottom, torch.from_numpy(features)
        self._source, self._batch = generator(rng), batch
        self._optimizer = torch.optim.Adam(bottom.parameters(), rate)

    def activations(self) -> Array:
        """Those of all its records."""
        import torch

        with torch.no_grad():
            return np.asarray(self.bottom(self._features).numpy())

    def step(self, hijacker: Hijacker) -> Array:
        """One batch; the gradients that came back."""
        import torch

        count = min(self._batch, len(self._features))
        order = torch.empty(len(self._features)).uniform_(generator=self._source).argsort()[:count]
        sent: Any = self.bottom(self._features[order])
        returned = hijacker.answer(sent.detach().numpy().copy())
        self._optimizer.zero_grad()
        sent.backward(torch.from_numpy(returned) / count)
        self._optimizer.step()
        return returned
