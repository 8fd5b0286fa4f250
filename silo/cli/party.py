"""A member's part from the command line: run it, and say in at most five lines what went wrong."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from silo.cli import complaint
from silo.driver import RelayRestarted
from silo.errors import CohortChanged, SiloError, UpdateReused
from silo.progress import Progress
from silo.protocols.errors import ProtocolAborted, ProtocolViolation
from silo.session import Session
from silo.transport.base import TransportError
from silo.transport.errors import RelayLost, RelayUnreachable, TakenOver


@dataclass(frozen=True, slots=True)
class Ended:
    """What the work returned, and the exit code: 0 done, 1 a fault of others, 2 of this member, 130 stopped."""

    code: int
    result: Any = None


def take_part(
    session: Session, work: Callable[[], Any], *, progress: Progress, what: str, folder: Path, as_json: bool
) -> Ended:
    """Do `work` in the session, and close it. `what` is named if the work itself fails.

    The traceback of such a failure goes into a private file in `folder`: it can hold values of records.
    """
    try:
        with session:
            return Ended(0, work())
    except SiloError as refusal:
        progress.close()
        _last_words(session.me, session.charter.names, refusal, as_json)
        return Ended(1 if _others_fault(refusal) else 2)
    except KeyboardInterrupt:
        progress.close()
        told = "stopped by the user; the others were told"
        complaint.say(told, as_json=as_json, code=None, message=told, who=session.me)
        return Ended(130)
    except BaseException as error:
        progress.close()
        trace = folder / "last-error.txt"
        trace.touch(mode=0o600)
        trace.write_text("".join(traceback.format_exception(error)))
        told = f"the script raised {type(error).__name__}{_place(error, what)}"
        complaint.say(
            f"who:  {session.me}, in {what}",
            f"what: [SILO-000] {told}",
            "why:  see the traceback in the file below; the others were told the code only",
            f"next: less {trace}",
            as_json=as_json,
            code=SiloError.code,
            message=told,
            who=session.me,
            next=f"less {trace}",
        )
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


def _last_words(me: str, members: tuple[str, ...], refusal: SiloError, as_json: bool) -> None:
    culprits = getattr(refusal, "culprits", ()) or getattr(refusal, "missing", ())
    who, told = ", ".join(culprits) or me, complaint.one_line(str(refusal))
    next_ = _next(me, members, refusal, who.split(" (")[0])
    complaint.say(
        f"who:  {who}",
        f"what: error [{refusal.code}]: {told}",
        f"why:  silo explain {refusal.code}",
        f"next: {next_}",
        as_json=as_json,
        code=refusal.code,
        message=told,
        who=who,
        next=next_,
    )


def _next(me: str, members: tuple[str, ...], refusal: SiloError, other: str) -> str:
    """What to do next; `other` is the first whose fault it may be."""
    if isinstance(refusal, UpdateReused | CohortChanged):
        return "these values cannot be summed again here; the page says what can be done"
    if isinstance(refusal, TakenOver):
        return (
            f"look where else `silo` runs as {me} (this command twice, a job of the clock), and let one go on"
        )
    if isinstance(refusal, RelayLost | RelayUnreachable | RelayRestarted) or type(refusal) is TransportError:
        return "run the same command again when the relay is back"
    if other != me and other in members:
        return f"ask {other} what its last lines say, then run the same command again"
    return "do what the sentence says, then run the same command again"
