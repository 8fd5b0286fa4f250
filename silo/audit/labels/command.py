"""What `silo audit labels` was asked, checked before anything is trained, and what it says."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from silo.crypto.errors import ParameterError

if TYPE_CHECKING:
    from silo.audit.labels.audit import Found, Row
    from silo.audit.labels.defence import Defence
    from silo.audit.labels.people import People

_MOST_EPOCHS: Final = 1000
_MOST_RUNS: Final = 1000
_NOTES: Final = (
    "per batch and accumulated: area under the curve of guessing labels, .5 is a coin",
    "beyond features: accumulated, less what features tell (among records of a like prior, and by the model's own AUC;",
    "the less of both counts, with an interval of 99.9 %); the verdict rests on it",
    "completion: guesses of training records with a few labels known; its bound is what honesty explains",
    "inversion: error of a decoder, 1 is the mean of each feature; activations carry no noise in this job",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """The command's options, as they were given."""

    data: str | None
    epochs: int
    defence: str | None
    noise: float | None
    layers: str | None
    runs: int
    plot: str | None


@dataclass(frozen=True, slots=True)
class Said:
    """For programs, for people, and whether a guarantee was refuted."""

    document: dict[str, Any]
    screen: str
    fault: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """What was asked, found to be possible; the data are read."""

    asked: Asked
    people: People
    defence: Defence
    kinds: tuple[str, ...]


def check(asked: Asked) -> Ready:
    """Refuse what cannot be done, before anything is trained. Raises `ParameterError`."""
    from silo.audit.labels import people
    from silo.audit.labels.bottoms import LAYERS
    from silo.audit.labels.defence import named
    from silo.extras import need

    if not 1 <= asked.epochs <= _MOST_EPOCHS:
        raise ParameterError(f"--epochs takes a number from 1 to {_MOST_EPOCHS}, not {asked.epochs}")
    if not 1 <= asked.runs <= _MOST_RUNS:
        raise ParameterError(f"--runs takes a number from 1 to {_MOST_RUNS}, not {asked.runs}")
    if asked.layers is not None and asked.layers not in LAYERS:
        raise ParameterError(f"--layers takes {' or '.join(LAYERS)}, not {asked.layers}")
    defence = named(asked.defence, asked.noise, asked.epochs)
    if asked.plot is not None and not Path(asked.plot).absolute().parent.is_dir():
        raise ParameterError(f"the folder {Path(asked.plot).parent} is not there: make it first")
    need("the audit of split learning", "torch", "torch")
    held = people.load(None if asked.data is None else Path(asked.data))
    return Ready(asked, held, defence, LAYERS if asked.layers is None else (asked.layers,))


def run(ready: Ready, told: Callable[[int, int], None]) -> Said:
    """Attack, and write the plot. Raises `ParameterError`."""
    from silo.audit.labels.audit import JOBS, REPEATED, examine
    from silo.crypto.rng import SystemRng

    asked, held, defence = ready.asked, ready.people, ready.defence
    total = len(ready.kinds) * (JOBS + REPEATED * (asked.runs - 1)) * asked.epochs
    done = [0]

    def step() -> None:
        done[0] += 1
        told(done[0], total)

    found = [
        examine(
            held,
            layers=one,
            defence=defence,
            epochs=asked.epochs,
            rng=SystemRng(),
            runs=asked.runs,
            told=step,
        )
        for one in ready.kinds
    ]
    if asked.plot is not None:
        from silo.audit.labels.plot import page

        try:
            Path(asked.plot).write_text(page(held.title, _claim(defence, found), found), encoding="utf-8")
        except OSError as problem:
            raise ParameterError(f"{asked.plot} cannot be written: {problem.strerror}") from None
    return Said(
        _document(asked, held.title, defence, found), _screen(held.title, defence, found), _fault(found)
    )


def _fault(found: Sequence[Found]) -> bool:
    return any(one.fault for one in found)


def _claim(defence: Defence, found: Sequence[Found]) -> str:
    limit = found[0].bounds[-1]
    over = f"over {len(found[0].bounds)} epochs"
    if defence.guaranteed:
        return f"Defence guide, noise {defence.sigma:.3g}: no attack may exceed {limit:.3f} {over}."
    if defence.name == "isotropic":
        return f"Defence isotropic, scale {defence.sigma:.3g}: no guarantee; a clip would promise {limit:.3f} {over}."
    if defence.name == "marvell":
        return f"Defence marvell, power {defence.sigma:.3g}: nothing is promised; single batches flatter it."
    return f"Defence {defence.name}: nothing is promised."


def _document(asked: Asked, title: str, defence: Defence, found: Sequence[Found]) -> dict[str, Any]:
    from silo.leak.networks import WIDTH

    mu = defence.mu(asked.epochs, WIDTH)
    return {
        "audit": "labels",
        "data": title,
        "defence": defence.name,
        "sigma": defence.sigma or None,
        "epochs": asked.epochs,
        "mu": mu if math.isfinite(mu) else None,
        "bound": found[0].bounds[-1],
        "guaranteed": defence.guaranteed,
        "confidence": found[0].runs[0].readings[-1].confidence,
        "audits": [{"layers": one.layers, **_row(row)} for one in found for row in one.rows],
        "task": [{"layers": one.layers, **asdict(one.task)} for one in found],
        "runs": [
            {
                "layers": one.layers,
                "leak": made.readings[-1].leak,
                "lower_bound": made.readings[-1].low,
                "auc": made.auc,
                "beyond": made.readings[-1].beyond(mu),
            }
            for one in found
            for made in one.runs
        ],
        "epochs_leak": [
            {
                "layers": one.layers,
                "leak": [reading.leak for reading in one.runs[0].readings],
                "bound": list(one.bounds),
            }
            for one in found
        ],
        "caught": _fault(found),
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "attack": row.attack,
        "per_batch": row.per_batch,
        "accumulated": row.accumulated,
        "beyond_features": row.beyond,
        "lower_bound": row.low,
        "upper_bound": row.high,
        "bound": row.bound,
        "verdict": row.verdict,
        "fault": row.fault,
    }


def _screen(title: str, defence: Defence, found: Sequence[Found]) -> str:
    from silo.plain_table import table

    header = ["attack", "per batch", "accumulated", "beyond features", "interval", "bound", "verdict"]
    lines = [title, _claim(defence, found)]
    for one in found:
        cells = [
            [
                row.attack,
                _figure(row.per_batch),
                _figure(row.accumulated),
                _figure(row.beyond),
                "-" if row.low is None or row.high is None else f"{row.low:.3f}-{row.high:.3f}",
                _figure(row.bound),
                row.verdict,
            ]
            for row in one.rows
        ]
        task = one.task
        lines += [
            "",
            f"{one.layers} bottoms",
            table(header, cells, right=(1, 2, 3, 4, 5)),
            f"task: {task.defended:.4f} defended, {task.undefended:.4f} undefended, {task.alone:.4f} label party alone",
        ]
        if len(one.runs) > 1:
            last = [made.readings[-1] for made in one.runs]
            over = sum(reading.low > one.bounds[-1] for reading in last)
            leaks = [reading.leak for reading in last]
            lines.append(
                f"{len(last)} runs: leak {min(leaks):.3f}-{max(leaks):.3f}, lower end above the bound in {over}"
            )
    return "\n".join([*lines, "", *_NOTES])


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
