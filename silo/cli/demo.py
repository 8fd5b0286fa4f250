"""`silo demo NAME`: an example with several parties, each a process of its own on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from silo.cli import output

_HOSPITALS: Final = ("logistic", "mlp")


@click.command()
@click.argument("name", type=click.Choice(["hospitals", "bank", "credit", "split"]))
@click.option(
    "--data",
    type=click.Path(),
    help="Folder of the UCI data: heart disease, bank marketing, default of credit card clients.  "
    "[default: scikit-learn's set]",
)
@click.option(
    "--model",
    type=click.Choice(["logistic", "mlp", "linear", "boosting"]),
    help="logistic or mlp for hospitals, linear or boosting for bank and credit.  [default: logistic; both]",
)
@click.option(
    "--sum",
    "protocol",
    type=click.Choice(["masking", "paillier", "ckks", "lattice"]),
    show_default="masking",
    help="hospitals: how the relay adds what it cannot read.",
)
@click.option("--private", is_flag=True, help="hospitals: each has a privacy budget (needs the extra dp).")
@click.option(
    "--parties",
    type=click.IntRange(2, 3),
    help="split: how many organisations.  [default: 3 for bank marketing, else 2]",
)
@click.option("--out", type=click.Path(), default="silo-demo", show_default=True, help="Folder to write to.")
@output.json_option
def demo(
    name: str,
    data: str | None,
    model: str | None,
    protocol: str | None,
    private: bool,
    parties: int | None,
    out: str,
    as_json: bool,
) -> None:
    """Several organisations on this machine learn together.

    hospitals: four train one model on rows of their own; the relay adds what they send and learns no single update.
    bank, credit: three and two have other columns of the same people; they find these, fit together and score.
    split: two or three train a neural network over their columns, the labels behind noise (extras dp, vertical).
    """
    from silo.errors import UsageError

    if name == "split":
        if private or protocol or model:
            raise UsageError("the demo split takes none of --model, --sum and --private: leave these away")
        _split(data, parties, out, as_json)
        return
    if parties is not None:
        raise UsageError(
            f"--parties is of the demo split alone, and {name} has its own organisations: leave it away"
        )
    if name != "hospitals":
        if private or protocol or model in _HOSPITALS:
            raise UsageError(
                f"the demo {name} takes --model linear or boosting, and neither --sum nor --private: leave these away"
            )
        _vertical(name, data, model, out, as_json)
        return
    if model not in (None, *_HOSPITALS):
        raise UsageError(f"the demo hospitals takes --model {' or '.join(_HOSPITALS)}, not {model}")
    model, protocol = model or "logistic", protocol or "masking"
    if private:
        from silo.demo import private as private_hospitals

        if (model, protocol) != ("logistic", "masking"):
            raise UsageError(
                "the private demo trains the model logistic under masks: leave --model and --sum away"
            )
        folder = Path(out) / f"{name}-private"
        found = private_hospitals.run(
            Path(data) if data else None, folder=folder, tell=_quiet if as_json else _say
        )
        if as_json:
            output.emit_json(found)
        else:
            click.echo(_private_summary(found))
        return
    from silo.demo import hospitals

    results = hospitals.run(
        Path(data) if data else None,
        model=model,
        folder=Path(out) / name,
        tell=_quiet if as_json else _say,
        protocol=protocol,
    )
    if as_json:
        output.emit_json(results)
        return
    click.echo(_summary(results))


def _vertical(name: str, data: str | None, model: str | None, out: str, as_json: bool) -> None:
    from silo.cli import demo_vertical
    from silo.demo import vertical
    from silo.demo.vertical_models import MODELS

    results = vertical.run(
        name,
        Path(data) if data else None,
        models=(model,) if model else MODELS,
        folder=Path(out) / name,
        tell=_quiet if as_json else _say,
    )
    if as_json:
        output.emit_json(results)
        return
    click.echo(demo_vertical.summary(results))


def _split(data: str | None, parties: int | None, out: str, as_json: bool) -> None:
    from silo.cli import demo_split
    from silo.demo import split

    results = split.run(
        Path(data) if data else None,
        parties=parties,
        folder=Path(out) / "split",
        tell=_quiet if as_json else _say,
    )
    if as_json:
        output.emit_json(results)
        return
    click.echo(demo_split.summary(results))


def _quiet(_: str) -> None:
    return None


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)


def _private_summary(results: dict[str, Any]) -> str:
    spent = results["privacy"]["hospitals"]
    budgets = output.table(
        ["privacy per patient", "epsilon (PLD)", "filter", "budget", "delta", "used", "refused", "witnesses"],
        [
            [
                name,
                f"{one['epsilon']:.3f}",
                f"{one['filter_epsilon']:.3f}",
                f"{one['budget']:g}",
                f"{one['delta']:g}",
                f"{one['used']:.1%}",
                one["refusals"],
                len(one["witnessed_by"]),
            ]
            for name, one in spent.items()
        ],
        right=range(1, 8),
    )
    return "\n".join(
        [
            results["data"],
            "",
            _accuracy(results),
            "(local and pooled are without noise, for comparison)",
            "",
            budgets,
            "",
            f"{results['rounds_done']} rounds, {1000 * results['seconds_per_round']:.0f} ms each (median)",
            "a second training was refused by every hospital before it read a row",
            "",
            f"report: {results['report']}",
            f"ledger: {results['ledger_report']}",
            f"check one yourself: silo ledger verify {next(iter(spent.values()))['ledger']}",
        ]
    )


def _accuracy(results: dict[str, Any]) -> str:
    kinds = [(kind, results["results"][kind]) for kind in ("local", "federated", "pooled")]
    names = results["parties"]
    return output.table(
        ["accuracy", *(f"{kind}" for kind, _ in kinds)],
        [
            *([name, *(f"{one['per_hospital'][name]:.3f}" for _, one in kinds)] for name in names),
            ["mean of the hospitals", *(f"{one['mean_client_accuracy']:.3f}" for _, one in kinds)],
            ["all test rows together", *(f"{one['pooled_test_accuracy']:.3f}" for _, one in kinds)],
        ],
        right=(1, 2, 3),
    )


def _summary(results: dict[str, Any]) -> str:
    names = results["parties"]
    traffic = output.table(
        ["traffic", "up", "down"],
        [
            [
                name,
                output.amount(results["traffic"][name]["up"]),
                output.amount(results["traffic"][name]["down"]),
            ]
            for name in names
        ],
        right=(1, 2),
    )
    seconds = results["seconds_per_round"]
    saw = results["relay_saw"]
    pairs = zip(saw["masked"][:4], saw["true"][:4], strict=True)
    rows = [[f"{masked:+.4f}", f"{true:+.4f}"] for masked, true in pairs]
    seen = output.table(["the relay saw", f"{saw['hospital']} had"], rows, right=(0, 1))
    return "\n".join(
        [
            results["data"],
            "",
            _accuracy(results),
            "",
            traffic,
            "",
            f"{results['rounds_done']} rounds, {1000 * seconds:.0f} ms each (median)",
            "",
            seen,
            f"correlation over {len(saw['masked'])} values: {saw['correlation']:+.3f}",
            f"largest difference from the same training in the clear: {results['difference_from_plain']:.1e}",
            "no differential privacy here: the sum itself still tells something (docs/limitations.md)",
            "",
            f"report: {results['report']}",
        ]
    )
