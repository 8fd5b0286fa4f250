"""Marvell's noise is the best for its power and no more than that; distance correlation is what the paper defines."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from silo.crypto.rng import InsecureSeededRng  # noqa: E402
from silo.errors import ParameterError  # noqa: E402
from silo.leak import Meter, Reading  # noqa: E402
from silo.vertical.splitting.decorrelation import Decorrelation, distance_correlation  # noqa: E402
from silo.vertical.splitting.marvell import Marvell, fit, objective, optimum  # noqa: E402

Array = np.ndarray[Any, Any]
Pair = tuple[float, float]

# Variances of both classes in units of |D|^2, width, share of positives, power.
CASES = [
    ((0.05, 0.2), 16, 0.22, 4.0),
    ((0.2, 0.05), 16, 0.22, 4.0),
    ((0.01, 0.9), 16, 0.5, 1.0),
    ((2.0, 0.1), 8, 0.05, 0.3),
    ((0.3, 0.3), 4, 0.3, 2.0),
    ((0.1, 0.4), 1, 0.3, 2.0),
    ((0.0, 0.5), 16, 0.9, 50.0),
]


def batch(seed: int, rows: int = 512, width: int = 16, rate: float = 0.22) -> tuple[Array, Array]:
    """Gradients as a top returns them: a residual times a slope, which differs somewhat from row to row."""
    source = np.random.default_rng(seed)
    labels = (source.random(rows) < rate).astype(np.int64)
    slopes = source.normal(size=width) + 0.3 * source.normal(size=(rows, width))
    residuals = rate + 0.05 * source.normal(size=rows) - labels
    return (residuals[:, None] * slopes).astype(np.float32), labels


def divergence(first: Array, second: Array, apart: Array) -> float:
    """The sum of both Kullback-Leibler divergences of two Gaussians, from their covariances."""
    total = 0.0
    for one, other in ((first, second), (second, first)):
        inverse = np.linalg.inv(other)
        logs = np.linalg.slogdet(other)[1] - np.linalg.slogdet(one)[1]
        total += 0.5 * (np.trace(inverse @ one) + apart @ inverse @ apart - len(apart) + logs)
    return float(total)


def with_noise(spreads: Pair, along: Pair, beside: Pair, width: int) -> float:
    own = [max(one, 1e-12) for one in spreads]
    return objective((along[0] + own[0], along[1] + own[1]), (beside[0] + own[0], beside[1] + own[1]), width)


def test_the_objective_is_the_divergence_of_the_noised_classes() -> None:
    source = np.random.default_rng(1)
    axis = source.normal(size=5)
    axis /= np.linalg.norm(axis)
    outer = np.outer(axis, axis)
    covariances = [along * outer + beside * (np.eye(5) - outer) for along, beside in ((1.3, 0.4), (0.7, 0.9))]
    want = divergence(covariances[0], covariances[1], axis)
    assert objective((1.3, 0.7), (0.4, 0.9), 5) == pytest.approx(2 * want + 10, rel=1e-12)


@pytest.mark.parametrize(("spreads", "width", "share", "power"), CASES)
def test_no_other_noise_of_the_same_power_does_better(
    spreads: Pair, width: int, share: float, power: float
) -> None:
    along, beside = optimum(spreads, width, share, power)
    shares = np.array([1 - share, share])
    used = shares @ (np.array(along) + (width - 1) * np.array(beside))
    assert used == pytest.approx(power, rel=1e-9)
    assert min(*along, *beside) >= 0
    best = with_noise(spreads, along, beside, width)
    even = (power / width, power / width)
    assert best < with_noise(spreads, even, even, width) * (1 if width > 1 else 1 + 1e-9)
    source = np.random.default_rng(2)
    parts = source.dirichlet(np.full(4, 0.3), size=20_000) * power
    if width == 1:
        parts[:, 2:] = 0
        parts *= power / parts.sum(axis=1, keepdims=True)
    for negative, positive, first, second in parts:
        others = (negative / shares[0], positive / shares[1])
        rest = (first / shares[0] / max(width - 1, 1), second / shares[1] / max(width - 1, 1))
        assert best <= with_noise(spreads, others, rest, width) * (1 + 1e-9)


@pytest.mark.parametrize(("spreads", "width", "share", "power"), CASES)
def test_a_small_step_from_the_optimum_costs_little_and_helps_nowhere(
    spreads: Pair, width: int, share: float, power: float
) -> None:
    """A gradient test: no exchange of power between two of the four places is a gain."""
    found = np.array(optimum(spreads, width, share, power)).ravel()
    price = np.array([1 - share, share, (width - 1) * (1 - share), (width - 1) * share])
    best = with_noise(spreads, tuple(found[:2]), tuple(found[2:]), width)
    for giver in range(4):
        for taker in range(4):
            moved = min(1e-4 * power, found[giver] * price[giver])
            if giver == taker or not price[taker] or not moved:
                continue
            other = found.copy()
            other[giver] -= moved / price[giver]
            other[taker] += moved / price[taker]
            told = with_noise(
                spreads, tuple(np.maximum(other[:2], 0)), tuple(np.maximum(other[2:], 0)), width
            )
            assert told >= best * (1 - 1e-9)


def test_the_noise_uses_its_power_and_has_the_shape_that_was_found() -> None:
    gradients, labels = batch(3)
    power = 4.0
    apart = gradients[labels == 1].mean(axis=0) - gradients[labels == 0].mean(axis=0)
    square = float(apart.astype(np.float64) @ apart)
    shape = fit(gradients, labels, power)
    assert shape is not None
    assert shape.axis == pytest.approx(apart / math.sqrt(square), abs=1e-6)
    rng, runs = InsecureSeededRng(4), 200
    noise = np.array(
        [
            Marvell(power).disguise(gradients, labels, rng=rng).astype(np.float64) - gradients
            for _ in range(runs)
        ]
    )
    assert np.square(noise).sum(axis=2).mean() == pytest.approx(power * square, rel=0.02)
    for label in (0, 1):
        of_class = noise[:, labels == label].reshape(-1, gradients.shape[1])
        along = of_class @ shape.axis
        beside = of_class - along[:, None] * shape.axis
        assert along.std() == pytest.approx(shape.along[label], rel=0.03)
        each = math.sqrt(np.square(beside).sum(axis=1).mean() / (gradients.shape[1] - 1))
        assert each == pytest.approx(shape.beside[label], rel=0.03, abs=1e-6)
        assert abs(of_class.mean()) < 0.01 * shape.along[label]


def test_what_comes_back_is_drawn_from_the_rng_anew() -> None:
    gradients, labels = batch(5)
    rng = InsecureSeededRng(6)
    first, second = (Marvell().disguise(gradients, labels, rng=rng) for _ in range(2))
    again = Marvell().disguise(gradients, labels, rng=InsecureSeededRng(6))
    assert first.dtype == np.float32
    assert first.shape == gradients.shape
    assert np.array_equal(first, again)
    assert not (first == second).any()


def test_batches_with_nothing_to_hide_come_back_as_they_are() -> None:
    gradients, labels = batch(7)
    for told in (np.zeros_like(labels), np.ones_like(labels)):
        assert np.array_equal(Marvell().disguise(gradients, told, rng=InsecureSeededRng(1)), gradients)
    twice, both = np.concatenate([gradients, gradients]), np.repeat([0, 1], len(gradients))
    assert np.array_equal(Marvell().disguise(twice, both, rng=InsecureSeededRng(1)), twice)
    none = np.zeros((0, 16), np.float32)
    assert Marvell().disguise(none, np.zeros(0, np.int64), rng=InsecureSeededRng(1)).shape == (0, 16)


@pytest.mark.parametrize("size", [1e-18, 1.0, 1e15])
@pytest.mark.parametrize("width", [1, 2, 16])
def test_one_positive_alone_and_classes_without_spread_are_hidden_too(size: float, width: int) -> None:
    gradients = np.ones((6, width), np.float32) * np.float32(size)
    gradients[2] = -3 * size
    labels = np.array([0, 0, 1, 0, 0, 0])
    returned = Marvell().disguise(gradients, labels, rng=InsecureSeededRng(8))
    assert np.isfinite(returned).all()
    assert (returned != gradients).all()
    # Twice as large a difference has twice the noise.
    double = Marvell().disguise(2 * gradients, labels, rng=InsecureSeededRng(8))
    assert double == pytest.approx(2 * returned, rel=1e-4)


def test_what_marvell_cannot_do_is_refused_by_name() -> None:
    gradients, labels = batch(9, rows=4)
    rng = InsecureSeededRng(1)
    for power in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ParameterError, match=r"power of Marvell's noise is a number above 0, not"):
            Marvell(power)
    with pytest.raises(ParameterError, match="labels of 0 and 1, not 2"):
        Marvell().disguise(gradients, np.array([0, 1, 2, 1]), rng=rng)
    with pytest.raises(ParameterError, match=r"\(3,\) labels came for \(4, 16\)"):
        Marvell().disguise(gradients, labels[:3], rng=rng)
    gradients[2, 5] = np.nan
    with pytest.raises(ParameterError, match="nan in row 2"):
        Marvell().disguise(gradients, labels, rng=rng)


def attacked(noise: str, epochs: int = 20) -> Reading:
    """What the meter reads of 4000 rows whose gradients are the same in every epoch but for the noise."""
    gradients, labels = batch(10, rows=4000)
    rng, source = InsecureSeededRng(11), np.random.default_rng(12)
    meter = Meter(labels)
    for _ in range(epochs):
        for rows in np.array_split(source.permutation(len(labels)), 8):
            given = gradients[rows]
            if noise == "marvell":
                given = Marvell().disguise(given, labels[rows], rng=rng)
            elif noise == "isotropic":
                apart = given[labels[rows] == 1].mean(axis=0) - given[labels[rows] == 0].mean(axis=0)
                each = math.sqrt(4.0 * float(apart @ apart) / given.shape[1])
                given = (given + each * source.normal(size=given.shape)).astype(np.float32)
            meter.saw(rows, given)
    return meter.end_epoch()


def test_marvell_hides_labels_in_a_batch_and_not_over_epochs() -> None:
    bare, even, found = (attacked(one) for one in ("none", "isotropic", "marvell"))
    for name in ("norm", "cosine"):
        assert bare.attack(name).batch_mean > 0.95
        assert found.attack(name).batch_mean < 0.75
    assert found.attack("cosine").batch_mean < even.attack("cosine").batch_mean - 0.1
    # The same gradients, added up: the noise averages out, and the label is there.
    assert found.attack("cosine").accumulated > 0.9
    assert found.leak > found.attack("cosine").batch_mean + 0.2


def by_hand(x: Array, z: Array) -> float:
    """The sample's distance correlation, as it is defined, number by number."""

    def centred(rows: Array) -> Array:
        count = len(rows)
        far = np.array([[math.dist(rows[i], rows[j]) for j in range(count)] for i in range(count)])
        return far - far.mean(axis=0) - far.mean(axis=1)[:, None] + far.mean()

    a, b = centred(x), centred(z)
    product = math.sqrt((a * a).mean() * (b * b).mean())
    return math.sqrt(max((a * b).mean(), 0.0) / product)


