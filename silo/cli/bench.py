"""`silo bench NAME`: measure, against a peer or a physical limit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from silo.cli import output
from silo.errors import ParameterError

if TYPE_CHECKING:
    from silo.bench import Row, Settings


_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.argument("name", metavar="NAME")
@click.option("--quick", is_flag=True, help="A tenth of the work, fewer repeats: to try it out.")
@click.option("--data", metavar="DIR", type=_FOLDER, help="utility: the four files of the UCI heart data.")
@click.option(
    "--fashion", metavar="DIR", type=_FOLDER, help="utility: Fashion-MNIST, if not where Debian puts it."
)
@click.option(
    "--plot",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="vertical: instead of the bars, cost against rows, columns and members, and a picture (.svg, .png).",
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
    plot: Path | None,
    check: bool,
    as_json: bool,
) -> None:
    """Measure NAME (secagg, he, psi, vertical, split, ledger, dp, utility), beside its peer; say which bars hold."""
    from silo.bench import Settings, machine, measurements

    if plot is not None and check:
        raise ParameterError("--plot measures no bar that --check could check: give one of them")
    parts = measurements(name)
    settings = replace(Settings.quick() if quick else Settings(), data=data, fashion=fashion)
    here = machine.describe()
    if not as_json:
        click.echo(_heading(here))
    if plot is not None:
        _plot(name, settings, plot, as_json=as_json)
        return
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


def _plot(name: str, settings: Settings, path: Path, *, as_json: bool) -> None:
    """Cost against size, for the benchmark that has such a picture."""
    if name != "vertical":
        raise ParameterError(f"--plot is for `silo bench vertical`, not {name}")
    if not path.absolute().parent.is_dir() or path.suffix not in (".svg", ".png", ".pdf"):
        raise ParameterError(f"--plot takes a .svg, .png or .pdf file in a folder that is there, not {path}")
    from silo.bench import vertical_cost

    found = vertical_cost.sweep(settings, _nothing if as_json else click.echo)
    vertical_cost.draw(found, path)
    if as_json:
        output.emit_json({"bench": name, "cost": vertical_cost.to_json(found), "plot": str(path)})
    else:
        click.echo(f"written to {path}")


def _nothing(_: str) -> None:
    return None


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
