"""`silo audit`: what a data protection officer asks of this site."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from silo.cli import output

if TYPE_CHECKING:
    from silo.outbox_report import Report


@click.group()
def audit() -> None:
    """Show what left this site."""


@audit.command()
@click.argument("path", metavar="PATH")
@click.option("--card", metavar="CARD", help="The owner's card, to check the sealed heads.")
@click.option("--head", metavar="LINE", help="A sealed head that was kept elsewhere, to find a cut end.")
@click.option("--html", metavar="FILE", help="Also write a page that needs nothing else.")
@output.json_option
@click.pass_context
def outbox(
    ctx: click.Context, path: str, card: str | None, head: str | None, html: str | None, as_json: bool
) -> None:
    """Show what left, to whom and how it was protected; PATH is an outbox or an identity's directory."""
    from silo.card import Card
    from silo.errors import ParameterError
    from silo.outbox import Outbox, SealedHead
    from silo.outbox_report import Report, to_html

    file = Path(path)
    if file.is_dir():
        # An identity's directory, or the folder of its state.
        below = file / "state" / "outbox.db"
        file = below if below.exists() else file / "outbox.db"
    owner = Card.load(card) if card else None
    key = owner.key if owner else None
    kept = SealedHead.parse(head) if head else None
    with Outbox.open_to_read(file) as opened:
        if owner is not None and owner.name != opened.name:
            raise ParameterError(
                f"this is the outbox of {opened.name}, and the card is that of {owner.name}: give {opened.name}'s card"
            )
        report = Report.of(opened, key, kept)
    if html:
        Path(html).write_text(to_html(report), encoding="utf-8")
    if as_json:
        output.emit_json(report.to_json())
    else:
        click.echo(_screen(report), nl=False)
    if report.fault is not None:
        click.echo(f"error [{report.fault.code}]: {report.fault}", err=True)
        ctx.exit(1)


@audit.command()
@click.argument("path", metavar="LEDGER")
@click.option("--card", metavar="CARD", help="The owner's card.")
@click.option("--witness", "witnesses", multiple=True, metavar="LINE", help="A head that was kept elsewhere.")
@click.option("--witness-card", "partners", multiple=True, metavar="CARD", help="The card of a witness.")
@output.json_option
def ledger(
    path: str, card: str | None, witnesses: tuple[str, ...], partners: tuple[str, ...], as_json: bool
) -> None:
    """Check a ledger, or an export, against what partners witnessed, and recompute epsilon."""
    from silo.cli.ledger import check

    check(path, card, witnesses, partners, as_json)


@audit.command()
@click.option("--one-run", is_flag=True, help="The canaries only: a second, and it finds gross faults.")
@click.option(
    "--inject", type=float, default=1.0, metavar="FACTOR", help="Weaken the noise, to see the audit find it."
)
@output.json_option
@click.pass_context
def noise(ctx: click.Context, one_run: bool, inject: float, as_json: bool) -> None:
    """Attack the training code itself: is there as much noise as is claimed?

    Exit code 1 when a lower bound lies above the claim.
    """
    from silo.crypto.rng import SystemRng
    from silo.errors import ParameterError
    from silo.training.private.fit import require_extra

    if not 0 < inject < 100:
        raise ParameterError(f"--inject takes a factor above 0, not {inject}")
    require_extra()
    from silo.audit import noise as attacks

    found = []
    for attack in (attacks.canaries,) if one_run else (attacks.canaries, attacks.worlds):
        with _bar(attack.__name__, as_json) as told:
            found.append(attack(rng=SystemRng(), weaken=inject, told=told))
    caught = [one for one in found if one.caught]
    rows = [
        {
            "audit": one.audit,
            "claimed_epsilon": one.claimed_epsilon,
            "lower_bound": one.lower_bound,
            "delta": one.delta,
            "confidence": one.confidence,
            "runs": one.runs,
            "verdict": "a fault" if one.caught else "no fault found",
        }
        for one in found
    ]
    if as_json:
        output.emit_json({"audit": "noise", "injected": inject, "audits": rows, "caught": bool(caught)})
    else:
        cells = [
            [one["audit"], f"{one['claimed_epsilon']:.3f}", f"{one['lower_bound']:.3f}", one["verdict"]]
            for one in rows
        ]
        click.echo(output.table(["audit", "claimed epsilon", "lower bound", "verdict"], cells, right=(1, 2)))
        click.echo(
            f"delta {attacks.DELTA:g}, {attacks.CONFIDENCE:.0%} confidence; a bound below the claim proves nothing"
        )
    if caught:
        ctx.exit(1)


