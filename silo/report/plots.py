"""The spend of a data set over time: as inline SVG for the page, and as PNG for other documents.

The filter's epsilon is drawn in steps, for it stays until the next record. It counts all that is reserved, so its
line falls when a run gives back what it did not use. PLD is known where it was asked, at the dots; a line joins them.
"""

from __future__ import annotations

import math
import re
import warnings
from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from silo.errors import ParameterError
from silo.report import svg
from silo.report.ledger_history import Course, Point
from silo.report.ledger_markup import Html, day, epsilon, exact, text

_TOP: Final = 22
_HEIGHT: Final = 190
_WIDE: Final = 1000
"""Width of the curves' own units; they are stretched to the page's."""
_MOST_POINTS: Final = 600


def spend(course: Course) -> Html:
    """One data set's plot."""
    frame = _Frame(course)
    base = _TOP + _HEIGHT
    ticks = [(tick, _TOP + frame.y(tick)) for tick in _ticks(frame.most)]
    parts = [svg.rule(round(y, 2)) for _, y in ticks]
    limit = _TOP + frame.y(course.budget.epsilon)
    named = f"budget {exact(course.budget.epsilon)}"
    parts.append(
        f'<svg y="{_TOP}" width="100%" height="{_HEIGHT}" viewBox="0 0 {_WIDE} {_HEIGHT}" '
        f'preserveAspectRatio="none" aria-hidden="true">{_curves(course, frame)}</svg>'
        f'<text x="100%" y="{limit - 5:.2f}" text-anchor="end" class="figure limit-name">{text(named)}</text>'
        f'<text x="0" y="{base + 18}" class="figure">{day(course.opened)}</text>'
        f'<text x="100%" y="{base + 18}" text-anchor="end" class="figure">{day(course.end)}</text>'
    )
    parts += [f'<text x="0" y="{y - 4:.2f}" class="figure tick">{tick:g}</text>' for tick, y in ticks]
    return Html(svg.drawing("".join(parts), _alt(course), f'width="100%" height="{base + 26}" class="spend"'))


def legend(course: Course) -> Html:
    """What the lines mean; only those that are drawn."""
    shown = [("filter", "epsilon by the filter, which gates")]
    if course.pld:
        shown.append(("pld", "epsilon by PLD, which is reported"))
    shown.append(("limit", "budget"))
    if course.unprotected:
        shown.append(("bare", "release without DP: epsilon is infinite from here on"))
    if course.refused:
        shown.append(("refused", "refused"))
    inside = "".join(f'<span><i class="key {kind}"></i>{text(name)}</span>' for kind, name in shown)
    return Html(f'<div class="legend">{inside}</div>')


def png(courses: Sequence[Course], folder: Path) -> list[Path]:
    """Draw each data set's spend into `folder`. Raises `ParameterError` without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise ParameterError(
            "PNG files are drawn by matplotlib: run `pip install '.[report]'` in Silo's source folder, "
            "or leave them out, for the page has the same plots"
        ) from None
    made = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place, course in enumerate(courses, 1):
            figure = Figure(figsize=(8, 4), dpi=150, layout="constrained")
            FigureCanvasAgg(figure)
            _draw(figure, course)
            # The name of a data set is another's word: it may not choose the folder.
            plain = re.sub(r"[^a-z0-9]+", "-", course.name.lower()).strip("-")[:40]
            path = folder / f"spend-{place}{f'-{plain}' if plain else ''}.png"
            with warnings.catch_warnings():
                # A letter that the font lacks is drawn as a box.
                warnings.filterwarnings("ignore", message="Glyph")
                figure.savefig(path, metadata={"Software": None})
            made.append(path)
    except OSError as problem:
        raise ParameterError(
            f"no PNG can be written into {folder}: {problem.strerror}; name another folder"
        ) from None
    return made


class _Frame:
    """Places of times and epsilons, in the curves' own units."""

    def __init__(self, course: Course) -> None:
        values = [one.epsilon for one in (*course.filter, *course.pld) if math.isfinite(one.epsilon)]
        self.most = 1.12 * max([course.budget.epsilon, *values])
        self._start = course.opened
        self._span = (course.end - course.opened).total_seconds() or 1.0

    def x(self, time: datetime) -> float:
        return _WIDE * min(max((time - self._start).total_seconds() / self._span, 0.0), 1.0)

    def y(self, value: float) -> float:
        """From the top; what is infinite lies on the upper edge."""
        return _HEIGHT * (1 - min(value / self.most, 1.0))


