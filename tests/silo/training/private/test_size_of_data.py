"""Whether there is one row more: an attack that tells it from plain Opacus' steps, and must fail here."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

from torch import nn  # noqa: E402

from silo.privacy.token import NoiseToken  # noqa: E402
from silo.training.private.rows import Rows  # noqa: E402
from tests.silo.training.private.fake import flat, opened, plan  # noqa: E402

SIGMA, SAMPLING, TRIALS = 20.0, 0.5, 150
FEW = 40
"""Trials of an attack that hardly ever errs."""
"""One step costs epsilon .1; all 60,300 parameters have noise of the deviation SIGMA C / L."""


def spreads(rows: int, lot: float, trials: int = TRIALS) -> Any:
    """The spread of what one step adds, once per trial."""
    model = nn.Linear(200, 300)
    privacy = plan(noise_multiplier=SIGMA, sampling=SAMPLING, lot=lot, clip=1.0)
    data = Rows((torch.randn(rows, 200), torch.zeros(rows, dtype=torch.int64)))
    found = []
    with opened(model, privacy) as trainer:
        for _ in range(trials):
            before = flat(model)
            trainer.step(data, lambda: NoiseToken(privacy.plan().step))
            found.append(float((flat(model) - before).std()))
    return torch.tensor(found)


def guessed(fewer: Any, more: Any, middle: float) -> float:
    """How often the attacker is right, who takes a small spread for the larger data set."""
    return 0.5 * (float((fewer > middle).float().mean()) + float((more <= middle).float().mean()))


def test_a_normaliser_from_the_data_tells_the_neighbours_apart() -> None:
    """The attack works where the lot is N q, as plain Opacus has it: 64 rows or 65."""
    middle = SIGMA / (SAMPLING * 64.5)
    fewer, more = spreads(64, SAMPLING * 64, FEW), spreads(65, SAMPLING * 65, FEW)
    assert guessed(fewer, more, middle) > 0.95


def test_a_declared_normaliser_does_not() -> None:
    fewer, more = spreads(64, 32.0), spreads(65, 32.0)
    # 300 fair coins lie beyond .63 once in 10^5.
    assert guessed(fewer, more, float(torch.cat([fewer, more]).median())) < 0.63
