"""Split training in memory: linear modules by hand in NumPy, so that the protocol is tested without torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from silo.protocols.split import host, label, ushaped
from silo.protocols.split.line import Line
from silo.protocols.split.schedule import Places, Schedule
from silo.protocols.split.terms import Terms
from silo.protocols.split.wire import Rows
from silo.protocols.vertical.context import SPLIT, Context
from tests.protocols.vertical.table import Hand, Table

NAMES = ("bank", "cards", "telecom")
LABEL = "bank"
NONE: Hand = lambda sender, recipient, piece: None  # noqa: E731
Doubles = npt.NDArray[np.float64]


@dataclass(eq=False)
class LinearBottom:
    """x w, moved by plain steps along the mean gradient of a batch."""

    x: Rows
    w: Rows
    rate: float = 0.1
    told: list[tuple[str, Any]] = field(default_factory=list)
    spoil: Callable[[Rows], Rows] = lambda made: made
    _waiting: list[Places] = field(default_factory=list)
    _sum: Any = 0.0

    def begin(self, epoch: int) -> None:
        self.told.append(("begin", epoch))

    def forward(self, places: Places) -> Rows:
        self.told.append(("forward", places))
        self._waiting.append(places)
        return self.spoil((self.x[places] @ self.w).astype(np.float32))

    def backward(self, gradient: Rows) -> None:
        places = self._waiting.pop(0)
        self.told.append(("backward", gradient))
        self._sum = self._sum + self.x[places].T @ gradient

    def step(self, rows: int) -> None:
        self.told.append(("step", rows))
        self.w = (self.w - self.rate * self._sum / rows).astype(np.float32)
        self._sum = 0.0

    def end(self, epoch: int) -> None:
        self.told.append(("end", epoch))


@dataclass(eq=False)
class LinearTop:
    """Least squares on a v, moved likewise."""

    y: Rows
    v: Rows
    rate: float = 0.1
    seen: list[Rows] = field(default_factory=list)
    told: list[tuple[str, Any]] = field(default_factory=list)
    spoil: Callable[[Rows], Rows] = lambda made: made
    _sum: Any = 0.0

    def begin(self, epoch: int) -> None:
        self.told.append(("begin", epoch))

    def ahead(self, places: Places) -> None:
        self.told.append(("ahead", places))

    def settle(self) -> None:
        self.told.append(("settle", None))

    def exchange(self, places: Places, activations: Rows) -> Rows:
        self.told.append(("exchange", places))
        self.seen.append(activations.copy())
        off = (activations @ self.v - self.y[places])[:, None]
        self._sum = self._sum + activations.T @ off[:, 0]
        return self.spoil((off * self.v[None, :]).astype(np.float32))

    def step(self, rows: int) -> None:
        self.told.append(("step", rows))
        self.v = (self.v - self.rate * self._sum / rows).astype(np.float32)
        self._sum = 0.0

    def end(self, epoch: int) -> None:
        self.told.append(("end", epoch))


@dataclass(eq=False)
class LinearMiddle:
    """a m, moved likewise."""

    m: Rows
    rate: float = 0.1
    seen: list[Rows] = field(default_factory=list)
    _waiting: list[Rows] = field(default_factory=list)
    _sum: Any = 0.0

    def begin(self, epoch: int) -> None:
        pass

    def forward(self, activations: Rows) -> Rows:
        self._waiting.append(activations)
        self.seen.append(activations)
        return (activations @ self.m).astype(np.float32)

    def backward(self, gradient: Rows) -> Rows:
        self.seen.append(gradient)
        came = self._waiting.pop(0)
        self._sum = self._sum + came.T @ gradient
        return (gradient @ self.m.T).astype(np.float32)

    def step(self, rows: int) -> None:
        self.m = (self.m - self.rate * self._sum / rows).astype(np.float32)
        self._sum = 0.0

    def end(self, epoch: int) -> None:
        pass


@dataclass(eq=False)
class Split:
    """A finished training."""

    table: Table
    bottoms: dict[str, LinearBottom]
    top: LinearTop
    schedule: Schedule


def bottoms(names: Sequence[str], rows: int, width: int, *, seed: int = 1) -> dict[str, LinearBottom]:
    """One for each host."""
    draw = np.random.default_rng(seed)
    return {
        name: LinearBottom(
            draw.normal(size=(rows, 3)).astype(np.float32),
            (draw.normal(size=(3, width)) / 2).astype(np.float32),
        )
        for name in names
        if name != LABEL
    }


def top(rows: int, width: int, *, seed: int = 2) -> LinearTop:
    draw = np.random.default_rng(seed)
    return LinearTop(draw.normal(size=rows).astype(np.float32), draw.normal(size=width).astype(np.float32))


def train(
    terms: Terms,
    *,
    names: Sequence[str] = NAMES[:2],
    rows: int = 50,
    width: int = 4,
    hand: Hand = NONE,
    spoil: Callable[[Rows], Rows] | None = None,
    widths: dict[str, int] | None = None,
    start: int = 0,
    seed: int = 1,
) -> Split:
    """Run one training; `spoil` changes what the last host's module gives, `widths` what a member thinks of the cut."""
    own, head = bottoms(names, rows, width), top(rows, width)
    if spoil is not None:
        own[names[-1]].spoil = spoil
    schedules = []

    def roles(context: Context, name: str, key: Any, rng: Any) -> Any:
        line, schedule = Line(context, name, key, rng=rng), Schedule.of(context, terms)
        schedules.append(schedule)
        cut = (widths or {}).get(name, width)
        if name == LABEL:
            return label.train(line, terms, schedule, head, width=cut, start=start)
        return host.train(line, terms, schedule, own[name], width=cut, start=start)

    columns = dict.fromkeys(names, 3)
    table = Table(columns, rows, roles, label=LABEL, model=SPLIT, hand=hand, seed=seed).run()
    return Split(table, own, head, schedules[0])


