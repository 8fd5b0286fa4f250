"""The demo's report: one HTML file that holds all it needs, for a screen, a phone or a printer.

It draws what `silo demo NAME --json` prints; a part that is missing there is left out here. Every text is
escaped, and the page's own policy forbids scripts and whatever lies elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import median
from typing import Any, Final

from silo.demo.style import CSS
from silo.report import svg

_KINDS: Final = (
    ("local", "each alone", "Each hospital trained on its own rows only."),
    ("federated", "federated", "All trained one model together; no row left its hospital."),
    ("pooled", "pooled", "One model on all rows in one place, which is what the hospitals avoid."),
)
_MOST_DOTS: Final = 2000
_UP: Final = {
    True: "the masked value that the relay received.",
    False: "what the relay received in its place, bytes of a ciphertext read as if they were a number.",
}
_UNDER: Final = {
    True: "under masks they fill the height evenly.",
    False: "those of a ciphertext do not.",
}
_HIDES: Final = {
    True: "The masks hide each hospital's update from the relay and from the others. They do not hide the sum",
    False: "The encryption hides each hospital's update from the relay and from the others, and from the relay the sum "
    "too. It does not hide the sum from those who get it",
}
"""Each by whether the updates were masked."""
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def write_html(path: Path, results: Mapping[str, Any]) -> None:
    """Write the report of one demo; `results` is what `silo demo NAME --json` prints."""
    path.write_text(page(results), encoding="utf-8")


def page(results: Mapping[str, Any]) -> str:
    """The whole page."""
    title = f"Silo demo: {results.get('demo', 'federation')}"
    sections: tuple[Callable[[Mapping[str, Any]], str], ...] = (
        _head, _who, _accuracy, _curve, _relay_saw, _learned, _privacy, _traffic, _rounds, _foot,
    )  # fmt: skip
    body = "\n".join(part for section in sections if (part := section(results)))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta HTTP-EQUIV="Content-Security-Policy" content="{escape(_POLICY)}">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def _head(results: Mapping[str, Any]) -> str:
    said = [str(results[key]) for key in ("data", "model", "date") if results.get(key)]
    line = f'<p class="soft">{escape(" · ".join(said))}</p>' if said else ""
    cards = []
    for key, text in (
        ("pooled_test_accuracy", "of all test rows right"),
        ("mean_client_accuracy", "mean accuracy of the hospitals"),
    ):
        shown = {kind: one[key] for kind, one in _kinds(results).items() if key in one}
        if "federated" in shown:
            others = [f"{kind} {shown[kind]:.3f}" for kind in ("local", "pooled") if kind in shown]
            beside = f" ({', '.join(others)})" if others else ""
            cards.append(_card(f"{shown['federated']:.3f}", f"{text}, federated{beside}"))
    saw = results.get("relay_saw") or {}
    if _finite(saw.get("correlation")):
        cards.append(
            _card(f"{saw['correlation']:+.3f}", "correlation of what the relay saw with what it was")
        )
    return line + (f'<div class="cards">{"".join(cards)}</div>' if cards else "")


def _card(figure: str, text: str) -> str:
    return f'<div class="card"><b>{escape(figure)}</b><span>{escape(text)}</span></div>'


def _who(results: Mapping[str, Any]) -> str:
    names = results.get("parties") or ()
    if not names:
        return ""
    listed = "".join(f"<li>{escape(str(name))}</li>" for name in names)
    return (
        f'<h2>Who took part</h2><ul class="who">{listed}<li>relay</li></ul>'
        '<p class="soft">Each a process of its own with its own keys. The relay carries and adds; it holds no '
        "rows, and no hospital sees another's file.</p>"
    )


def _accuracy(results: Mapping[str, Any]) -> str:
    kinds = _kinds(results)
    if not kinds:
        return ""
    known = [row for row in _KINDS if row[0] in kinds]
    names = list(dict.fromkeys(name for one in kinds.values() for name in one.get("per_hospital", {})))
    rows = [(name, [one.get("per_hospital", {}).get(name) for one in kinds.values()]) for name in names]
    totals = [
        (text, [one.get(key) for one in kinds.values()])
        for text, key in (
            ("mean of the hospitals", "mean_client_accuracy"),
            ("all test rows together", "pooled_test_accuracy"),
        )
    ]
    table = _table(
        ["test accuracy", *(label for _, label, _ in known)],
        [[name, *map(_figure, values)] for name, values in [*rows, *totals]],
        strong=len(totals),
    )
    groups: list[svg.Group] = [
        (name, [(kind, value, _figure(value)) for kind, value in zip(kinds, values, strict=True) if _finite(value)])
        for name, values in [*totals, *rows]
    ]  # fmt: skip
    drawn = [group for group in groups if group[1]]
    plot = svg.bars(drawn, most=1.0, title="Test accuracy, alone, federated and pooled") if drawn else ""
    legend = "".join(f'<span><i class="{kind}"></i>{escape(label)}</span>' for kind, label, _ in known)
    says = "".join(f"<b>{escape(label)}</b>: {escape(text)} " for _, label, text in known)
    return (
        f"<h2>What it was worth</h2><p>{says}</p>{table}"
        f'<figure><div class="legend">{legend}</div>{plot}</figure>{_remarks(kinds)}'
        + _difference(results.get("difference_from_plain"))
    )


def _remarks(kinds: Mapping[str, Mapping[str, Any]]) -> str:
    """Say so where a hospital did better alone: a mean hides it."""
    alone, together = (kinds.get(kind, {}).get("per_hospital", {}) for kind in ("local", "federated"))
    lost = [
        f"{name} ({_figure(alone[name])} alone, {_figure(together[name])} federated)"
        for name in alone
        if _finite(alone[name]) and _finite(together.get(name)) and alone[name] > together[name]
    ]
    return f"<p>Better off alone on its own test rows: {escape(', '.join(lost))}.</p>" if lost else ""


def _difference(value: Any) -> str:
    if not _finite(value):
        return ""
    return (
        '<p class="soft">Beside the same training in the clear, no weight of the federated model differs by '
        f"more than {value:.1e}.</p>"
    )


def _curve(results: Mapping[str, Any]) -> str:
    rounds = results.get("rounds") or ()
    parts = []
    for key in ("accuracy", "loss"):
        values = [one[key] for one in rounds if _finite(one.get(key))]
        if len(values) > 1:
            parts.append(
                f"<h2>{key.capitalize()} per round</h2><figure>{svg.line(values, title=f'{key} per round')}</figure>"
            )
    return "".join(parts)


def _relay_saw(results: Mapping[str, Any]) -> str:
    saw = results.get("relay_saw") or {}
    pairs = [
        (float(true), float(masked))
        for true, masked in zip(saw.get("true", ()), saw.get("masked", ()), strict=False)
        if _finite(true) and _finite(masked)
    ][:_MOST_DOTS]
    if not pairs:
        return ""
    who, masked = str(saw.get("hospital", "one hospital")), _masked(results)
    plot = svg.scatter(
        [true for true, _ in pairs],
        [masked for _, masked in pairs],
        title=f"What the relay saw of {who}, against the true values",
        x_label=f"what {who} had to say",
        y_label="what the relay saw",
    )
    correlation = saw.get("correlation")
    said = f" Correlation: {correlation:+.3f}." if _finite(correlation) else ""
    return (
        f"<h2>What the relay saw</h2><p>Each dot is one number that {escape(who)} sent. Across: its true value, "
        f"which never left. Up: {_UP[masked]} Values that came through would lie along a line; {_UNDER[masked]} "
        "The picture illustrates this and proves nothing: the attacks are among the project's tests.</p>"
        f"<figure>{plot}<figcaption>{len(pairs)} numbers.{said}</figcaption></figure>"
    )


def _masked(results: Mapping[str, Any]) -> bool:
    """Whether the updates travelled under masks: else they were encrypted, and what the relay saw are ciphertexts."""
    return bool(results.get("sum", "masking") == "masking")


def _learned(results: Mapping[str, Any]) -> str:
    rows = [[str(cell) for cell in row][:3] for row in results.get("learned") or ()]
    if not rows:
        return ""
    wide = max(len(row) for row in rows)
    rows = [row + [""] * (wide - len(row)) for row in rows]
    headings = ["who", "learns", "does not learn"][:wide]
    return f"<h2>What each party learned</h2>{_table(headings, rows, words=True)}"


def _privacy(results: Mapping[str, Any]) -> str:
    privacy = results.get("privacy")
    if not isinstance(privacy, Mapping):
        return ""
    if privacy.get("differential_privacy"):
        facts = [
            [str(key).replace("_", " "), str(value)]
            for key, value in privacy.items()
            if key not in ("differential_privacy", "note")
        ]
        inside = "<p>Noise was added before anything left (differential privacy).</p>"
        inside += _table(["", ""], facts, words=True) if facts else ""
    else:
        inside = (
            '<div class="note"><p><b>There is no differential privacy in this run: the sum itself leaks.</b> '
            f"{_HIDES[_masked(results)]}, nor the model that comes of it.</p><p>Whoever holds the model may find out "
            "something about single patients, for instance whether a known person was among the rows. All other "
            "hospitals together can take their own parts off the sum and see what is left: the last one's update. Only "
            "noise bounds this, and a smaller group makes it worse.</p></div>"
        )
    note = privacy.get("note")
    return f"<h2>What this does not protect</h2>{inside}" + (
        f'<p class="soft">Recorded with the run: {escape(str(note))}.</p>' if note else ""
    )


def _traffic(results: Mapping[str, Any]) -> str:
    traffic = results.get("traffic") or {}
    if not traffic:
        return ""
    rows = [(str(name), float(one.get("up", 0)), float(one.get("down", 0))) for name, one in traffic.items()]
    table = _table(
        ["hospital", "up", "down"],
        [[name, _bytes(up), _bytes(down)] for name, up, down in rows],
    )
    most = max(max(up, down) for _, up, down in rows)
    plot = svg.bars(
        [(name, [("up", up, _bytes(up)), ("down", down, _bytes(down))]) for name, up, down in rows],
        most=most,
        title="Bytes per hospital, up and down",
    )
    legend = (
        '<div class="legend"><span><i class="up"></i>up</span><span><i class="down"></i>down</span></div>'
    )
    return f"<h2>Traffic per hospital</h2>{table}<figure>{legend}{plot}</figure>"


def _rounds(results: Mapping[str, Any]) -> str:
    rounds = results.get("rounds") or ()
    values = [1000 * float(one["seconds"]) for one in rounds if _finite(one.get("seconds"))]
    if not values:
        return ""
    plot = svg.columns(values, title="Milliseconds per round", unit="ms")
    return (
        f"<h2>Time per round</h2><figure>{plot}<figcaption>{len(values)} rounds, median "
        f"{median(values):.3g} ms, all processes on one machine.</figcaption></figure>"
    )


def _foot(results: Mapping[str, Any]) -> str:
    said = []
    versions = results.get("versions")
    if isinstance(versions, Mapping):
        said.append(", ".join(f"{name} {version}" for name, version in versions.items()))
    if results.get("date"):
        said.append(str(results["date"]))
    return f'<footer class="soft">{escape(" · ".join(said))}</footer>' if said else ""


def _kinds(results: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    found = results.get("results") or {}
    return {kind: found[kind] for kind, *_ in _KINDS if found.get(kind)}


def _table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, words: bool = False, strong: int = 0
) -> str:
    """Rows of text; the first cell is the row's heading, the last `strong` rows are totals."""
    side, kind_of_table = ("", ' class="words"') if words else (' class="number"', "")
    head = "".join(
        f'<th scope="col"{side if place else ""}>{escape(text)}</th>' for place, text in enumerate(headings)
    )
    lines = []
    for place, (first, *rest) in enumerate(rows):
        cells = "".join(
            f'<td{side} data-head="{escape(heading)}">{escape(text)}</td>'
            for heading, text in zip(headings[1:], rest, strict=True)
        )
        kind = ' class="all"' if place >= len(rows) - strong else ""
        lines.append(f'<tr{kind}><th scope="row">{escape(first)}</th>{cells}</tr>')
    return f"<table{kind_of_table}><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _figure(value: Any) -> str:
    return f"{value:.3f}" if _finite(value) else "–"


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _bytes(count: float) -> str:
    units = ("B", "kB", "MB", "GB", "TB")
    place = 0
    while count >= 999.95 and place < len(units) - 1:
        count, place = count / 1000, place + 1
    return f"{count:.0f} B" if place == 0 else f"{count:.1f} {units[place]}"
