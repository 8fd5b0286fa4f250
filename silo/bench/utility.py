"""What a budget still buys: accuracy at a given epsilon, by the very calls that a member makes.

Every epsilon is the ledger's own, of all that was charged, by the PLD accountant. Noise is fresh in every run; a
seed chooses the split into train and test.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

import silo
from silo.bench import Measurement, Row, Settings, fashion, heart, scattering
from silo.bench.measure import Run, Timing, timed
from silo.demo.data import Hospital
from silo.demo.settings import PRIVATE, PRIVATE_ROUNDS
from silo.errors import ParameterError
from silo.privacy.budget import Budget
from silo.privacy.ledger import Ledger
from silo.session import Session
from silo.training.private.plan import DPSGD

DIGITS: Final = DPSGD(
    sampling=0.1, steps=300, clip=1.0, lot=144.0, epsilon=7.8, delta=1e-5, learning_rate=1.0, momentum=0.5
)
_DIGITS_TEST: Final = 0.2
_PIXEL: Final = 16.0
"""The largest value of a pixel of the digits: their form, not their rows."""

HEART: Final = PRIVATE
_ROUNDS: Final = PRIVATE_ROUNDS
_CLIP: Final = 8.0
"""Of the sum: three steps with their noise move no weight so far."""

FASHION: Final = DPSGD(
    sampling=4096 / 60_000,
    steps=300,
    clip=0.1,
    lot=4096.0,
    epsilon=2.7,
    delta=1e-5,
    learning_rate=12.0,
    momentum=0.9,
    mode="ghost",
    physical_batch=8192,
)
_FASHION_ROWS: Final = 60_000
_GROUPS: Final = 27


class Outcome(NamedTuple):
    """One run: its accuracy, the ledger's epsilon, and how long it took."""

    accuracy: float
    epsilon: float
    run: Run
    note: str = ""


def digits(settings: Settings) -> Iterator[Row]:
    """A small perceptron on scikit-learn's digits, trained alone with `silo.fit_private`."""
    outcomes = [_digits(seed) for seed in range(settings.seeds)]
    yield from _rows("digits", outcomes, DIGITS, accuracy=0.92)


def heart_hospitals(settings: Settings) -> Iterator[Row]:
    """Logistic regression of four hospitals, each on its own budget; the mean of their test accuracies."""
    if settings.data is None:
        yield from _missing("heart", HEART, 0.69, "give --data DIR, the four files of the UCI heart data")
        return
    try:
        outcomes = [_heart(settings.data, seed) for seed in range(settings.seeds)]
    except ParameterError as problem:
        yield from _missing("heart", HEART, 0.69, str(problem))
        return
    yield from _rows("heart", outcomes, HEART, accuracy=0.69)


def fashion_mnist(settings: Settings) -> Iterator[Row]:
    """A linear model on scattered images."""
    try:
        images = fashion.load(settings.fashion or fashion.FOLDER)
    except ParameterError as problem:
        yield from _missing("Fashion-MNIST", FASHION, 0.86, str(problem))
        return
    yield from _rows("Fashion-MNIST", [_fashion(images, settings.images)], FASHION, accuracy=0.86)


MEASUREMENTS: Final[tuple[Measurement, ...]] = (digits, heart_hospitals, fashion_mnist)


def _digits(seed: int) -> Outcome:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    x, y = (bunch.data / _PIXEL).astype(np.float32), bunch.target.astype(np.int64)
    train_x, test_x, train_y, test_y = train_test_split(
        x, y, test_size=_DIGITS_TEST, random_state=seed, stratify=y
    )
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
    epsilon, run = _fit(model, (train_x, train_y), DIGITS)
    return Outcome(_accuracy(model, test_x, test_y), epsilon, run)


def _heart(folder: Path, seed: int) -> Outcome:
    hospitals = {one.name: one for one in heart.split(folder, seed)}
    found: dict[str, tuple[float, float]] = {}

    def work() -> None:
        budget = Budget(HEART.epsilon or 0.0, HEART.delta or 0.0)
        found.update(silo.simulate(list(hospitals), _member, hospitals, budget=budget, clip=_CLIP))

    run = _alone(work)
    each = ", ".join(f"{name} {accuracy:.3f}" for name, (accuracy, _) in found.items())
    return Outcome(
        fmean(accuracy for accuracy, _ in found.values()),
        max(epsilon for _, epsilon in found.values()),
        run,
        each,
    )


