"""`silo psi`: which rows of a file do all members have in common?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from silo.cli import output

if TYPE_CHECKING:
    from silo.charter import Task


@click.command()
@click.argument("file", metavar="FILE", type=click.Path())
@click.option("--column", required=True, help="The column of identifiers, all different.")
@click.option("--charter", "charter_path", required=True, help="The agreement, signed by all.")
@click.option("--identity", "identity_path", required=True, help="Folder of this organisation's keys.")
@click.option("--task", help="Which task of the charter; not needed when there is one.")
@click.option(
    "--reveal",
    type=click.Choice(["rows", "size"]),
    default="rows",
    show_default=True,
    help="Which rows are in common, or only how many.",
)
@click.option(
    "-o", "--out", metavar="FILE", help="Where this member's common rows go; FILE-common.csv by default."
)
@click.option("--quiet", is_flag=True, help="No progress line.")
@output.passphrase_options
@output.json_option
def psi(
    file: str,
    column: str,
    charter_path: str,
    identity_path: str,
    task: str | None,
    reveal: str,
    out: str | None,
    quiet: bool,
    passphrase_env: str | None,
    passphrase_prompt: bool,
    as_json: bool,
) -> int:
    """Intersect the identifiers of the CSV table FILE with those of the other members, who run the same command."""
    from silo import csv_table, identifiers
    from silo.charter import Charter
    from silo.cli.party import take_part
    from silo.cli.waiting import follow
    from silo.joining import join

    words = output.passphrase(passphrase_env, passphrase_prompt)
    agreed = Charter.load(charter_path)
    _require_no_script(agreed.task(task))
    target = Path(out) if out else Path(file).with_name(f"{Path(file).stem}-common.csv")
    if reveal == "rows":
        csv_table.require_new(target, "-o")
    table = csv_table.read(file)
    where = f"column {column} of {Path(file).name}"
    ids = identifiers.encode(table.text(column), where)
    started = time.monotonic()
    session = join(agreed, identity_path, task=task, passphrase=words)
    progress = follow(session, rounds=session.task.rounds, shown=not quiet and not as_json)
    ended = take_part(
        session,
        lambda: session.intersect(ids, reveal=reveal, column=where),
        progress=progress,
        what=file,
        folder=Path(identity_path),
        as_json=as_json,
    )
    if ended.code:
        return ended.code
    common: Any = ended.result
    size = None if common is None else common if reveal == "size" else len(common)
    written = reveal == "rows" and common is not None
    if written:
        csv_table.write(target, table.names, [table.rows[place] for place in common])
    traffic = session.seat.endpoint.traffic
    facts = {
        "member": session.me,
        "rows": len(ids),
        "common": size,
        "file": str(target) if written else None,
        "bytes_sent": traffic.bytes_sent,
        "bytes_received": traffic.bytes_received,
        "seconds": round(time.monotonic() - started, 3),
    }
    if as_json:
        output.emit_json(facts)
        return 0
    if size is None:
        click.echo(f"the charter gives {session.me} no results; the others have theirs")
    else:
        saved = f", written to {target}" if written else ""
        click.echo(f"{size:,} of {len(ids):,} rows are in common to {', '.join(session.members)}{saved}")
    return 0


def _require_no_script(task: Task) -> None:
    from silo.errors import NotAllowed

    if task.script:
        raise NotAllowed(
            f"task {task.name} runs one script only; have that call session.intersect, or name another task",
            task.script[:19],
            "silo psi",
        )
