"""What honest gradients look like: the host trains a whole model of its own on a sample, before and apart from the job.

After Erdogan et al., "SplitOut" (arXiv 2302.08618, 2022): the host can simulate the honest job, for a small part of
its records suffices. Deviation: their host has the labels. Here it has none, so it makes some up in the declared ratio;
what is compared (`silo.leak.watch`) does not depend on which records are positive. The simulated noise, labels
and weights come from a seeded torch generator and protect nobody.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError

if TYPE_CHECKING:
    from torch import nn

    from silo.crypto.rng import Rng

Array = npt.NDArray[Any]
Maker = Callable[[Iterable[Any]], Any]
"""Parameters to their optimiser."""

WINDOWS: Final = (3, 12, 24, 48)
"""Batches over which pushes are averaged: few find a plain hijack at once, many find one under noise."""
_RUNS: Final = 3
"""Each costs a host as much as 60 batches."""
_LENGTH: Final = 60
_CHANCE: Final = 3.5
"""In units of what chance does to a mean of so many records; the largest of 28 honest fits on real data was 2.7."""
_GUIDED_CHANCE: Final = 4.5
"""Under a guide all gradients may lie along one line, and then chance alone moves their mean."""
_TOP_RATE: Final = 1e-2


@dataclass(frozen=True, slots=True, eq=False)
class Rehearsal:
    """The largest coherence of honest jobs: `most` (windows, batches), from batch t on; the batch size; the noise.

    `guided`: whether a linear guide gives the gradients; `directions`: in how many they then point, 0 if that is open.
    """

    most: Array
    batch: int
    sigma: float
    guided: bool = False
    directions: int = 0

    def limits(self, step: int) -> Array:
        """Above which coherence, per window, batch `step` is not honest; infinite before a window is full.

        The job may settle four times as slowly as the rehearsal did. A limit lies a third of the way from the
        rehearsal to what a hijacker shows who adds the declared noise, and clear of what chance does.
        """
        most = self.most[:, min(step // 4, self.most.shape[1] - 1)]
        hijacked = 1 / math.sqrt(1 + self.sigma**2)
        windows = np.array(WINDOWS)
        chance = _GUIDED_CHANCE if self.guided else _CHANCE
        found = most + np.maximum((hijacked - most) / 3, chance / np.sqrt(self.batch * windows))
        return np.where(windows > step + 1, np.inf, found)


def push(gradients: Array) -> Array:
    """The mean gradient of a batch in units of its typical length: of length 1 when all records are pushed alike."""
    rows = gradients.reshape(len(gradients), -1)
    size = math.sqrt(float(np.square(rows, dtype=np.float64).sum()) / max(len(rows), 1))
    return np.asarray(rows.mean(axis=0) / size) if size > 0 else np.zeros(rows.shape[1])


def coherence(pushes: Array, counts: Array) -> float:
    """The length of the mean of pushes (batches, width), each weighted by its number of records."""
    return float(np.linalg.norm(counts @ pushes / counts.sum()))


def rehearse(
    bottom: nn.Module,
    sample: Array,
    *,
    positive: float | Sequence[float],
    rng: Rng,
    sigma: float = 0.0,
    guided: bool = False,
    directions: int = 0,
    batch: int = 512,
    rate: float = 1e-2,
    make: Maker | None = None,
) -> Rehearsal:
    """Train copies of `bottom` on made-up labels, and note what comes back. Raises `ParameterError`.

    `sample`: (records, features) of the host. `positive`: the agreed ratio of the positive class, or several that are
    possible. `sigma`: the declared noise on residuals; `guided`: whether a linear guide learns from them, and
    `directions`: in how many its gradients point, 0 if that is open. `batch` and `rate`: the job's batch size and the
    host's learning rate. `make` makes both optimisers in place of Adam.
    """
    ratios = [positive] if isinstance(positive, int | float) else list(positive)
    if not all(0 < one < 1 for one in ratios) or not ratios or sigma < 0 or batch < 2 or len(sample) < 2:
        raise ParameterError(
            "a rehearsal needs a ratio of positives between 0 and 1, noise of at least 0, and two records or more"
        )
    each = [one for one in ratios for _ in range(max(_RUNS // len(ratios), 1))]
    makers = _makers(make, rate)
    runs = np.array([_run(bottom, sample, one, sigma, guided, batch, makers, rng) for one in each])
    runs = runs[np.isfinite(runs).all(axis=(1, 2))]
    if not len(runs):
        raise ParameterError(
            "the watch's rehearsal diverged: take a smaller lr, or go without with watch=False"
        )
    largest = runs.max(axis=0)
    # From each batch on, so that what is larger later on is allowed now.
    return Rehearsal(
        np.maximum.accumulate(largest[:, ::-1], axis=1)[:, ::-1], batch, sigma, guided, directions
    )


def _makers(make: Maker | None, rate: float) -> tuple[Maker, Maker]:
    """What makes the optimisers of bottom and top."""
    import torch

    if make is not None:
        return make, make
    return lambda p: torch.optim.Adam(p, rate), lambda p: torch.optim.Adam(p, _TOP_RATE)


def _run(
    bottom: nn.Module,
    sample: Array,
    positive: float,
    sigma: float,
    guided: bool,
    batch: int,
    makers: tuple[Maker, Maker],
    rng: Rng,
) -> Array:
    """Coherences (windows, batches) of one simulated job."""
    import torch

    from silo.leak.networks import generator, guide, top

    source = generator(rng)
    own = copy.deepcopy(bottom)
    like = next(own.parameters())
    features = torch.from_numpy(np.asarray(sample, np.float32)).to(like)
    with torch.no_grad():
        hidden = own(features).flatten(1).to("cpu", torch.float32)
        # Labels that the features tell in part, as real ones do.
        score = hidden @ torch.empty(hidden.shape[1]).normal_(generator=source)
        score = score / score.std().clamp_min(1e-9) + torch.empty(len(score)).normal_(generator=source)
        labels = (score > torch.quantile(score, 1 - positive)).float()
    head = (guide if guided else top)(source, hidden.shape[1])
    hosts, heads = makers[0](own.parameters()), makers[1](head.parameters())
    pushes: list[Array] = []
    found = np.zeros((len(WINDOWS), _LENGTH))
    for step in range(_LENGTH):
        rows = (torch.empty(batch).uniform_(generator=source) * len(features)).long()
        sent = own(features[rows])
        received = sent.detach().flatten(1).to("cpu", torch.float32).requires_grad_()
        logits = head(received)[:, 0]
        noise = torch.empty(batch).normal_(generator=source)
        residual = torch.sigmoid(logits.detach()) - labels[rows] + sigma * noise
        for optimizer in (hosts, heads):
            optimizer.zero_grad()
        logits.backward(residual / batch)
        returned = torch.zeros_like(received) if received.grad is None else received.grad
        sent.backward(returned.reshape(sent.shape).to(sent))
        for optimizer in (hosts, heads):
            optimizer.step()
        pushes.append(push(returned.numpy()))
        for place, window in enumerate(WINDOWS):
            if step + 1 >= window:
                found[place, step] = coherence(np.array(pushes[-window:]), np.ones(window))
    return found
