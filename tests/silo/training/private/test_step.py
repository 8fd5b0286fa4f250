"""One step of DP-SGD against the same by hand."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

from torch import nn  # noqa: E402

from silo.errors import UsageError  # noqa: E402
from silo.privacy.errors import PrivacyBudgetExceeded, TokenUsed  # noqa: E402
from tests.silo.training.private.fake import (  # noqa: E402
    FakeAccount,
    by_hand,
    clipped_sum,
    fit,
    flat,
    opened,
    plan,
)

MODES = ("hooks", "ghost")
SOURCE = torch.Generator().manual_seed(3)
X = torch.randn(50, 8, generator=SOURCE)
Y = torch.randint(0, 3, (50,), generator=SOURCE)
IMAGES = torch.randn(12, 1, 8, 8, generator=SOURCE)
WORDS = torch.randint(0, 9, (12, 5), generator=SOURCE)


def perceptron() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))


class Reader(nn.Module):
    """Words, with a layer that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm, self.out = nn.Embedding(9, 6), nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, words: Any) -> Any:
        return self.out(torch.tanh(self.norm(self.embed(words))).mean(1))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.same, self.out = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Any) -> Any:
        return self.out(torch.tanh(self.same(torch.tanh(self.same(x)))))


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.GroupNorm(2, 4),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 3),
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("make", "rows"),
    [(perceptron, X[:12]), (convolutions, IMAGES), (Reader, WORDS)],
    ids=["mlp", "cnn", "words"],
)
def test_the_sum_is_that_of_clipped_gradients_by_hand(make: Any, rows: Any, mode: str) -> None:
    torch.manual_seed(1)
    model = make()
    data = (rows, Y[:12])
    for clip in (0.05, 0.5, 100.0):
        found = clipped_sum(model, data, clip=clip, mode=mode)
        assert torch.allclose(found, by_hand(model, data, clip), atol=1e-5)


def test_a_layer_used_twice_counts_twice() -> None:
    torch.manual_seed(1)
    model = Twice()
    assert torch.allclose(clipped_sum(model, (X, Y)), by_hand(model, (X, Y), 0.5), atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("physical", [1, 7, 49, 50, 256])
def test_physical_batches_change_nothing(mode: str, physical: int) -> None:
    found = clipped_sum(perceptron(), (X, Y), physical_batch=physical, mode=mode)
    assert torch.allclose(found, by_hand(perceptron(), (X, Y), 0.5), atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_without_noise_it_is_plain_clipped_sgd_with_momentum(mode: str) -> None:
    model, plain = perceptron(), perceptron()
    fit(
        model,
        (X, Y),
        plan(steps=5, lot=50.0, learning_rate=0.5, momentum=0.9, mode=mode, physical_batch=20, chunk=2),
    )
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.5, momentum=0.9)
    for _ in range(5):
        total = by_hand(plain, (X, Y), 0.5) / 50
        for p, piece in zip(
            plain.parameters(), total.split([p.numel() for p in plain.parameters()]), strict=True
        ):
            p.grad = piece.view_as(p)
        optimizer.step()
    assert not torch.allclose(flat(model), flat(perceptron()), atol=1e-2)
    assert torch.allclose(flat(model), flat(plain), atol=1e-5)


def test_another_optimizer_moves_by_the_same_gradient() -> None:
    model, plain = perceptron(), perceptron()
    fit(model, (X, Y), plan(optimizer=lambda params: torch.optim.Adam(params, lr=0.1)))
    first = -0.1 * by_hand(plain, (X, Y), 0.5).sign()
    moved = (flat(model) - flat(plain)) - first
    assert moved.abs().median() < 1e-4


@pytest.mark.parametrize("mode", MODES)
def test_noise_has_the_declared_deviation(mode: str) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(200, 200), nn.Linear(200, 3))
    before, data = flat(model), (torch.randn(4, 200), Y[:4])
    due = by_hand(model, data, 0.5)
    fit(model, data, plan(noise_multiplier=3.0, lot=8.0, mode=mode))
    noise = (before - flat(model)) * 8 - due
    count = len(noise)
    assert abs(float(noise.mean())) < 6 * 1.5 / math.sqrt(count)
    assert float(noise.std()) == pytest.approx(1.5, rel=6 / math.sqrt(2 * count))
    assert float(noise[:1000].std()) == pytest.approx(1.5, rel=0.14)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rows", [0, 40])
def test_an_empty_batch_is_a_step_of_noise_alone(mode: str, rows: int) -> None:
    torch.manual_seed(1)
    model = nn.Linear(200, 100)
    before = flat(model)
    data = (torch.randn(rows, 200), torch.zeros(rows, dtype=torch.int64))
    account = fit(model, data, plan(sampling=1e-9, noise_multiplier=2.0, lot=4.0, mode=mode))
    assert float((flat(model) - before).std()) == pytest.approx(2.0 * 0.5 / 4, rel=0.05)
    assert len(account.tokens) == 1


