"""What `silo demo split` prints for people."""

from __future__ import annotations

from typing import Any

from silo.cli import output


def summary(results: dict[str, Any]) -> str:
    """AUC, privacy, traffic and who learned what."""
    from silo.demo import split_report

    label, figures, privacy = results["label_party"], results["results"], results["privacy"]
    (fit,) = results["fits"].values()
    spent = privacy["spent"][label]
    return "\n".join(
        [
            results["data"],
            f"rows: {results['common']:,} at all, of which {results['train']:,} to fit and {results['test']:,} to test",
            "",
            output.table(
                [f"AUC ({label} has the labels)", "alone", "joint", "pooled"],
                [["split", *(f"{figures[kind]['auc']:.4f}" for kind in ("local", "federated", "pooled"))]],
                right=(1, 2, 3),
            ),
            "alone and pooled are the same network in one process, without noise, for comparison",
            f"(joint learned on at {label} by itself for {fit['finish']} epochs more, which costs labels nothing)",
            "",
            output.table(
                ["privacy per label", "epsilon (PLD)", "filter", "budget", "delta", "an attack's AUC"],
                [
                    [
                        label,
                        f"{spent['epsilon']:.3f}",
                        f"{spent['filter_epsilon']:.3f}",
                        f"{spent['budget']:g}",
                        f"{spent['delta']:g}",
                        f"at most {privacy['auc_bound']:.3f}",
                    ]
                ],
                right=range(1, 6),
            ),
            "",
            output.table(
                ["traffic", "the fit, up/down", "all up/down"],
                [
                    [name, _both(fit["traffic"][name]), _both(results["traffic"][name])]
                    for name in results["parties"]
                ],
                right=(1, 2),
            ),
            f"{fit['steps']} epochs, {fit['seconds_per_step']:.2f} s each",
            "",
            output.table(["who", "learns"], results["learned"]),
            "",
            "labels are behind noise; activations are not, by this charter (docs/split.md)",
            split_report.seen(results["parties"]),
            _leak(privacy),
            f"report: {results['report']}; the leak by epochs: {privacy['leak_page']}",
            f"check the ledger yourself: silo ledger verify {spent['ledger']}",
        ]
    )


def _leak(privacy: dict[str, Any]) -> str:
    """What the meter read beside the fit."""
    last = privacy["leak"][-1]
    low = max(one["interval"][0] for one in last["attacks"])
    sure = f"surely above {low:.3f}" if low > 0.5 else "which chance gives too"
    return (
        f"the leak meter, after {last['epoch']} epochs: beyond what features tell, the best attack on labels has an "
        f"AUC of {last['leak']:.3f}, {sure}; the noise allows {last['bound']:.3f}"
    )


def _both(traffic: dict[str, int]) -> str:
    return f"{output.amount(traffic['up'])} / {output.amount(traffic['down'])}"
