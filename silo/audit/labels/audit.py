"""`silo audit labels`: every attack on the reference job, under one defence.

Each attack stands beside what bounds it: the gradients' beside what the guarantee promises, the completions beside
what honesty explains. The job is trained anew for the attacks that need another one: an active attacker, and a job
without a merging layer. The task's own figures show what the defence costs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from silo.audit.labels import bottoms, completion, inversion
from silo.audit.labels.defence import Defence
from silo.audit.labels.people import Part, People
from silo.audit.labels.training import SplitTraining
from silo.leak import networks
from silo.leak.auc import auc
from silo.leak.bound import bound
from silo.leak.meter import Meter
from silo.leak.reading import Attack, Reading
from silo.leak.unexplained import beyond

if TYPE_CHECKING:
    from silo.crypto.rng import Rng

Array = npt.NDArray[Any]
Told = Callable[[], None]

JOBS: Final = 5
"""Trainings of one audit: the job, the same undefended, the label party alone, an active host, an unmerged top."""
REPEATED: Final = 2
"""Of these, those that each further run trains again."""
_AUXILIARY: Final = 2000
_CONFIDENCE: Final = 0.999
"""Of all attacks on gradients at once, as beside a fit."""


@dataclass(frozen=True, slots=True)
class Row:
    """One attack. `accumulated` counts what the features tell; `beyond` and its interval do not.

    Of a completion `beyond` is the AUC of training records, and of an inversion the decoder's error. `bound` is what
    `beyond` is held against, and `fault` says that a guarantee is refuted.
    """

    attack: str
    per_batch: float | None
    accumulated: float | None
    beyond: float
    low: float | None
    high: float | None
    bound: float | None
    verdict: str
    fault: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """Areas under the curve of held-out records, means over runs: defended, undefended, and the label party alone."""

    defended: float
    undefended: float
    alone: float


@dataclass(frozen=True, slots=True)
class Run:
    """One defended job: readings after each epoch, and how well it learned the task."""

    readings: tuple[Reading, ...]
    auc: float


@dataclass(frozen=True, slots=True)
class Found:
    """The audit of one kind of bottom."""

    layers: str
    rows: tuple[Row, ...]
    task: Task
    runs: tuple[Run, ...]
    bounds: tuple[float, ...]

    @property
    def fault(self) -> bool:
        """Whether a guarantee is refuted."""
        return any(row.fault for row in self.rows)


def examine(
    people: People,
    *,
    layers: str,
    defence: Defence,
    epochs: int,
    rng: Rng,
    runs: int = 1,
    told: Told = lambda: None,
) -> Found:
    """Attack one job, and repeat it and the undefended one `runs` times in all. Raises `ParameterError`."""

    def job(**how: Any) -> SplitTraining:
        settings: dict[str, Any] = {"layers": layers, "defence": defence, "epochs": epochs, "rng": rng}
        return SplitTraining(how.pop("people", people), **{**settings, **how})

    with bottoms.one_thread():
        trained = job()
        made = [Run(_metered(trained, people, epochs, told), _judged(trained, people.held_out))]
        bare = _blind(people)
        plain = Defence("none")
        alone = _judged(_trained(job(people=bare, defence=plain), epochs, told), bare.held_out)
        active = _trained(job(malicious=True), epochs, told)
        unmerged = job(merged=False)
        few = _few(people.train.labels, rng)
        width = networks.WIDTH
        rows = [
            *_gradient_rows(made[0].readings[-1], defence, epochs, width),
            _direct_row(_metered(unmerged, people, epochs, told, direct=True), defence, epochs),
            _completion_row("passive completion", trained, people, few),
            _completion_row("active completion", active, people, few),
            _inversion_row(trained, people, rng),
        ]
        for _ in range(runs - 1):
            again = job()
            made.append(Run(_metered(again, people, epochs, told), _judged(again, people.held_out)))
        undefended = [
            _judged(_trained(job(defence=plain), epochs, told), people.held_out) for _ in range(runs)
        ]
    task = Task(fmean(run.auc for run in made), fmean(undefended), alone)
    bounds = tuple(bound(defence.mu(epoch, width)) for epoch in range(1, epochs + 1))
    return Found(layers, tuple(rows), task, tuple(made), bounds)


def _metered(
    training: SplitTraining, people: People, epochs: int, told: Told, *, direct: bool = False
) -> tuple[Reading, ...]:
    """Train with the meter beside it; a reading after each epoch."""
    meter = Meter(people.train.labels, confidence=_CONFIDENCE)

    def saw(rows: Array, gradients: Array) -> None:
        meter.saw(rows, completion.direct(gradients) if direct else gradients)

    readings = []
    for _ in range(epochs):
        training.epoch(saw)
        reading = meter.end_epoch(training.prior(people.train))
        known = auc(training.logits(people.train), people.train.labels)
        readings.append(replace(reading, attacks=tuple(beyond(one, known) for one in reading.attacks)))
        told()
    return tuple(readings)


def _trained(training: SplitTraining, epochs: int, told: Told) -> SplitTraining:
    for _ in range(epochs):
        training.epoch()
        told()
    return training


def _judged(training: SplitTraining, held_out: Part) -> float:
    """How well held-out records are told, once the label party has learned on by itself."""
    training.finish()
    return auc(training.logits(held_out), held_out.labels)


def _blind(people: People) -> People:
    """The same records when the host has nothing."""
    parts = [
        replace(part, host=np.zeros((len(part), 1), np.float32)) for part in (people.train, people.held_out)
    ]
    return People(people.title, parts[0], parts[1])


def _gradient_rows(reading: Reading, defence: Defence, epochs: int, width: int) -> list[Row]:
    limit = bound(defence.mu(epochs, width))
    return [_held(one.name, one, limit, defence) for one in reading.attacks]


def _direct_row(readings: Sequence[Reading], defence: Defence, epochs: int) -> Row:
    one = readings[-1].attack("spectral")
    return _held("direct, top not merged", one, bound(defence.mu(epochs, 1)), defence)


def _held(name: str, one: Attack, limit: float, defence: Defence) -> Row:
    """Hold an attack on gradients against its bound."""
    over = one.low > limit
    if defence.guaranteed:
        verdict = "a fault: beyond the bound" if over else "within the bound"
    elif limit < 1:
        verdict = "no guarantee, and beyond it" if over else "no guarantee"
    else:
        verdict = _bare(one)
    fault = over and defence.guaranteed
    figures = one.batch_mean, one.accumulated, one.beyond_features, one.low, one.high
    return Row(name, *figures, limit, verdict, fault)


def _bare(one: Attack) -> str:
    """The verdict where nothing is promised."""
    if one.low > 0.5:
        return "leaks, nothing is promised"
    if one.beyond_features > 0.5:
        return "too few records to tell a leak from features"
    return "no more than features tell"


def _completion_row(name: str, training: SplitTraining, people: People, few: Array) -> Row:
    def guessed(part: Part) -> completion.Guessed:
        return completion.Guessed(training.activations(part.host), part.host, part.labels)

    found = completion.complete(guessed(people.train), guessed(people.held_out), few)
    honest = max(found.held_out, found.alone)
    verdict = f"leaks {found.excess:.3f} more than honest" if found.leaks else "no more than honest"
    return Row(name, None, None, found.train, None, None, honest, verdict)


def _inversion_row(training: SplitTraining, people: People, rng: Rng) -> Row:
    def pairs(part: Part) -> tuple[Array, Array]:
        some = part[:_AUXILIARY]
        return training.activations(some.host), some.host

    error = inversion.invert(pairs(people.held_out), pairs(people.train), rng=rng)
    share = max(0.0, 1 - error)
    return Row(
        "feature inversion", None, None, error, None, None, 1.0, f"{share:.0%} of the features' variance read"
    )


def _few(labels: Array, rng: Rng) -> Array:
    """Records of both classes whose labels the attacker has, in the classes' own ratio."""
    import torch

    order = torch.empty(len(labels)).uniform_(generator=networks.generator(rng)).argsort().numpy()
    count = min(completion.FEW, len(labels) // 4)
    positive = max(2, round(count * float(labels.mean())))
    shuffled = labels[order]
    return np.concatenate([order[shuffled > 0][:positive], order[shuffled <= 0][: count - positive]])
