"""`silo join`: run an agreed script as a member."""

from __future__ import annotations

import hashlib
import sys
import time
from importlib.abc import SourceLoader
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

import click

from silo.cli import output


@click.command()
@click.argument("script", type=click.Path())
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--charter", "charter_path", required=True, help="The agreement, signed by all.")
@click.option("--identity", "identity_path", required=True, help="Folder of this organisation's keys.")
@click.option("--task", help="Which task of the charter; not needed when there is one.")
@click.option("--quiet", is_flag=True, help="No progress line.")
@output.passphrase_options
@output.json_option
def join(
    script: str,
    arguments: tuple[str, ...],
    charter_path: str,
    identity_path: str,
    task: str | None,
    quiet: bool,
    passphrase_env: str | None,
    passphrase_prompt: bool,
    as_json: bool,
) -> int:
    """Run `run(session, *ARGUMENTS)` of SCRIPT, which the charter lists, together with the other members.

    What `run` returns is printed. Options of the script come behind `--`.
    """
    from silo.cli.party import take_part
    from silo.cli.waiting import follow
    from silo.joining import join as enter
    from silo.joining import require_run

    words = output.passphrase(passphrase_env, passphrase_prompt)
    started = time.monotonic()
    require_run(script)
    source = Path(script).read_bytes()
    session = enter(charter_path, identity_path, task=task, script=script, passphrase=words)
    progress = follow(session, rounds=session.task.rounds, shown=not quiet and not as_json)

    def work() -> Any:
        if session.task.script:
            # The file can have changed while the relay was dialled: what was read is what runs.
            session.task.allow_script(hashlib.sha256(source).digest())
        return _function(script, source)(session, *arguments)

    folder = Path(identity_path)
    ended = take_part(session, work, progress=progress, what=script, folder=folder, as_json=as_json)
    if ended.code:
        return ended.code
    traffic = session.seat.endpoint.traffic
    facts = {
        "member": session.me,
        "task": session.task.name,
        "result": ended.result,
        "collectives": session.position,
        "clipped": session.saturated,
        "bytes_sent": traffic.bytes_sent,
        "bytes_received": traffic.bytes_received,
        "seconds": round(time.monotonic() - started, 3),
    }
    if as_json:
        output.emit_json(facts)
        return 0
    if ended.result is not None:
        click.echo(str(ended.result))
    click.echo(
        f"{session.me}: {facts['collectives']} collectives, {output.amount(traffic.bytes_sent)} sent, "
        f"{output.amount(traffic.bytes_received)} received, {facts['seconds']} s"
    )
    return 0


def _function(script: str, source: bytes) -> Any:
    sys.path.insert(0, str(Path(script).resolve().parent))
    loader = _AsRead(script, source)
    spec = ModuleSpec("<run_path>", loader, origin=script)
    spec.has_location = True
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    loader.exec_module(module)
    return module.run


class _AsRead(SourceLoader):
    """Loads a script from the bytes that were compared with the charter, whatever its file holds by now."""

    def __init__(self, script: str, source: bytes) -> None:
        self._script, self._source = script, source

    def get_filename(self, fullname: str) -> str:
        return self._script

    def get_data(self, path: Any) -> bytes:
        if path != self._script:
            raise OSError  # no bytecode is read from beside it
        return self._source
