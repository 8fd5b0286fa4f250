"""A step of private training against plain Opacus, with the same batch, noise and clip.

Silo's side is the loop of `silo.fit_private` with all that belongs to it: Poisson sampling and noise from the
cryptographic generator, and the ledger on the disk. Opacus' side is its own `PrivacyEngine` with its own loader; a
third side feeds its optimizer ready batches, to show what of it is sampling and loading. Both sides have one
thread of torch: two that wait for each other on a machine in use would hide what is measured.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from silo.bench import Measurement, Row, Settings
from silo.bench.measure import Run, Side, Timing, alternate, timed
from silo.crypto.rng import SystemRng
from silo.privacy.budget import Budget
from silo.privacy.ledger import Ledger
from silo.training.private.loss import per_row
from silo.training.private.plan import DPSGD
from silo.training.private.rows import Rows
from silo.training.private.trainer import Trainer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from opacus import PrivacyEngine

_SIGMA: Final = 1.0
_CLIP: Final = 1.0
_RATE: Final = 0.1
_BATCHES: Final = 40
"""Rows are so many batches, so that Opacus' own sampling has the same expected batch."""
_BUDGET: Final = Budget(1000.0, 1e-5)
_BOUND: Final = 1.15


@dataclass(frozen=True, slots=True)
class _Case:
    """A model and the batch that it is trained with."""

    name: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    batch: int

    def rows(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Made-up rows; their values do not change how long a step takes."""
        count = _BATCHES * self.batch
        return torch.rand(count, *self.shape), torch.arange(count) % 10


def perceptron() -> nn.Module:
    """For the digits: 64 pixels, 64 hidden units."""
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def convolutions() -> nn.Module:
    """The small network of Papernot et al. (AAAI 2021) for images of 28 x 28, about 26,000 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 8, stride=2, padding=3),
        nn.Tanh(),
        nn.MaxPool2d(2, stride=1),
        nn.Conv2d(16, 32, 4, stride=2),
        nn.Tanh(),
        nn.MaxPool2d(2, stride=1),
        nn.Flatten(),
        nn.Linear(512, 32),
        nn.Tanh(),
        nn.Linear(32, 10),
    )


_PERCEPTRON: Final = _Case("digits perceptron, batch 64", perceptron, (64,), 64)
_CONVOLUTIONS: Final = _Case("convolutions on 28 x 28, batch 128", convolutions, (1, 28, 28), 128)


def small(settings: Settings) -> Iterator[Row]:
    """Where a step takes milliseconds and everything beside the gradients shows."""
    yield from _compare(_PERCEPTRON, settings)


def images(settings: Settings) -> Iterator[Row]:
    """Where the gradients dominate."""
    yield from _compare(_CONVOLUTIONS, settings)


MEASUREMENTS: Final[tuple[Measurement, ...]] = (small, images)


def _compare(case: _Case, settings: Settings) -> Iterator[Row]:
    with ExitStack() as stack:
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(1)
        ours = stack.enter_context(_silo(case, settings.steps))
        together = alternate(
            [ours, _opacus(case, settings.steps), _ready_batches(case, settings.steps)],
            repeats=settings.repeats,
        )
    ours_took, loader, ready = (_per_step(timing, settings.steps) for timing in together)
    plain, fed = f"Opacus {version('opacus')} with its loader", f"Opacus {version('opacus')} on ready batches"
    yield Row(
        name=f"a step, {case.name}",
        value=ours_took.median / loader.median,
        unit="times its time",
        against=plain,
        bound=_BOUND,
        direction="at most",
        sides={"Silo, sampling, noise and ledger included": ours_took, plain: loader, fed: ready},
        note=f"{ours_took.median / ready.median:.2f} times the time on ready batches, which nobody samples",
    )


def _per_step(timing: Timing, steps: int) -> Timing:
    return Timing(tuple(Run(run.wall / steps, run.cpu / steps) for run in timing.runs))


@contextmanager
def _silo(case: _Case, steps: int) -> Iterator[Side]:
    """The inner loop of `silo.fit_private` on a ledger of its own."""
    privacy = DPSGD(
        sampling=1 / _BATCHES,
        steps=steps,
        clip=_CLIP,
        lot=float(case.batch),
        noise_multiplier=_SIGMA,
        learning_rate=_RATE,
    )
    rows, rng = Rows(case.rows()), SystemRng()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="silo-bench-"))
        ledger = stack.enter_context(Ledger.open(Path(folder) / "ledger.db"))
        account = ledger.add("rows", _BUDGET)
        loss = per_row(nn.functional.cross_entropy)
        trainer = stack.enter_context(Trainer(case.make(), loss, privacy.plan(account), rng=rng))
        yield timed(lambda: trainer.run(rows, account, steps, purpose="benchmark", plan_id=""))


def _opacus(case: _Case, steps: int) -> Side:
    """Opacus as its documentation has it: private model, optimizer and loader, Poisson sampling."""
    model, optimizer, loader = _private(case)

    def work() -> None:
        done = 0
        while done < steps:
            for x, y in loader:
                _move(model, optimizer, x, y)
                done += 1
                if done == steps:
                    break

    return timed(work)


def _ready_batches(case: _Case, steps: int) -> Side:
    """Opacus on batches of exactly that size, cut beforehand."""
    model, optimizer, _ = _private(case)
    x, y = case.rows()
    batches = [(x[at : at + case.batch], y[at : at + case.batch]) for at in range(0, len(x), case.batch)]

    def work() -> None:
        for place in range(steps):
            _move(model, optimizer, *batches[place % len(batches)])

    return timed(work)


def _private(case: _Case) -> tuple[Any, Any, Any]:
    model = case.make()
    with warnings.catch_warnings():
        # Opacus says that its noise is not cryptographic, and torch says things of hooks.
        warnings.simplefilter("ignore")
        made: tuple[Any, Any, Any] = PrivacyEngine().make_private(
            module=model,
            optimizer=torch.optim.SGD(model.parameters(), lr=_RATE),
            data_loader=DataLoader(TensorDataset(*case.rows()), batch_size=case.batch),
            noise_multiplier=_SIGMA,
            max_grad_norm=_CLIP,
        )
    return made


def _move(model: Any, optimizer: Any, x: torch.Tensor, y: torch.Tensor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
