"""The audit's reference job: split learning of two parties in one process, with a choice of defences.

`guest` has the labels, its bottom and the top; `host` has its bottom, sends activations and receives one gradient per
record: the top's, or under the defence of that name a guide's. There is no network and no ledger: this shows what the
gradients tell, and `silo.vertical` is what is run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from silo.audit.labels import bottoms
from silo.audit.labels.defence import Defence
from silo.audit.labels.people import Part, People
from silo.leak import networks

if TYPE_CHECKING:
    import torch
    from torch import nn

    from silo.crypto.rng import Rng

Array = npt.NDArray[Any]
Saw = Callable[[Array, Array], None]

BATCH: Final = 512
RATE: Final = 1e-2
RATE_UNDER_NOISE: Final = 3e-3
"""Of host and guide, the default of `silo.vertical.SplitNetwork`; smaller towards the end."""


class SplitTraining:
    """One job. `merged=False` leaves the top out: the bottoms give a logit each, and these are added."""

    def __init__(
        self,
        people: People,
        *,
        layers: str,
        defence: Defence,
        epochs: int,
        rng: Rng,
        malicious: bool = False,
        merged: bool = True,
        batch: int = BATCH,
    ) -> None:
        import torch
        from torch import nn

        from silo.audit.labels.malicious import Inflated

        self._source = networks.generator(rng)
        self._defence = defence
        self._epochs, self._batch, self._done = epochs, batch, 0
        self._train = [torch.from_numpy(one) for one in (people.train.guest, people.train.host)]
        self._labels = torch.from_numpy(people.train.labels)
        width = networks.WIDTH if merged else 1
        guests, hosts = people.train.guest.shape[1], people.train.host.shape[1]
        self.host: nn.Module = bottoms.bottom(hosts, layers, self._source, width)
        self._guest = bottoms.bottom(guests, layers, self._source, width)
        self._top = networks.top(self._source, width) if merged else nn.Identity()
        self._own = torch.optim.Adam([*self._guest.parameters(), *self._top.parameters()], RATE)
        kind = Inflated if malicious else torch.optim.Adam
        rate = RATE_UNDER_NOISE if defence.guaranteed else RATE
        self._hosts: torch.optim.Optimizer = kind(self.host.parameters(), rate)
        self._guide = networks.guide(self._source, width) if defence.guaranteed else None
        if self._guide is not None:
            self._guides = torch.optim.Adam(self._guide.parameters(), rate)

    def epoch(self, saw: Saw | None = None) -> None:
        """Train once over all rows; `saw` is told the rows and gradients of each batch as the host receives them."""
        if self._guide is not None:
            for optimizer in (self._hosts, self._guides):
                _slow(optimizer, RATE_UNDER_NOISE, self._done, self._epochs)
        for rows in bottoms.batches(len(self._labels), self._batch, self._source):
            gradients = self._step(rows)
            if saw is not None:
                saw(rows.numpy(), gradients.numpy())
        self._done += 1

    def finish(self) -> None:
        """Let the label party's modules learn on, for as long, from activations that no longer move; none leave."""
        import torch

        guest, host = self._train
        with torch.no_grad():
            came = self.host(host)
        for epoch in range(self._epochs):
            _slow(self._own, RATE, epoch, self._epochs)
            for rows in bottoms.batches(len(self._labels), self._batch, self._source):
                self._fit(guest[rows], came[rows], self._labels[rows])

    def logits(self, part: Part) -> Array:
        """The model's logits, (records,)."""
        import torch

        with torch.no_grad():
            cut = self._guest(torch.from_numpy(part.guest)) + self.host(torch.from_numpy(part.host))
            return np.asarray(self._top(cut)[:, 0].numpy())

    def prior(self, part: Part) -> Array:
        """Logits that hardly depend on any single label: the guide's where there is one."""
        import torch

        if self._guide is None:
            return self.logits(part)
        with torch.no_grad():
            return np.asarray(self._guide(self.host(torch.from_numpy(part.host)))[:, 0].numpy())

    def activations(self, host: Array) -> Array:
        """What the host sends for its features, (records, width)."""
        import torch

        with torch.no_grad():
            return np.asarray(self.host(torch.from_numpy(host)).numpy())

    def _step(self, rows: torch.Tensor) -> torch.Tensor:
        guest, host = (table[rows] for table in self._train)
        sent = self.host(host)
        received = sent.detach().requires_grad_()
        if self._guide is not None:
            returned = self._guided(self._guide, received, self._labels[rows])
            self._fit(guest, received.detach(), self._labels[rows])
        else:
            self._fit(guest, received, self._labels[rows])
            exact = _gradient(received) * len(rows)
            returned = self._defence.of(exact, self._labels[rows], self._source)
        self._hosts.zero_grad()
        sent.backward(returned / len(rows))
        self._hosts.step()
        return returned

    def _fit(self, guest: torch.Tensor, received: torch.Tensor, labels: torch.Tensor) -> None:
        """Let the model learn from the true labels."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        logits = self._top(self._guest(guest) + received)[:, 0]
        self._own.zero_grad()
        binary_cross_entropy_with_logits(logits, labels).backward()  # type: ignore[no-untyped-call]
        self._own.step()

    def _guided(self, guide: nn.Module, received: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Noise the guide's residuals; nothing but these reaches the guide or the host."""
        import torch

        logits = guide(received)[:, 0]
        noise = torch.empty_like(labels).normal_(generator=self._source)
        residual = torch.sigmoid(logits.detach()) - labels + self._defence.sigma * noise
        self._guides.zero_grad()
        logits.backward(residual / len(labels))
        self._guides.step()
        return _gradient(received) * len(labels)


def _slow(optimizer: torch.optim.Optimizer, rate: float, done: int, epochs: int) -> None:
    """Steps shrink to nothing over so many epochs."""
    optimizer.param_groups[0]["lr"] = rate * max(1 - done / epochs, 0.0)


def _gradient(received: torch.Tensor) -> torch.Tensor:
    """What flowed back to the cut layer."""
    import torch

    return torch.zeros_like(received) if received.grad is None else received.grad
