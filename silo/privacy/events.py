"""What a mechanism did to the data, as a tree: the form in which privacy spent is kept and recomputed.

It mirrors the DpEvent tree of dp-accounting. The neighbouring relation is everywhere: add or remove one unit.
The text is JSON with sorted keys, every figure an exact decimal in quotes, so that equal events have equal texts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from silo.errors import ParameterError

MAX_DEPTH: Final = 16
MAX_NODES: Final = 10_000
MAX_TEXT: Final = 1 << 20
MAX_COUNT: Final = 10**12


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Gaussian noise of standard deviation `noise_multiplier` times the L2 sensitivity."""

    noise_multiplier: float

    def __post_init__(self) -> None:
        _above_zero("the noise multiplier", self.noise_multiplier)


@dataclass(frozen=True, slots=True)
class Laplace:
    """Laplace noise of scale `noise_multiplier` times the L1 sensitivity."""

    noise_multiplier: float

    def __post_init__(self) -> None:
        _above_zero("the noise multiplier", self.noise_multiplier)


@dataclass(frozen=True, slots=True)
class RandomizedResponse:
    """One of `values` answers: the true one with probability `keep`, else each other one alike."""

    keep: float
    values: int

    def __post_init__(self) -> None:
        if not 2 <= self.values <= 10**6 or not 1 / self.values <= self.keep < 1:
            raise ParameterError(
                f"randomized response keeps the truth with a probability from 1 / {self.values} to below 1, "
                f"among 2 values or more, not {self.keep}"
            )


@dataclass(frozen=True, slots=True)
class Skellam:
    """Skellam noise on integers: its variance, and the L2 and L1 sensitivity, all in steps of the grid.

    The variance is that of the noise which the observer does not know.
    """

    variance: float
    l2: float
    l1: float

    def __post_init__(self) -> None:
        for what, value in (("variance", self.variance), ("L2", self.l2), ("L1", self.l1)):
            _above_zero(f"the {what} of a Skellam event", value)
        if self.l1 < self.l2:
            raise ParameterError(
                f"an L1 sensitivity is at least the L2 sensitivity, not {self.l1} < {self.l2}"
            )


@dataclass(frozen=True, slots=True)
class EpsilonDelta:
    """A mechanism of which a proof says no more than (epsilon, delta)."""

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        if not (0 <= self.epsilon < math.inf and 0 <= self.delta < 1):
            raise ParameterError(
                f"epsilon is a number from 0 on and delta one in [0, 1), not {self.epsilon} and {self.delta}"
            )


@dataclass(frozen=True, slots=True)
class NoPrivacy:
    """A release without any differential privacy."""


@dataclass(frozen=True, slots=True)
class PoissonSampled:
    """An event on a sample in which each unit is with this probability, independently."""

    probability: float
    event: Event

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 1:
            raise ParameterError(f"a sampling probability is above 0 and at most 1, not {self.probability}")


@dataclass(frozen=True, slots=True)
class Repeated:
    """The same event, `count` times."""

    event: Event
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MAX_COUNT:
            raise ParameterError(f"an event is repeated 1 to {MAX_COUNT} times, not {self.count}")


@dataclass(frozen=True, slots=True)
class Composed:
    """All of these events."""

    events: tuple[Event, ...]


Event = (
    Gaussian
    | Laplace
    | RandomizedResponse
    | Skellam
    | EpsilonDelta
    | NoPrivacy
    | PoissonSampled
    | Repeated
    | Composed
)

_SIMPLE: Final[Mapping[str, tuple[type[Any], Mapping[str, type[Any]]]]] = {
    "gaussian": (Gaussian, {"noise_multiplier": float}),
    "laplace": (Laplace, {"noise_multiplier": float}),
    "randomized_response": (RandomizedResponse, {"keep": float, "values": int}),
    "skellam": (Skellam, {"variance": float, "l2": float, "l1": float}),
    "epsilon_delta": (EpsilonDelta, {"epsilon": float, "delta": float}),
    "no_privacy": (NoPrivacy, {}),
}
_NAMES: Final = {kind: name for name, (kind, _) in _SIMPLE.items()}


