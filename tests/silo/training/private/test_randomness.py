"""Noise and samples come from the cryptographic generator; no seed of torch or NumPy moves them."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

from opacus.optimizers import optimizer as opacus_optimizer  # noqa: E402
from opacus.optimizers import optimizer_fast_gradient_clipping as opacus_ghost  # noqa: E402
from torch import nn  # noqa: E402

from silo.crypto.rng import InsecureSeededRng, Rng, SystemRng  # noqa: E402
from silo.training.private.rows import Rows  # noqa: E402
from silo.training.private.seeding import unforeseeable  # noqa: E402
from tests.silo.training.private.fake import fit, flat, plan  # noqa: E402

MODES = ("hooks", "ghost")


def seed() -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)


def trained(rng: Rng, **changes: Any) -> Any:
    seed()
    model = nn.Linear(8, 3)
    data = (torch.randn(20, 8), torch.randint(0, 3, (20,)))
    fit(model, data, plan(noise_multiplier=1.0, **changes), rng=rng)
    return flat(model)


@pytest.mark.parametrize("mode", MODES)
def test_the_same_seed_gives_other_noise(mode: str) -> None:
    assert torch.equal(trained(InsecureSeededRng(1), mode=mode), trained(InsecureSeededRng(1), mode=mode))
    apart = (trained(SystemRng(), mode=mode) - trained(SystemRng(), mode=mode)).abs()
    assert float(apart.min()) > 0
    assert float(apart.median()) > 0.01


def test_the_same_seed_gives_other_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[list[int]] = []
    take = Rows.take

    def watched(rows: Rows, indices: Any) -> Any:
        taken.append(indices.tolist())
        return take(rows, indices)

    monkeypatch.setattr(Rows, "take", watched)
    for _ in range(2):
        trained(SystemRng(), sampling=0.5)
    like, first, _, second = taken
    assert like == [0]
    assert first != second


@pytest.mark.parametrize("mode", MODES)
def test_opacus_own_noise_is_never_drawn(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("Opacus drew noise")

    for home in (opacus_optimizer, opacus_ghost):
        monkeypatch.setattr(home, "_generate_noise", refuse)
    monkeypatch.setattr(torch, "normal", refuse)
    trained(SystemRng(), mode=mode)


def test_dropout_does_not_follow_a_known_seed_and_the_seed_is_left_as_it_was() -> None:
    class Dropping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out, self.fell = nn.Linear(64, 3), []

        def forward(self, x: Any) -> Any:
            x = nn.functional.dropout(x, 0.5, self.training)
            self.fell.append((x == 0).tolist())
            return self.out(x)

    fell = []
    for _ in range(2):
        model = Dropping()
        seed()
        fit(model, (torch.ones(9, 64), torch.zeros(9, dtype=torch.int64)), plan())
        after = torch.rand(3)
        fell.append(model.fell[-1])
    assert len(fell[0]) == 9
    assert fell[0] != fell[1]
    seed()
    torch.ones(9, 64)
    assert torch.equal(after, torch.rand(3))


def test_each_step_has_fresh_noise_and_a_fresh_sample() -> None:
    model = nn.Linear(8, 3)
    places = [flat(model)]
    fit(
        model,
        (torch.zeros(0, 8), torch.zeros(0, dtype=torch.int64)),
        plan(steps=3, noise_multiplier=1.0),
        on_step=lambda _: places.append(flat(model)),
    )
    one, two, three = (later - earlier for earlier, later in pairwise(places))
    assert not torch.equal(one, two)
    assert not torch.equal(two, three)


def test_threads_that_train_at_once_leave_the_seed_as_it_was() -> None:
    def dropping() -> None:
        model = nn.Sequential(nn.Dropout(0.5), nn.Linear(64, 3))
        fit(model, (torch.ones(9, 64), torch.zeros(9, dtype=torch.int64)), plan(steps=5))

    dropping()
    with ThreadPoolExecutor(4) as pool:
        seed()
        due = torch.get_rng_state()
        with unforeseeable(SystemRng()):
            for done in [pool.submit(dropping) for _ in range(12)]:
                done.result()
            assert not torch.equal(torch.get_rng_state(), due)
    assert torch.equal(torch.get_rng_state(), due)