def tensors(seed: int, rows: int, *widths: int) -> list[torch.Tensor]:
    source = np.random.default_rng(seed)
    return [torch.from_numpy(source.normal(size=(rows, width))) for width in widths]


def test_distance_correlation_is_the_definitions() -> None:
    x, z = tensors(1, 40, 3, 5)
    related = torch.tanh(x @ torch.ones(3, 5, dtype=x.dtype)) + 0.3 * z
    for one in (z, related):
        assert float(distance_correlation(x, one)) == pytest.approx(
            by_hand(x.numpy(), one.numpy()), abs=1e-12
        )
    assert float(distance_correlation(x, related)) > float(distance_correlation(x, z)) + 0.1
    assert distance_correlation(x, related.float()).dtype == torch.float32


def test_known_values() -> None:
    x, z = tensors(2, 800, 2, 2)
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=x.dtype)
    assert float(distance_correlation(x, 3 * x @ turn + 7)) == pytest.approx(1, abs=1e-12)
    assert float(distance_correlation(x[:, :1], 2 - 5 * x[:, :1])) == pytest.approx(1, abs=1e-12)
    assert float(distance_correlation(x, z)) < 0.15
    # Dependent and not correlated.
    assert float(distance_correlation(x[:, :1], x[:, :1].square())) > 0.4
    # Neither shift nor size matters, also where squares of float32 would not hold them.
    want = float(distance_correlation(x, z))
    assert float(distance_correlation(x, 1e-12 * z.float())) == pytest.approx(want, abs=1e-4)
    assert float(distance_correlation(1e12 * x, z.float())) == pytest.approx(want, abs=1e-4)


