"""The report of the vertical demos: one HTML file that needs nothing else, neither the network nor a script.

`results` is what `silo demo NAME --json` prints. Every text is escaped, and the page's own policy forbids scripts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from silo.demo import roc
from silo.demo.style import CSS
from silo.report import svg
from silo.report.ledger_markup import Html, element, join, note, paragraph, section, table, text

_KINDS: Final = (
    (
        "local",
        "label party alone",
        "The organisation with the labels, with its own columns only (scikit-learn).",
    ),
    ("federated", "joint", "All organisations together; no column left its owner."),
    ("pooled", "pooled", "scikit-learn on one table of all columns, which is what the organisations avoid."),
)
_STYLE: Final = """
.scroll { overflow-x: auto; margin: 12px 0 20px; } .scroll table { margin: 0; }
caption { text-align: left; font-weight: 600; font-size: .9rem; padding-bottom: 4px; }
svg polyline { stroke-width: 2; }
svg polyline.chance { fill: none; stroke: var(--rule); }
svg polyline.local { fill: none; stroke: var(--muted); }
svg polyline.federated { fill: none; stroke: var(--accent); }
svg polyline.pooled { fill: none; stroke: var(--second); stroke-dasharray: 5 4; }
"""
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def write_html(path: Path, results: Mapping[str, Any]) -> None:
    """Write the report of one run."""
    path.write_text(page(results), encoding="utf-8")


def page(results: Mapping[str, Any]) -> str:
    """The whole page."""
    title = text(f"Silo demo: {results['demo']}")
    parts = (_head, _who, _worth, _fits, _learned, _relay_saw, _privacy, _traffic)
    body = join(part(results) for part in parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{text(_POLICY)}">'
        f"<title>{title}</title><style>{CSS}{_STYLE}</style></head>\n"
        f'<body><h1>{title}</h1>\n{body}\n<footer class="soft">{text(results["date"])}</footer></body></html>\n'
    )


def _head(results: Mapping[str, Any]) -> Html:
    cards = [
        element(
            "div",
            element("b", f"{results['results']['federated'][model]['auc']:.3f}"),
            element(
                "span",
                f"AUC of the joint {model} model (label party alone "
                f"{results['results']['local'][model]['auc']:.3f}, pooled "
                f"{results['results']['pooled'][model]['auc']:.3f})",
            ),
            kind="card",
        )
        for model in results["models"]
    ]
    return join((paragraph(results["data"], kind="soft"), element("div", *cards, kind="cards")))


def _who(results: Mapping[str, Any]) -> Html:
    label, rows = results["label_party"], results["rows"]
    names = [f"{name}: {rows[name]:,} rows{', the labels' * (name == label)}" for name in results["parties"]]
    return section(
        "who",
        "Who took part",
        element("ul", *(element("li", name) for name in (*names, "relay")), kind="who"),
        paragraph(
            "Each is a process of its own with its own keys and its own file, in an order of its own. They first found "
            f"the {results['common']:,} rows that all have (private set intersection), fitted on "
            f"{results['train']:,} of them and scored the other {results['test']:,}.",
            kind="soft",
        ),
    )


def _worth(results: Mapping[str, Any]) -> Html:
    figures, models = results["results"], results["models"]
    rows = [(model, *(f"{figures[kind][model]['auc']:.4f}" for kind, _, _ in _KINDS)) for model in models]
    groups: list[svg.Group] = [
        (
            model,
            [
                (kind, figures[kind][model]["auc"], f"{figures[kind][model]['auc']:.3f}")
                for kind, _, _ in _KINDS
            ],
        )
        for model in models
    ]
    legend = element(
        "div",
        *(element("span", element("i", kind=kind), label) for kind, label, _ in _KINDS),
        kind="legend",
    )
    drawings: list[Html] = []
    for model in models:
        lines = {
            kind: (results["roc"][kind][model]["false"], results["roc"][kind][model]["true"])
            for kind, _, _ in _KINDS
        }
        drawn = roc.curves(lines, title=f"ROC of the {model} model: label party alone, joint, pooled")
        drawings += [element("h3", f"ROC, {model}"), element("figure", legend, Html(drawn))]
    bars = Html(svg.bars(groups, most=1.0, title="AUC: label party alone, joint, pooled"))
    return section(
        "worth",
        "What it was worth",
        *(paragraph(element("b", label), ": ", says) for _, label, says in _KINDS),
        table("AUC on the test rows", ["model", *(label for _, label, _ in _KINDS)], rows, numbers=(1, 2, 3)),
        element("figure", legend, bars),
        *drawings,
    )


def _fits(results: Mapping[str, Any]) -> Html:
    rows = [
        (
            f"{model}, {'an' if fit['step'][0] in 'aeiou' else 'a'} {fit['step']}",
            f"{fit['seconds_per_step']:.3f} s",
            str(fit["steps"]),
            f"{fit['seconds']:.2f} s",
            f"{fit['scoring_seconds']:.2f} s",
            ", ".join(f"{name} {count}" for name, count in fit["columns"].items()),
        )
        for model, fit in results["fits"].items()
    ]
    headings = ["", "each", "how many", "fit", "scoring", "columns"]
    said = [
        paragraph(f"{model}: {sentence}", kind="soft")
        for model, fit in results["fits"].items()
        for sentence in fit["warnings"]
    ]
    return section(
        "time",
        "Time",
        table("All processes on one machine", headings, rows, numbers=(1, 2, 3, 4)),
        *said,
    )


def _learned(results: Mapping[str, Any]) -> Html:
    return section(
        "learned",
        "What each party learned",
        table("By the charter of this run", ["who", "learns"], results["learned"]),
    )


def _relay_saw(results: Mapping[str, Any]) -> Html:
    saw = results["relay_saw"]
    rows = [
        (one["kind"], one["protection"], f"{one['frames']:,}", size(one["bytes"])) for one in saw["kinds"]
    ]
    return section(
        "relay",
        "What passed the relay",
        table(
            "Everything that left a member", ["kind", "protection", "frames", "bytes"], rows, numbers=(2, 3)
        ),
        paragraph(
            "What is end-to-end encrypted the relay passes on and cannot read; it sees who talks to whom, when and "
            "how much.",
            kind="soft",
        ),
    )


def _privacy(results: Mapping[str, Any]) -> Html:
    label = text(results["label_party"])
    return section(
        "not",
        "What this does not protect",
        note(
            element(
                "b",
                "There is no differential privacy in this run: the models and their scores tell something.",
            ),
            f"All members were honest but curious here. {label} reads in each pass of a linear model one number a row "
            "of the others, and of boosting the sums of their bins; with the labels it can learn from these how the "
            "others' columns go with them. Several fits on the same rows add up.",
        ),
    )


def _traffic(results: Mapping[str, Any]) -> Html:
    rows = []
    for name, whole in results["traffic"].items():
        each = [fit["traffic"][name] for fit in results["fits"].values()]
        cells = [f"{size(one['up'])} / {size(one['down'])}" for one in each]
        rows.append((name, *cells, f"{size(whole['up'])} / {size(whole['down'])}"))
    headings = ["organisation", *results["fits"], "in all"]
    numbers = range(1, len(headings))
    return section("traffic", "Traffic", table("Up / down", headings, rows, numbers=numbers))


def size(count: float) -> str:
    """Bytes for people."""
    units = ["B", "kB", "MB", "GB", "TB"]
    while count >= 999.95 and len(units) > 1:
        count /= 1000
        units.pop(0)
    return f"{count:.0f} B" if units[0] == "B" else f"{count:.1f} {units[0]}"
