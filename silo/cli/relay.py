"""`silo relay`: the process that all members dial; it also adds the masked vectors."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from silo.cli import output

if TYPE_CHECKING:
    from silo.aggregator import Finished


@click.command()
@click.option("--charter", "charter_path", required=True, help="The agreement, signed by all.")
@click.option("--identity", "identity_path", required=True, help="Folder of the relay's keys.")
@click.option("--host", default="0.0.0.0", show_default=True, help="Address to listen on.")  # noqa: S104
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port to listen on.  [default: that of the charter's URL]"
)
@click.option("--once", is_flag=True, help="End when all members have left.")
@click.option("--record", type=click.Path(), help="Keep every masked vector in this folder, to look at.")
@output.passphrase_options
@output.json_option
def relay(
    charter_path: str,
    identity_path: str,
    host: str,
    port: int | None,
    once: bool,
    record: str | None,
    passphrase_env: str | None,
    passphrase_prompt: bool,
    as_json: bool,
) -> int:
    """Serve the federation of a charter until stopped. Members dial in; the relay dials nobody."""
    import json

    from silo.relay import Relay

    def told(finished: Finished) -> None:
        if as_json:
            fact: dict[str, Any] = {
                "round": finished.number,
                "tag": finished.tag,
                "survivors": finished.survivors,
                "lost": finished.lost,
                "liars": finished.liars,
                "problem": finished.problem.code if finished.problem else "",
                "seconds": round(finished.seconds, 4),
            }
            click.echo(json.dumps(fact))
            return
        click.echo(line(finished))

    words = output.passphrase(passphrase_env, passphrase_prompt)
    service = Relay.load(
        charter_path,
        identity_path,
        passphrase=words,
        host=host,
        port=port,
        once=once,
        told=told,
        record=Path(record) if record else None,
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with service:
        where = {"host": host, "port": service.port, "charter": service.charter.digest.hex()[:16]}
        if as_json:
            click.echo(json.dumps({"listening": where}))
        else:
            click.echo(
                f"relay of {service.charter.name!r}: listening on {host}:{service.port}, "
                f"waiting for {', '.join(service.charter.names)}"
            )
        while not stop.wait(0.2) and service.serving:
            pass
    service.raise_error()
    return 0


_AMONG_MEMBERS: Final = frozenset({"fit", "score"})


def line(finished: Finished) -> str:
    """One round for people: how many members are in its sum, why there is none, or that none was asked for."""
    lost = f", without {', '.join(finished.lost)}" if finished.lost else ""
    lost += f", wrong shares from {', '.join(finished.liars)}" if finished.liars else ""
    end = f"{finished.seconds:.2f} s"
    from silo.protocols.errors import UnlikeTerms

    # What members leave open to each other in a fit or a scoring is for them to judge, and no failure here.
    judged = finished.tag in _AMONG_MEMBERS and isinstance(finished.problem, UnlikeTerms)
    if finished.problem and not judged:
        what, end = f"no sum{lost}", f"[{finished.problem.code}] {finished.problem}"
    elif finished.survivors:
        count = len(finished.survivors)
        what = f"a sum of {count} member{'s' if count > 1 else ''}{lost}"
    else:
        what = "the members were called and go on by themselves, with nothing to add up here"
    return f"round {finished.number} {finished.tag}: {what}; {end}"