@pytest.mark.parametrize("same", ["z", "x", "both"])
def test_where_rows_coincide_gradients_are_finite(same: str) -> None:
    for rows in (0, 1, 2, 6):
        x, z = tensors(3, rows, 3, 4)
        x = torch.ones_like(x) if same in ("x", "both") else x
        z = (torch.ones_like(z) if same in ("z", "both") else z).requires_grad_()
        found = distance_correlation(x, z)
        found.backward()
        assert found.item() == 0
        assert z.grad is not None
        assert torch.isfinite(z.grad).all()
    x, z = tensors(4, 6, 3, 4)
    z[3] = z[1]
    x[2] = x[1]
    z.requires_grad_()
    distance_correlation(x, z).backward()
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()
    assert z.grad.abs().sum() > 0


def test_its_gradient_is_that_of_small_steps() -> None:
    x, z = tensors(5, 9, 3, 4)
    z.requires_grad_()
    assert torch.autograd.gradcheck(lambda one: distance_correlation(x, one), (z,))


def test_the_penalty_is_summed_over_rows() -> None:
    x, z = tensors(6, 50, 3, 4)
    want = 0.5 * 50 * float(distance_correlation(x, z))
    assert float(Decorrelation(0.5).penalty(x, z)) == pytest.approx(want)
    for weight in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ParameterError, match="weight of a decorrelation is a number above 0, not"):
            Decorrelation(weight)
    with pytest.raises(ParameterError, match=r"the same rows, not of \(50, 3\) and \(49, 4\)"):
        distance_correlation(x, z[1:])
    with pytest.raises(ParameterError, match="of the same rows"):
        distance_correlation(x[:, 0], z)