def centralised(terms: Terms, schedule: Schedule, own: dict[str, LinearBottom], head: LinearTop) -> Doubles:
    """The same training in one place, in double precision: all weights, flat."""
    w = {name: one.w.astype(np.float64) for name, one in own.items()}
    v, y = head.v.astype(np.float64), head.y.astype(np.float64)
    for epoch in range(terms.epochs):
        for batch in schedule.batches(epoch):
            places = np.concatenate(batch)
            a = sum(one.x[places].astype(np.float64) @ w[name] for name, one in own.items())
            off = np.asarray(a) @ v - y[places]
            down = off[:, None] * v[None, :]
            v = v - head.rate * np.asarray(a).T @ off / len(places)
            w = {
                name: w[name] - one.rate * one.x[places].T.astype(np.float64) @ down / len(places)
                for name, one in own.items()
            }
    return np.concatenate([*(one.ravel() for one in w.values()), v])


def weights(done: Split) -> Doubles:
    """All weights after a training, flat."""
    parts = [*(one.w.ravel() for one in done.bottoms.values()), done.top.v]
    return np.concatenate(parts).astype(np.float64)


def u_shaped(
    terms: Terms, *, rows: int = 40, width: int = 4, back: int = 3, hand: Hand = NONE
) -> tuple[Table, LinearBottom, LinearTop, LinearMiddle]:
    """One training of an owner and a partner."""
    own = bottoms(("bank", "partner"), rows, width)["partner"]
    head = top(rows, back)
    middle = LinearMiddle((np.random.default_rng(3).normal(size=(width, back)) / 2).astype(np.float32))

    def roles(context: Context, name: str, key: Any, rng: Any) -> Any:
        line, schedule = Line(context, name, key, rng=rng), Schedule.of(context, terms)
        if name == LABEL:
            return ushaped.owner(line, terms, schedule, own, head, width=width, back=back)
        return ushaped.partner(line, terms, schedule, middle, width=width, back=back)

    table = Table({"bank": 3, "partner": 0}, rows, roles, label=LABEL, model=SPLIT, hand=hand).run()
    return table, own, head, middle
