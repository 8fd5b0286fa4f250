"""`silo audit`: what a data protection officer asks of this site."""

from __future__ import annotations

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
