"""What an audit attacks: the trainer of `silo.fit_private`, on a ledger that is thrown away."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from silo.crypto.rng import Rng
from silo.privacy.budget import Budget
from silo.privacy.events import Event
from silo.privacy.ledger import Ledger
from silo.privacy.token import NoiseToken
from silo.training.private.plan import DPSGD, Plan
from silo.training.private.rows import Rows
from silo.training.private.trainer import Trainer

_PLENTY: Final = 500.0
_CHUNK: Final = 500


@contextmanager
def tokens(event: Event, count: int) -> Iterator[Callable[[], NoiseToken]]:
    """So many tokens of a throw-away ledger, reserved in chunks as any others.

    Each chunk is on a data set of its own: the thousands of runs of an audit are on made-up records.
    """
    with (
        tempfile.TemporaryDirectory(prefix="silo-audit-") as folder,
        Ledger.open(Path(folder) / "l.db") as book,
    ):

        def chunks() -> Generator[NoiseToken, None, None]:
            for number, begin in enumerate(range(0, count, _CHUNK)):
                account = book.add(f"audit-{number}", Budget(_PLENTY, 1e-5))
                with account.reserve(event, min(_CHUNK, count - begin), purpose="audit") as reservation:
                    for _ in range(reservation.granted):
                        yield reservation.token()

        source = chunks()
        try:
            yield lambda: next(source)
        finally:
            source.close()


class Target:
    """A linear model without bias whose row i moves the weights along row i of the data, as far as the clip."""

    def __init__(self, width: int, plan: Plan, *, rng: Rng, weaken: float = 1.0) -> None:
        self.model = nn.Linear(width, 1, bias=False)
        self.trainer = Trainer(self.model, _climb, plan, rng=rng, learning_rate=1.0)
        if weaken != 1.0:
            _weaken(self.trainer, weaken)
        self.reset()

    def reset(self) -> None:
        with torch.no_grad():
            self.model.weight.zero_()

    @property
    def moved(self) -> Any:
        """The weights, as a NumPy array of this width."""
        return self.model.weight.detach().numpy()[0].copy()


def rows(x: Any) -> Rows:
    """Rows without labels."""
    return Rows((torch.as_tensor(x), torch.zeros(len(x))))


def plan_of(sampling: float, steps: int, sigma: float) -> Plan:
    """A plan with clip and lot 1."""
    return DPSGD(
        sampling=sampling, steps=steps, clip=1.0, lot=1.0, noise_multiplier=sigma, physical_batch=10**6
    ).plan()


def _climb(output: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return -output[:, 0]


def _weaken(trainer: Trainer, factor: float) -> None:
    """Inject a fault: the noise is `factor` of what is claimed and charged. For testing the audit itself."""
    optimizer = trainer.optimizer
    honest = optimizer._noise

    def weaker(count: int) -> Any:
        return factor * honest(count)

    optimizer._noise = weaker  # type: ignore[method-assign]