def _curves(course: Course, frame: _Frame) -> str:
    shown = _thin(course.filter)
    line = _steps(shown, frame)
    limit = frame.y(course.budget.epsilon)
    parts = [
        *(f'<path class="bare" d="M{frame.x(one):.2f} 0V{_HEIGHT}"/>' for one in course.unprotected),
        *(f'<path class="refused" d="M{frame.x(one):.2f} {_HEIGHT - 16}v16"/>' for one in course.refused),
        f'<path class="area" d="{line}V{_HEIGHT}H{frame.x(course.opened):.2f}Z"/>',
        f'<path class="limit" d="M0 {limit:.2f}H{_WIDE}"/>',
        f'<path class="filter" d="{line}"/>',
    ]
    if course.pld:
        joined = "L".join(f"{frame.x(one.time):.2f} {frame.y(one.epsilon):.2f}" for one in _joined(course))
        parts.append(f'<path class="pld" d="M{joined}H{_WIDE}"/>')
        parts += [
            # A line of no length has round ends: a dot that is not stretched with the curve.
            f'<path class="dot-of-pld" d="M{frame.x(one.time):.2f} {frame.y(one.epsilon):.2f}h.01"/>'
            for one in course.pld
        ]
    return "".join(parts)


def _steps(points: Sequence[Point], frame: _Frame) -> str:
    first, *rest = points
    path = [f"M{frame.x(first.time):.2f} {frame.y(first.epsilon):.2f}"]
    path += [f"H{frame.x(one.time):.2f}V{frame.y(one.epsilon):.2f}" for one in rest]
    return "".join([*path, f"H{_WIDE}"])


def _joined(course: Course) -> list[Point]:
    """The dots of PLD, each held until the next charge: up to there it is known not to move."""
    numbers = [one.sequence for one in course.filter]
    found: list[Point] = []
    for dot in course.pld:
        if found:
            after = course.filter[bisect_right(numbers, found[-1].sequence)]
            found.append(Point(after.sequence, after.time, found[-1].epsilon))
        found.append(dot)
    return found


def _thin(points: Sequence[Point]) -> Sequence[Point]:
    """Fewer points, with the least and the largest of those that fall together."""
    if len(points) <= _MOST_POINTS:
        return points
    size = math.ceil(4 * len(points) / _MOST_POINTS)
    kept: dict[int, Point] = {}
    for start in range(0, len(points), size):
        some = points[start : start + size]
        ends = (some[0], min(some, key=_value), max(some, key=_value), some[-1])
        kept.update((one.sequence, one) for one in ends)
    return [kept[number] for number in sorted(kept)]


def _value(point: Point) -> float:
    return point.epsilon


def _ticks(most: float) -> list[float]:
    """Zero and up to five round values below `most`."""
    raw = most / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    return [place * step for place in range(math.floor(most / step) + 1)]


def _alt(course: Course) -> str:
    last = course.filter[-1]
    said = [
        f"Spend of {course.name} over time, {day(course.opened)} to {day(course.end)} UTC: the filter's epsilon "
        f"ends at {epsilon(last.epsilon)}"
    ]
    if course.pld:
        said.append(f"PLD's at {epsilon(course.pld[-1].epsilon)}")
    said.append(f"the budget is {exact(course.budget.epsilon)}")
    if course.unprotected:
        said.append(f"{len(course.unprotected)} releases were without differential privacy")
    if course.refused:
        said.append(f"{len(course.refused)} requests were refused")
    return ", ".join(said)


def _draw(figure: Any, course: Course) -> None:
    from matplotlib import dates

    calendar: Any = dates
    axes, frame = figure.subplots(), _Frame(course)
    _curve(axes, course, frame, course.filter, "epsilon, filter", color="#1f6feb", drawstyle="steps-post")
    if course.pld:
        _curve(axes, course, frame, _joined(course), "epsilon, PLD", color="#c77700", linestyle="--")
        dots = [(one.time, min(one.epsilon, frame.most)) for one in course.pld]
        axes.plot(*zip(*dots, strict=True), "o", color="#c77700", markersize=4)
    axes.axhline(course.budget.epsilon, color="#1b2430", linestyle=":", label="budget")
    for place, time in enumerate(course.unprotected):
        axes.axvline(time, color="#a8201a", linestyle="-.", label=None if place else "release without DP")
    if course.refused:
        low = [0.0] * len(course.refused)
        axes.plot(course.refused, low, "|", markersize=14, color="#1b2430", label="refused", clip_on=False)
    axes.set_ylim(0, frame.most)
    axes.set_xlabel("time (UTC)")
    axes.set_ylabel(f"epsilon at delta {exact(course.budget.delta)}")
    locator = calendar.AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(calendar.ConciseDateFormatter(locator))
    title = f"{course.name}: privacy spent"
    # A dollar sign in a name is no formula.
    axes.set_title("".join(one if one.isprintable() else "?" for one in title), parse_math=False)
    figure.legend(loc="outside lower center", ncols=5, fontsize="small", frameon=False)


def _curve(
    axes: Any, course: Course, frame: _Frame, points: Sequence[Point], label: str, **style: str
) -> None:
    times = [*(one.time for one in points), course.end]
    values = [min(one.epsilon, frame.most) for one in (*points, points[-1])]
    axes.plot(times, values, label=label, **style)
