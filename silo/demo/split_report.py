"""The report of `silo demo split`: one HTML file that needs nothing else, in the parts of the other vertical demos.

`results` is what `silo demo split --json` prints. Every text is escaped, and the page's own policy forbids scripts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from silo.demo import roc, vertical_report
from silo.demo.style import CSS
from silo.report import svg
from silo.report.ledger_markup import Html, element, join, note, paragraph, section, table, text

_KINDS: Final = (("local", "label party alone"), ("federated", "joint"), ("pooled", "pooled"))


def write_html(path: Path, results: Mapping[str, Any]) -> None:
    """Write the report of one run."""
    path.write_text(page(results), encoding="utf-8")


def page(results: Mapping[str, Any]) -> str:
    """The whole page."""
    parts = (
        vertical_report._head,
        _who,
        _worth,
        _privacy,
        vertical_report._fits,
        vertical_report._learned,
        vertical_report._relay_saw,
        _not,
        vertical_report._traffic,
    )
    body = join(part(results) for part in parts)
    title = text("Silo demo: split")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{text(vertical_report._POLICY)}">'
        f"<title>{title}</title><style>{CSS}{vertical_report._STYLE}</style></head>\n"
        f'<body><h1>{title}</h1>\n{body}\n<footer class="soft">{text(results["date"])}</footer></body></html>\n'
    )


def _who(results: Mapping[str, Any]) -> Html:
    label = results["label_party"]
    names = [f"{name}{', the labels' * (name == label)}" for name in results["parties"]]
    return section(
        "who",
        "Who took part",
        element("ul", *(element("li", name) for name in (*names, "relay")), kind="who"),
        paragraph(
            f"Each is a process of its own with its own keys, its own columns and the same {results['common']:,} rows "
            f"in one order. They trained on {results['train']:,} of them and scored the other {results['test']:,}.",
            kind="soft",
        ),
        paragraph(f"{seen(results['parties'])}.", kind="soft"),
    )


def _worth(results: Mapping[str, Any]) -> Html:
    rows = [(label, f"{results['results'][kind]['auc']:.4f}") for kind, label in _KINDS]
    bars = [
        (kind, results["results"][kind]["auc"], f"{results['results'][kind]['auc']:.3f}")
        for kind, _ in _KINDS
    ]
    (model,) = results["models"]
    fit = results["fits"][model]
    lines = {
        kind: (results["roc"][kind][model]["false"], results["roc"][kind][model]["true"])
        for kind, _ in _KINDS
    }
    named = ", ".join(label for _, label in _KINDS)
    legend = element(
        "div", *(element("span", element("i", kind=kind), label) for kind, label in _KINDS), kind="legend"
    )
    return section(
        "worth",
        "What it was worth",
        table("AUC on the test rows", ["network", "AUC"], rows, numbers=(1,)),
        paragraph(
            "Alone and pooled are the same network in one process, without noise, for comparison. The joint one "
            f"learned on at {results['label_party']} by itself for {fit['finish']} epochs more, at no cost to labels.",
            kind="soft",
        ),
        element("figure", legend, Html(svg.bars([(model, bars)], most=1.0, title=f"AUC: {named}"))),
        element("h3", "ROC"),
        element("figure", legend, Html(roc.curves(lines, title=f"ROC: {named}"))),
    )


def _privacy(results: Mapping[str, Any]) -> Html:
    privacy, label = results["privacy"], results["label_party"]
    spent = privacy["spent"][label]
    rows = [
        ("noise on residuals, sigma", f"{privacy['sigma']:g}"),
        ("mu over all epochs", f"{privacy['mu']:.3f}"),
        (f"epsilon at delta {spent['delta']:g}, by the ledger", f"{spent['epsilon']:.3f}"),
        ("the same as the budget's filter counts it", f"{spent['filter_epsilon']:.3f}"),
        ("budget", f"{spent['budget']:g}"),
        ("AUC of any attack on a label, at most", f"{privacy['auc_bound']:.3f}"),
        ("AUC of the best attack of the leak meter", f"{privacy['leak'][-1]['leak']:.3f}"),
    ]
    return section(
        "privacy",
        "What is promised of labels",
        table(f"The labels of {label}", ["what", "figure"], rows, numbers=(1,)),
    )


def _not(results: Mapping[str, Any]) -> Html:
    parties = results["parties"]
    label, *hosts = parties
    helped = f" Either host can help {label} to the other's, as it knows the masks." if len(hosts) > 1 else ""
    return section(
        "not",
        "What this does not protect",
        note(
            element("b", "Activations have no noise in this run."),
            f"{seen(parties)}. Columns can be rebuilt from what that shows.{helped} The guarantee is "
            f"for labels: gradients can show something of the columns of {label}. All members were honest but curious.",
        ),
    )


def seen(parties: Sequence[str]) -> str:
    """What the label party, the first, sees of the others' activations: a sentence without its full stop."""
    label, *hosts = parties
    if len(hosts) == 1:
        return f"Activations travel as they are: {label} sees those of {hosts[0]} exactly, for every row"
    return (
        f"Activations travel as a masked sum: {label} sees those of {' and '.join(hosts)} added up, exactly, for every "
        "row, and neither alone"
    )
