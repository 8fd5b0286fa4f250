"""`silo bench NAME`: measure, against a peer or a physical limit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from silo.cli import output

if TYPE_CHECKING:
    from silo.bench import Row


_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.argument("name", metavar="NAME")
@click.option("--quick", is_flag=True, help="A tenth of the work, fewer repeats: to try it out.")
@click.option("--data", metavar="DIR", type=_FOLDER, help="utility: the four files of the UCI heart data.")
@click.option(
    "--fashion", metavar="DIR", type=_FOLDER, help="utility: Fashion-MNIST, if not where Debian puts it."
)
@click.option("--check", is_flag=True, help="Exit with 1 when a bar does not hold.")
@output.json_option
@click.pass_context
def bench(
    ctx: click.Context,
    name: str,
    quick: bool,
    data: Path | None,
    fashion: Path | None,
    check: bool,
    as_json: bool,
) -> None:
    """Measure NAME (secagg, he, psi, vertical, ledger, dp, utility), each beside its peer; say which bars hold."""
    from silo.bench import Settings, machine, measurements

    parts = measurements(name)
    settings = replace(Settings.quick() if quick else Settings(), data=data, fashion=fashion)
    here = machine.describe()
    if not as_json:
        click.echo(_heading(here))
    rows: list[Row] = []
    for part in parts:
        for row in part(settings):
            rows.append(row)
            if not as_json:
                click.echo(_lines(row))
    here["load_average_after"] = machine.load_average()
    if as_json:
        output.emit_json({"bench": name, "machine": here, "rows": [row.to_json() for row in rows]})
    short = [row.name for row in rows if not row.holds]
    if check and short:
        click.echo(f"{len(short)} of {len(rows)} bars do not hold: {'; '.join(short)}", err=True)
        ctx.exit(1)


def _heading(here: dict[str, object]) -> str:
    free = "" if here["free_cores"] is None else f", {here['free_cores']} free"
    load = "" if here["load_average"] is None else f", load average {here['load_average']}"
    return (
        f"{here['processor']}: {here['usable_cores']} cores{free}{load}; {here['python']}, {here['openssl']}"
    )


def _lines(row: Row) -> str:
    mark = "ok   " if row.holds else "SHORT"
    value = "not measured" if row.value is None else f"{row.value:.3g} {row.unit}"
    lines = [f"{mark}  {row.name}: {value} ({row.direction} {row.bound:g}; against {row.against})"]
    lines += [
        f"       {label}: {timing.median * 1000:.4g} ms "
        f"({timing.low * 1000:.4g} to {timing.high * 1000:.4g}, {len(timing.runs)} runs), "
        f"{timing.cores:.2f} cores"
        for label, timing in row.sides.items()
    ]
    if row.note:
        lines.append(f"       {row.note}")
    return "\n".join(lines)