def trained(decorrelation: Decorrelation | None) -> tuple[float, float]:
    """A toy host: distance correlation of columns and activations after some steps, and the mean loss of its task."""
    x, noise = (one.float() for one in tensors(7, 256, 6, 1))
    wanted = ((x[:, :1] + 0.3 * noise) > 0).float()
    source = torch.Generator().manual_seed(8)
    first = (0.4 * torch.randn(6, 4, generator=source)).requires_grad_()
    last = (0.4 * torch.randn(4, 1, generator=source)).requires_grad_()
    optimizer = torch.optim.Adam([first, last], lr=0.05)
    loss = torch.zeros(())
    for _ in range(60):
        z = x @ first
        loss = torch.nn.functional.binary_cross_entropy_with_logits(z @ last, wanted, reduction="sum")
        total = loss if decorrelation is None else loss + decorrelation.penalty(x, z)
        optimizer.zero_grad()
        (total / len(x)).backward()
        optimizer.step()
    return float(distance_correlation(x, (x @ first).detach())), loss.item() / len(x)


def test_the_penalty_pulls_the_correlation_down_and_the_task_is_still_learned() -> None:
    plain, hidden = trained(None), trained(Decorrelation(1.0))
    assert hidden[0] < plain[0] - 0.15
    assert hidden[1] < 0.45
