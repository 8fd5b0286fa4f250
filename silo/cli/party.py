"""A member's part from the command line: run it, and say in at most five lines what went wrong."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from silo.driver import RelayRestarted
from silo.errors import CohortChanged, SiloError, UpdateReused
from silo.progress import Progress
from silo.protocols.errors import ProtocolAborted, ProtocolViolation
from silo.session import Session
from silo.transport.base import TransportError


@dataclass(frozen=True, slots=True)
class Ended:
    """What the work returned, and the exit code: 0 done, 1 a fault of others, 2 of this member, 130 stopped."""

    code: int
    result: Any = None


def take_part(
    session: Session, work: Callable[[], Any], *, progress: Progress, what: str, folder: Path
) -> Ended:
    """Do `work` in the session, and close it. `what` is named if the work itself fails.

    The traceback of such a failure goes into a private file in `folder`: it can hold values of records.
    """
    try:
        with session:
            return Ended(0, work())
    except SiloError as refusal:
        progress.close()
        _last_words(session.me, session.charter.names, refusal)
        return Ended(1 if _others_fault(refusal) else 2)
    except KeyboardInterrupt:
        progress.close()
        click.echo("stopped by the user; the others were told", err=True)
        return Ended(130)
    except BaseException as error:
        progress.close()
        trace = folder / "last-error.txt"
        trace.touch(mode=0o600)
        trace.write_text("".join(traceback.format_exception(error)))
        click.echo(f"who:  {session.me}, in {what}", err=True)
        click.echo(
            f"what: [SILO-000] the script raised {type(error).__name__}{_place(error, what)}", err=True
        )
        click.echo("why:  see the traceback in the file below; the others were told the code only", err=True)
        click.echo(f"next: less {trace}", err=True)
        return Ended(1)
    finally:
        progress.close()


def _place(error: BaseException, script: str) -> str:
    """Where in the script, by the last line of it that was running; the text of the exception stays in the file."""
    name = Path(script).name
    frames = [one for one in traceback.extract_tb(error.__traceback__) if Path(one.filename).name == name]
    return f" at line {frames[-1].lineno} of {name}" if frames else ""


def _others_fault(refusal: SiloError) -> bool:
    return isinstance(refusal, ProtocolAborted | ProtocolViolation | TransportError)


def _last_words(me: str, members: tuple[str, ...], refusal: SiloError) -> None:
    culprits = getattr(refusal, "culprits", ()) or getattr(refusal, "missing", ())
    who = ", ".join(culprits) or me
    click.echo(f"who:  {who}", err=True)
    click.echo(f"what: error [{refusal.code}]: {' '.join(str(refusal).split())}", err=True)
    click.echo(f"why:  silo explain {refusal.code}", err=True)
    other = who.split(" (")[0]
    if isinstance(refusal, UpdateReused | CohortChanged):
        click.echo(
            "next: these values cannot be summed again here; the page says what can be done",
            err=True,
        )
    elif isinstance(refusal, TransportError | RelayRestarted):
        click.echo("next: run the same command again when the relay is back", err=True)
    elif other != me and other in members:
        click.echo(f"next: ask {other} what its last lines say, then run the same command again", err=True)
    else:
        click.echo("next: do what the sentence says, then run the same command again", err=True)