def test_the_normaliser_does_not_follow_the_number_of_rows() -> None:
    """N against N + 1: nothing but the row's own clipped gradient may differ."""
    fewer, more, start = perceptron(), perceptron(), flat(perceptron())
    fit(fewer, (X[:49], Y[:49]), plan(lot=25.0))
    fit(more, (X, Y), plan(lot=25.0))
    own = by_hand(perceptron(), (X[49:], Y[49:]), 0.5)
    assert torch.allclose(flat(fewer) - flat(more), own / 25, atol=1e-5)
    assert not torch.equal(flat(fewer), start)


@pytest.mark.parametrize("rows", [49, 50])
def test_no_public_figure_follows_the_number_of_rows(rows: int) -> None:
    model = perceptron()
    privacy = plan(sampling=0.01, steps=7, chunk=3, noise_multiplier=1.0)
    steps: list[int] = []
    account = fit(model, (X[:rows], Y[:rows]), privacy, on_step=steps.append)
    assert steps == [1, 2, 3, 4, 5, 6, 7]
    assert account.closed == [(3, 3), (3, 3), (1, 1)]


@pytest.mark.parametrize("mode", MODES)
def test_each_step_uses_one_token_once(mode: str) -> None:
    account = fit(perceptron(), (X, Y), plan(steps=5, chunk=2, mode=mode, physical_batch=7))
    assert len(account.tokens) == 5
    assert account.closed == [(2, 2), (2, 2), (1, 1)]
    for token in account.tokens:
        with pytest.raises(TokenUsed):
            token.use(token.event)


def test_a_used_token_moves_nothing() -> None:
    model, privacy = perceptron(), plan()
    account = fit(perceptron(), (X, Y), privacy)
    with opened(model, privacy) as trainer:
        trainer._gradients(X, Y)
        with pytest.raises(TokenUsed):
            trainer.optimizer.private_step(account.tokens[0])
    assert torch.equal(flat(model), flat(perceptron()))


@pytest.mark.parametrize("mode", MODES)
def test_no_right_no_change(mode: str) -> None:
    model = perceptron()
    account = FakeAccount(room=1)
    with pytest.raises(PrivacyBudgetExceeded):
        fit(model, (X, Y), plan(steps=2, mode=mode), account)
    assert torch.equal(flat(model), flat(perceptron()))
    assert not account.tokens


def test_a_step_that_fails_draws_no_noise_and_gives_the_rest_back() -> None:
    model = perceptron()
    left = [3]

    class Failing:
        def __len__(self) -> int:
            return 50

        def __getitem__(self, index: int) -> Any:
            if index == 49:
                left[0] -= 1
                if left[0] == 0:
                    raise OSError("the disk")
            return X[index], Y[index]

    account = FakeAccount()
    with pytest.raises(OSError, match="the disk"):
        fit(model, Failing(), plan(steps=8), account)
    assert account.closed == [(8, 2)]
    twice = perceptron()
    fit(twice, (X, Y), plan(steps=2))
    assert torch.allclose(flat(model), flat(twice), atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_a_row_that_overflows_counts_as_zero(mode: str) -> None:
    x = X.clone()
    x[3], x[20] = float("nan"), float("inf")
    whole = torch.ones(50, dtype=torch.bool)
    whole[[3, 20]] = False
    for physical in (7, 256):
        found = clipped_sum(perceptron(), (x, Y), mode=mode, physical_batch=physical)
        assert torch.allclose(found, by_hand(perceptron(), (X[whole], Y[whole]), 0.5), atol=1e-5)
    x[:] = float("nan")
    assert not clipped_sum(perceptron(), (x, Y), mode=mode).any()


def test_opacus_own_ways_to_step_are_closed() -> None:
    with opened(perceptron(), plan()) as trainer:
        for way in (trainer.optimizer.step, trainer.optimizer.add_noise):
            with pytest.raises(UsageError, match="token"):
                way()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fails", [False, True])
def test_the_model_comes_back_as_it_was(mode: str, fails: bool) -> None:
    model = convolutions()
    model[1].eval()
    modes = [module.training for module in model.modules()]
    kept = copy.deepcopy(vars(model[0]))
    if fails:
        with pytest.raises(PrivacyBudgetExceeded):
            fit(model, (IMAGES, Y[:12]), plan(mode=mode), FakeAccount(room=0))
    else:
        fit(model, (IMAGES, Y[:12]), plan(mode=mode))
    assert [module.training for module in model.modules()] == modes
    assert set(vars(model[0])) == set(kept)
    for p in model.parameters():
        assert not vars(p)
        assert p.grad is None
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._backward_hooks
    nn.functional.cross_entropy(model(IMAGES), Y[:12]).backward()
    copy.deepcopy(model)


def test_numpy_rows_in_double_precision_are_taken() -> None:
    found = clipped_sum(perceptron(), (X.double().numpy(), Y.numpy()))
    assert torch.allclose(found, by_hand(perceptron(), (X, Y), 0.5), atol=1e-5)
    found = clipped_sum(perceptron(), torch.utils.data.TensorDataset(X, Y))
    assert torch.allclose(found, by_hand(perceptron(), (X, Y), 0.5), atol=1e-5)