def to_json(event: Event) -> dict[str, Any]:
    """The event as plain JSON values."""
    if isinstance(event, PoissonSampled):
        return {"poisson_sampled": {"probability": _text(event.probability), "event": to_json(event.event)}}
    if isinstance(event, Repeated):
        return {"repeated": {"count": str(event.count), "event": to_json(event.event)}}
    if isinstance(event, Composed):
        return {"composed": {"events": [to_json(one) for one in event.events]}}
    name = _NAMES[type(event)]
    fields = _SIMPLE[name][1]
    return {name: {key: _text(getattr(event, key)) for key in fields}}


def from_json(tree: object) -> Event:
    """Read `to_json` again. Raises `ParameterError` for anything else."""
    return _Reader().event(tree, 0)


def dumps(event: Event) -> str:
    """The canonical text."""
    return json.dumps(to_json(event), sort_keys=True, separators=(",", ":"))


def loads(text: str) -> Event:
    """Read `dumps` again. Raises `ParameterError`."""
    if len(text) > MAX_TEXT:
        raise ParameterError(f"an event of {len(text)} characters is longer than {MAX_TEXT}")
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        raise ParameterError("an event is not JSON") from None
    return from_json(tree)


class _Reader:
    def __init__(self) -> None:
        self.nodes = 0

    def event(self, tree: object, depth: int) -> Event:
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            raise ParameterError(f"an event is deeper than {MAX_DEPTH} or larger than {MAX_NODES}")
        if not isinstance(tree, dict) or len(tree) != 1:
            raise ParameterError("an event is an object with one name")
        ((name, fields),) = tree.items()
        if name == "poisson_sampled":
            self.keys(name, fields, {"probability", "event"})
            return PoissonSampled(_number(fields["probability"]), self.event(fields["event"], depth + 1))
        if name == "repeated":
            self.keys(name, fields, {"count", "event"})
            return Repeated(self.event(fields["event"], depth + 1), _whole(fields["count"]))
        if name == "composed":
            self.keys(name, fields, {"events"})
            if not isinstance(fields["events"], list):
                raise ParameterError("the events of a composition are a list")
            return Composed(tuple(self.event(one, depth + 1) for one in fields["events"]))
        if name not in _SIMPLE:
            raise ParameterError(f"{str(name)[:40]!r} is no event that this Silo knows")
        kind, types = _SIMPLE[name]
        self.keys(name, fields, set(types))
        found: Event = kind(
            **{
                key: _whole(fields[key]) if want is int else _number(fields[key])
                for key, want in types.items()
            }
        )
        return found

    def keys(self, name: str, fields: object, want: set[str]) -> None:
        if not isinstance(fields, dict) or set(fields) != want:
            raise ParameterError(f"an event {name} has the fields {', '.join(sorted(want)) or 'of no name'}")


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))


def _number(text: object) -> float:
    if not isinstance(text, str) or len(text) > 40:
        raise ParameterError("a figure of an event is a decimal in quotes")
    try:
        value = float(text)
    except ValueError:
        raise ParameterError("a figure of an event is a decimal in quotes") from None
    if not math.isfinite(value) or repr(value) != text:
        raise ParameterError(f"the figure {text[:40]!r} of an event is not in its exact form")
    return value


def _whole(text: object) -> int:
    if not isinstance(text, str) or not text.isascii() or not text.isdecimal() or len(text) > 15:
        raise ParameterError("a count of an event is a whole number in quotes")
    value = int(text)
    if str(value) != text:
        raise ParameterError(f"the count {text!r} of an event is not in its exact form")
    return value


def _above_zero(what: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ParameterError(f"{what} is a number above 0, not {value}")