@audit.command()
@click.option("--trials", default=1000, show_default=True, help="Guesses on Silo; a fifth of them on Opacus.")
@output.json_option
@click.pass_context
def size(ctx: click.Context, trials: int, as_json: bool) -> None:
    """Try to tell N records from N + 1 by one update, here and with plain Opacus.

    Exit code 1 when Silo's update tells it, or the attack does not see what plain Opacus shows.
    """
    from silo.crypto.rng import SystemRng
    from silo.errors import ParameterError
    from silo.training.private.fit import require_extra

    if trials < 50:
        raise ParameterError(f"--trials takes at least 50, not {trials}: fewer tell nothing")
    require_extra()
    from silo.audit import size as attack

    with _bar("size", as_json) as told:
        found = attack.compare(rng=SystemRng(), trials=trials, opacus_trials=trials // 5, told=told)
    verdict = "a fault" if found.caught else "no fault found" if found.sees else "the attack does not see"
    if as_json:
        output.emit_json(
            {
                "audit": "size",
                "accuracy": found.silo_accuracy,
                "trials": found.silo_trials,
                "opacus_accuracy": found.opacus_accuracy,
                "opacus_trials": found.opacus_trials,
                "claimed_epsilon": found.claimed_epsilon,
                "verdict": verdict,
            }
        )
    else:
        click.echo(
            f"N told from N + 1: {found.silo_accuracy:.1%} of {found.silo_trials} guesses (a coin: 50 %; a fault "
            f"beyond {100 * found.limit:.0f} %)\nthe same attack on plain Opacus: {found.opacus_accuracy:.1%} of "
            f"{found.opacus_trials}\n{verdict}, at a claimed epsilon of {found.claimed_epsilon:.3f}"
        )
    if found.caught or not found.sees:
        ctx.exit(1)


@audit.command()
@click.option("--data", metavar="DIR", help="A folder with the two tables of default_credit.")
@click.option("--epochs", default=20, show_default=True, help="Passes over the records.")
@click.option(
    "--defence",
    metavar="NAME",
    help="none, max_norm, isotropic, marvell or guide (what Silo does; the default).",
)
@click.option(
    "--noise",
    type=float,
    metavar="SIGMA",
    help="Noise of the guide, scale of isotropic noise, or Marvell's power.",
)
@click.option("--layers", metavar="KIND", help="linear or two-layer bottoms; both by default.")
@click.option("--runs", default=1, show_default=True, help="Repeat the defended training so often.")
@click.option("--plot", metavar="FILE", help="Also write a page with the leak against epochs.")
@output.json_option
@click.pass_context
def labels(
    ctx: click.Context,
    data: str | None,
    epochs: int,
    defence: str | None,
    noise: float | None,
    layers: str | None,
    runs: int,
    plot: str | None,
    as_json: bool,
) -> None:
    """Attack split learning: what do returned gradients tell of the labels, and activations of the features?

    A simulation of both parties in one process. Exit code 1 when more leaks than a guarantee allows.
    """
    from silo.audit.labels.command import Asked, check, run

    ready = check(Asked(data, epochs, defence, noise, layers, runs, plot))
    with _bar("labels", as_json) as told:
        said = run(ready, told)
    if as_json:
        output.emit_json(said.document)
    else:
        click.echo(said.screen)
    if said.fault:
        ctx.exit(1)


@contextmanager
def _bar(name: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, where there is a terminal."""
    if quiet:
        yield lambda done, of: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)


def _screen(report: Report) -> str:
    rows = [
        [
            line.recipient,
            line.kind,
            line.protection,
            f"{line.frames:,}",
            output.amount(line.size),
            f"{line.first:%Y-%m-%d %H:%M}",
            f"{line.last:%Y-%m-%d %H:%M}",
        ]
        for line in report.lines
    ]
    header = ["to", "what", "protection", "frames", "bytes", "first (UTC)", "last (UTC)"]
    return (
        f"What left {report.name}: {report.frames:,} frames, {output.amount(report.size)} "
        f"({report.size:,} bytes)\n\n"
        f"{output.table(header, rows, right=(3, 4))}\n\n{report.state}\n"
    )