def _member(session: Session, hospital: Hospital) -> tuple[float, float]:
    """What each hospital runs: public ranges, private training, and a test that stays at home."""
    scale = partial(silo.standardize, session, low=heart.LOW, high=heart.HIGH)
    train_x, test_x = (scale(part).astype(np.float32) for part in (hospital.train_x, hospital.test_x))
    model = nn.Linear(len(heart.LOW), 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    silo.train(
        session,
        model,
        (train_x, hospital.train_y.astype(np.float32)[:, None]),
        algorithm=silo.FedAvg(rounds=_ROUNDS),
        loss=nn.functional.binary_cross_entropy_with_logits,
        privacy=HEART,
    )
    with torch.no_grad():
        said = model(torch.from_numpy(test_x))[:, 0].numpy() > 0
    policy = session.policy
    spent = float("inf") if policy is None else policy.account.epsilon()
    return float((said == (hospital.test_y > 0)).mean()), spent


def _fashion(images: Sequence[npt.NDArray[np.uint8]], most: int) -> Outcome:
    train_x, train_y, test_x, test_y = images
    plan = replace(FASHION, lot=FASHION.sampling * min(most, _FASHION_ROWS))
    parts: dict[str, torch.Tensor] = {}

    def work() -> None:
        for name, pixels in (("train", train_x[:most]), ("test", test_x[:most])):
            grey = torch.from_numpy(pixels.astype(np.float32) / 255.0)
            parts[name] = scattering.features(grey, groups=_GROUPS)

    scattered = timed(work)()
    model = nn.Linear(parts["train"].shape[1], fashion.CLASSES)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    epsilon, run = _fit(model, (parts["train"], torch.from_numpy(train_y[:most].astype(np.int64))), plan)
    accuracy = _accuracy(model, parts["test"], test_y[:most])
    whole = Run(scattered.wall + run.wall, scattered.cpu + run.cpu)
    return Outcome(accuracy, epsilon, whole, f"scattering {scattered.wall:.0f} s, training {run.wall:.0f} s")


def _fit(model: nn.Module, data: tuple[Any, Any], privacy: DPSGD) -> tuple[float, Run]:
    """Train on a budget of its own that is just enough; returns the ledger's epsilon."""
    with (
        tempfile.TemporaryDirectory(prefix="silo-bench-") as folder,
        Ledger.open(Path(folder) / "ledger.db") as ledger,
    ):
        account = ledger.add("rows", Budget(privacy.epsilon or 0.0, privacy.delta or 0.0))
        run = timed(lambda: silo.fit_private(model, data, privacy=privacy, ledger=ledger))()
        return account.epsilon(), run


def _alone(work: Any) -> Run:
    """Run with one thread of torch: the members of a simulation are threads already."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return timed(work)()
    finally:
        torch.set_num_threads(threads)


def _accuracy(model: nn.Module, x: Any, y: Any) -> float:
    with torch.no_grad():
        said = model(torch.as_tensor(x)).argmax(dim=1).numpy()
    return float((said == y).mean())


def _rows(what: str, outcomes: Sequence[Outcome], plan: DPSGD, *, accuracy: float) -> Iterator[Row]:
    each = [one.accuracy for one in outcomes]
    spread = f"; deviation {stdev(each):.3f}, {min(each):.3f} to {max(each):.3f}" if len(each) > 1 else ""
    last = f"; the last: {outcomes[-1].note}" if outcomes[-1].note else ""
    yield Row(
        name=_accuracy_row(what),
        value=fmean(each),
        unit="of the test rows",
        against="a fixed bar",
        bound=accuracy,
        direction="at least",
        sides={"a run": Timing(tuple(one.run for one in outcomes))},
        note=f"mean of {len(each)} {'splits' if spread else 'run'}{spread}{last}",
    )
    sigma = plan.plan().noise_multiplier
    yield Row(
        name=_epsilon_row(what),
        value=max(one.epsilon for one in outcomes),
        unit=f"at delta {plan.delta:g}",
        against="the ledger's PLD",
        bound=plan.epsilon or 0.0,
        direction="at most",
        note=f"q {plan.sampling:.4g}, {plan.steps} steps, clip {plan.clip:g}, sigma {sigma:g}",
    )


def _missing(what: str, plan: DPSGD, accuracy: float, why: str) -> Iterator[Row]:
    """The rows of data that are not here."""
    yield Row(_accuracy_row(what), None, "of the test rows", "a fixed bar", accuracy, "at least", note=why)


def _accuracy_row(what: str) -> str:
    return f"{what}, accuracy"


def _epsilon_row(what: str) -> str:
    return f"{what}, epsilon"
