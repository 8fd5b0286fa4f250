"""Text that becomes HTML exactly once: what is not `Html` is escaped, and what cannot be seen is made visible."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from html import escape
from typing import Any, Final

MOST_ROWS: Final = 2000
"""A table shows so many rows, and says how many it leaves out."""

_SPACES: Final = "\n\r\t"
_LONG: Final = re.compile(r"(\S{40,})")
_PIECE: Final = 24
_THOUSANDTH: Final = Decimal("0.001")


class Html(str):
    """Markup that was built here; any other text is escaped before it reaches the page."""

    __slots__ = ()


def text(value: object) -> Html:
    """Escape a value. Controls and marks of direction are written out: they could make a text look like another."""
    return value if isinstance(value, Html) else Html(escape(_visible(str(value))))


def flowing(value: object) -> Html:
    """The same, for content rather than an attribute: a word that is too long for a line may be broken."""
    if isinstance(value, Html):
        return value
    words = _LONG.split(_visible(str(value)))
    return Html(
        "".join(
            "<wbr>".join(text(word[at : at + _PIECE]) for at in range(0, len(word), _PIECE))
            if place % 2
            else text(word)
            for place, word in enumerate(words)
        )
    )


def join(parts: Iterable[object]) -> Html:
    """Put parts side by side."""
    return Html("".join(flowing(part) for part in parts))


def element(tag: str, *inside: object, kind: str = "") -> Html:
    """One element around its parts; `kind` is its class."""
    return Html(f"<{tag}{_class(kind)}>{join(inside)}</{tag}>")


def paragraph(*inside: object, kind: str = "") -> Html:
    return element("p", *inside, kind=kind)


def note(*paragraphs: object) -> Html:
    """What the reader must not miss."""
    return element("div", *(paragraph(one) for one in paragraphs), kind="note")


def section(name: str, title: str, *inside: object) -> Html:
    """A part of the page under its heading; `name` is its anchor."""
    return Html(f'<section id="{name}"><h2>{text(title)}</h2>{join(inside)}</section>\n')


def table(
    caption: str,
    headings: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    numbers: Collection[int] = (),
    kind: str = "",
) -> Html:
    """Rows under headings, which scroll by themselves where they are too wide; column 0 names its row.

    `numbers` are the columns that are set to the right.
    """
    every = list(rows)
    head = "".join(f'<th scope="col"{_side(at, numbers)}>{text(one)}</th>' for at, one in enumerate(headings))
    body = "".join(
        f'<tr><th scope="row"{_side(0, numbers)}>{flowing(row[0])}</th>'
        + "".join(f"<td{_side(at, numbers)}>{flowing(one)}</td>" for at, one in enumerate(row[1:], 1))
        + "</tr>\n"
        for row in every[:MOST_ROWS]
    )
    left = len(every) - MOST_ROWS
    more = paragraph(f"{left:,} more rows are in the ledger and not on this page.", kind="soft")
    named = text(caption)
    return Html(
        f'<div class="scroll" role="region" aria-label="{named}" tabindex="0"><table{_class(kind)}>'
        f"<caption><span>{named}</span></caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        + (more if left > 0 else "")
    )


def facts(pairs: Iterable[tuple[object, object]]) -> Html:
    """Questions and their answers."""
    inside = "".join(f"<dt>{flowing(ask)}</dt><dd>{flowing(answer)}</dd>" for ask, answer in pairs)
    return Html(f'<dl class="facts">{inside}</dl>')


def lines(parts: Iterable[object]) -> Html:
    """Parts in a cell, each on a line of its own."""
    return join(element("span", part, kind="line") for part in parts)


def pairs(given: object) -> list[Html]:
    """Details of a record as `name: value`; anything but an object of texts is none."""
    if not isinstance(given, Mapping):
        return []
    return [join((element("span", f"{key}: ", kind="soft"), value)) for key, value in sorted(given.items())]


def epsilon(value: float | None) -> str:
    """Three decimals, rounded up: what is reported is never below what was found."""
    if value is None or math.isnan(value):
        return "n/a"
    if math.isinf(value):
        return "infinite"
    return str(Decimal(repr(float(value))).quantize(_THOUSANDTH, rounding=ROUND_CEILING))


def lower(value: float) -> str:
    """A lower bound: three decimals, rounded down."""
    return str(Decimal(repr(float(value))).quantize(_THOUSANDTH, rounding=ROUND_FLOOR))


def exact(value: float) -> str:
    """A declared figure as it was declared."""
    plain = repr(float(value))
    return plain.removesuffix(".0")


def count(value: int) -> str:
    return f"{value:,}"


def day(value: datetime) -> str:
    """A time in UTC, to the second."""
    return f"{value:%Y-%m-%d %H:%M:%S}"


def time(value: datetime) -> Html:
    """The same in a cell, on one line."""
    return element("span", day(value), kind="time")


def said(fields: Mapping[str, Any], key: str) -> str:
    """A field of a record as text, or a dash: not every field is checked when a ledger is verified."""
    found = fields.get(key)
    return found if isinstance(found, str) and found else "–"


def figure(fields: Mapping[str, Any], key: str) -> float | None:
    """A field that should hold a decimal."""
    found = fields.get(key)
    try:
        return float(found) if isinstance(found, str) else None
    except ValueError:
        return None


def _side(column: int, numbers: Collection[int]) -> str:
    return ' class="number"' if column in numbers else ""


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _visible(value: str) -> str:
    return "".join(
        " " if one in _SPACES else f"⟨U+{ord(one):04X}⟩" if unicodedata.category(one)[0] == "C" else one
        for one in value
    )
