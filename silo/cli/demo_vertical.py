"""What `silo demo bank` and `silo demo credit` print for people."""

from __future__ import annotations

from typing import Any

from silo.cli import output

_KINDS = (("local", "alone"), ("federated", "joint"), ("pooled", "pooled"))


def summary(results: dict[str, Any]) -> str:
    """AUC, time, traffic and who learned what."""
    names, models, label = results["parties"], results["models"], results["label_party"]
    rows = ", ".join(f"{name} {results['rows'][name]:,}" for name in names)
    return "\n".join(
        [
            results["data"],
            f"rows: {rows}; {results['common']:,} in common, of which {results['train']:,} to fit "
            f"and {results['test']:,} to test",
            "",
            output.table(
                [f"AUC ({label} has the labels)", *(shown for _, shown in _KINDS)],
                [
                    [model, *(f"{results['results'][kind][model]['auc']:.4f}" for kind, _ in _KINDS)]
                    for model in models
                ],
                right=(1, 2, 3),
            ),
            "alone and pooled are scikit-learn's, in the clear, for comparison",
            "",
            output.table(
                ["time", "each", "how many", "fit", "scoring"],
                [
                    [
                        f"{model}, a {fit['step']}",
                        f"{fit['seconds_per_step']:.3f} s",
                        fit["steps"],
                        f"{fit['seconds']:.2f} s",
                        f"{fit['scoring_seconds']:.2f} s",
                    ]
                    for model, fit in results["fits"].items()
                ],
                right=(1, 2, 3, 4),
            ),
            *(f"{model}: {told}" for model, fit in results["fits"].items() for told in fit["warnings"]),
            "",
            output.table(
                ["traffic", *(f"{model} up/down" for model in models), "all up/down"],
                [
                    [
                        name,
                        *(_both(results["fits"][model]["traffic"][name]) for model in models),
                        _both(results["traffic"][name]),
                    ]
                    for name in names
                ],
                right=range(1, len(models) + 2),
            ),
            "",
            output.table(["who", "learns"], results["learned"]),
            "",
            "no differential privacy here: models and scores still tell something (docs/limitations.md)",
            f"report: {results['report']}",
        ]
    )


def _both(traffic: dict[str, int]) -> str:
    return f"{output.amount(traffic['up'])} / {output.amount(traffic['down'])}"
