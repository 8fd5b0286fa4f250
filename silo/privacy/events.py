"""What is done to a data set, as far as its privacy is concerned: a tree of noise, sampling and repetition.

The tree mirrors the DpEvent of Google's dp-accounting. Two data sets are neighbours when one has a unit that the
other lacks ("add or remove one unit"). Gaussian and Laplace noise is over a sensitivity of 1, Skellam noise over
the integer sensitivities that it names.

As JSON an event is an object with one name, and every figure is text, the exact decimal of its value. Equal events
have equal texts, and no other text of the same event is read. A text has at most 1 MiB, 10,000 events, 16 levels.
"""

from __future__ import annotations

import json
import math
import numbers
import operator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from silo.crypto.errors import ParameterError

MAX_DEPTH: Final = 16
MAX_NODES: Final = 10_000
MAX_TEXT: Final = 1 << 20
MAX_COUNT: Final = 10**12
_MAX_FIGURE: Final = 40


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Gaussian noise of this standard deviation over the L2 sensitivity."""

    noise_multiplier: float

    def __post_init__(self) -> None:
        _positive(self, "noise_multiplier")


@dataclass(frozen=True, slots=True)
class Laplace:
    """Laplace noise of this scale over the L1 sensitivity."""

    noise_multiplier: float

    def __post_init__(self) -> None:
        _positive(self, "noise_multiplier")


@dataclass(frozen=True, slots=True)
class RandomizedResponse:
    """One of `values` answers: the true one with probability `keep`, else one of the others, all alike.

    Who answers is public: a unit that is absent answers at random.
    """

    keep: float
    values: int

    def __post_init__(self) -> None:
        _whole(self, "values", 2, 10**6)
        _number(self, "keep")
        if not 1 / self.values <= self.keep < 1:
            raise ParameterError(
                f"randomized response keeps the truth with a probability from 1 / {self.values} to below 1, "
                f"not {self.keep}"
            )


@dataclass(frozen=True, slots=True)
class Skellam:
    """Skellam noise of this variance on every number of an integer vector.

    `l2` and `l1` bound what one unit changes, in steps of the grid; `variance` counts only the noise that the
    observer does not know.
    """

    variance: float
    l2: float
    l1: float

    def __post_init__(self) -> None:
        for name in ("variance", "l2", "l1"):
            _positive(self, name)
        if self.l1 < self.l2:
            raise ParameterError(
                f"an L1 sensitivity is never less than the L2 sensitivity, and {self.l1} is less than {self.l2}"
            )


@dataclass(frozen=True, slots=True)
class PoissonSampled:
    """`event` on a sample that every unit enters independently with this probability."""

    probability: float
    event: Event

    def __post_init__(self) -> None:
        _number(self, "probability")
        if not 0 < self.probability <= 1:
            raise ParameterError(
                f"a sampling probability is more than 0 and at most 1, not {self.probability}"
            )
        _event(self.event)


@dataclass(frozen=True, slots=True)
class Repeated:
    """`event` so many times, each with fresh noise and a fresh sample."""

    event: Event
    count: int

    def __post_init__(self) -> None:
        _event(self.event)
        _whole(self, "count", 1, MAX_COUNT)


@dataclass(frozen=True, slots=True)
class Composed:
    """All of these, in any order; none is nothing."""

    events: tuple[Event, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "events", tuple(self.events))
        for one in self.events:
            _event(one)


@dataclass(frozen=True, slots=True)
class EpsilonDelta:
    """Something of which (epsilon, delta) is proven, and nothing more."""

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        _number(self, "epsilon")
        _number(self, "delta")
        if not 0 <= self.epsilon < math.inf:
            raise ParameterError(f"epsilon is a number of 0 or more, not {self.epsilon}")
        if not 0 <= self.delta < 1:
            raise ParameterError(f"delta is at least 0 and less than 1, not {self.delta}")


@dataclass(frozen=True, slots=True)
class NoPrivacy:
    """A release without differential privacy."""


Event: TypeAlias = (
    Gaussian
    | Laplace
    | RandomizedResponse
    | Skellam
    | PoissonSampled
    | Repeated
    | Composed
    | EpsilonDelta
    | NoPrivacy
)

_FORMS: Final[dict[type[Any], tuple[str, dict[str, str]]]] = {
    Gaussian: ("gaussian", {"noise_multiplier": "float"}),
    Laplace: ("laplace", {"noise_multiplier": "float"}),
    RandomizedResponse: ("randomized_response", {"keep": "float", "values": "int"}),
    Skellam: ("skellam", {"variance": "float", "l2": "float", "l1": "float"}),
    PoissonSampled: ("poisson_sampled", {"probability": "float", "event": "event"}),
    Repeated: ("repeated", {"event": "event", "count": "int"}),
    Composed: ("composed", {"events": "events"}),
    EpsilonDelta: ("epsilon_delta", {"epsilon": "float", "delta": "float"}),
    NoPrivacy: ("no_privacy", {}),
}
_KINDS: Final = {name: kind for kind, (name, _) in _FORMS.items()}


def dumps(event: Event) -> str:
    """The one text of an event. Raises `ParameterError` for one beyond the bounds."""
    text = json.dumps(to_json(event), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    if len(text) > MAX_TEXT:
        raise ParameterError(f"an event's text has at most {MAX_TEXT} characters, not {len(text)}")
    return text


def loads(text: str) -> Event:
    """Read what `dumps` wrote, and nothing else. Raises `ParameterError`."""
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise ParameterError(f"an event is a text of at most {MAX_TEXT} characters")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ParameterError("an event's text is not JSON: take the text that Silo wrote") from None
    event = from_json(found)
    if dumps(event) != text:
        raise ParameterError("an event's text is not in its one form: take the text that Silo wrote")
    return event


def to_json(event: Event) -> dict[str, Any]:
    """An event as JSON. Raises `ParameterError` for one beyond the bounds."""
    return _write(event, 1, [0])


def from_json(found: Any) -> Event:
    """Read `to_json` again, strictly. Raises `ParameterError`."""
    return _read(found, 1, [0])


def _count(depth: int, count: list[int]) -> None:
    count[0] += 1
    if depth > MAX_DEPTH or count[0] > MAX_NODES:
        raise ParameterError(f"an event has at most {MAX_NODES} parts on {MAX_DEPTH} levels")


def _write(event: Event, depth: int, count: list[int]) -> dict[str, Any]:
    _count(depth, count)
    _event(event)
    tag, fields = _FORMS[type(event)]
    found: dict[str, Any] = {}
    for name, what in fields.items():
        value = getattr(event, name)
        if what == "event":
            found[name] = _write(value, depth + 1, count)
        elif what == "events":
            found[name] = [_write(one, depth + 1, count) for one in value]
        else:
            found[name] = repr(value)
    return {tag: found}


def _read(found: Any, depth: int, count: list[int]) -> Event:
    _count(depth, count)
    if not isinstance(found, dict) or len(found) != 1:
        raise ParameterError("an event is an object with one name, that of its kind")
    ((tag, given),) = found.items()
    if tag not in _KINDS:
        raise ParameterError(
            f"{str(tag)[:40]!r} is no event that this Silo knows: it knows {', '.join(_KINDS)}"
        )
    fields = _FORMS[_KINDS[tag]][1]
    if not isinstance(given, dict) or set(given) != set(fields):
        raise ParameterError(f"the event {tag} has exactly these fields: {', '.join(fields) or 'none'}")
    values = [_value(given[name], what, f"{name} of {tag}", depth, count) for name, what in fields.items()]
    event: Event = _KINDS[tag](*values)
    return event


def _value(found: Any, what: str, where: str, depth: int, count: list[int]) -> Any:
    if what == "event":
        return _read(found, depth + 1, count)
    if what == "events":
        if not isinstance(found, list):
            raise ParameterError(f"{where} is a list of events")
        return tuple(_read(one, depth + 1, count) for one in found)
    number = float if what == "float" else int
    try:
        if isinstance(found, str) and len(found) <= _MAX_FIGURE and repr(number(found)) == found:
            return number(found)
    except ValueError:
        pass
    raise ParameterError(f"{where} is a figure written out as text, in its shortest exact form")


def _event(event: object) -> None:
    if type(event) not in _FORMS:
        raise ParameterError(f"an event is one of {', '.join(_KINDS)}, not a {type(event).__name__}")


def _number(event: object, name: str) -> None:
    value = getattr(event, name)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ParameterError(f"{name} of {type(event).__name__} is a number, not {value!r}")
    # float() also unwraps NumPy's, whose repr is no decimal; adding 0 makes -0 and 0 one event.
    object.__setattr__(event, name, float(value) + 0.0)


def _positive(event: object, name: str) -> None:
    _number(event, name)
    value = getattr(event, name)
    if not 0 < value < math.inf:
        raise ParameterError(f"{name} of {type(event).__name__} is a finite number above 0, not {value}")


def _whole(event: object, name: str, least: int, most: int) -> None:
    value: Any = getattr(event, name)
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ParameterError(f"{name} of {type(event).__name__} is a whole number, not {value!r}")
    whole = operator.index(value)
    if not least <= whole <= most:
        raise ParameterError(f"{name} of {type(event).__name__} is {least} to {most}, not {whole}")
    object.__setattr__(event, name, whole)
