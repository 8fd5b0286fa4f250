"""The line of a member that waits, with the members for whom everybody waits at a roll call.

A member at the roll call waits for the relay, and the relay for the members that have not come. Of these a member
knows only what the relay says, and the relay is not trusted: so the line says whose word it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from silo.driver import Watch
from silo.progress import Progress
from silo.session import Session
from silo.transport.base import State

_NAMED: Final = 3


def follow(session: Session, *, rounds: int, shown: bool) -> Progress:
    """The progress of a session; with `shown` it draws a line on standard error. `rounds` 0: nobody knows how many."""
    endpoint = session.seat.endpoint
    progress = Progress(rounds, lambda: endpoint.traffic.bytes_sent)
    others, relay = [name for name in session.members if name != session.me], session.charter.relay.name

    def watch(now: Watch) -> None:
        if now.round == 0 and now.waiting_for == (relay,):
            now = replace(now, waiting_for=(behind(endpoint.parties(), others, relay),))
        progress(now)

    if shown:
        session.seat.watch = watch
    return progress


def behind(parties: Mapping[str, State], others: Sequence[str], relay: str) -> str:
    """For whom a roll call waits, as far as a member can know: from `parties`, where the relay says how each is."""
    if parties.get(relay) != "present":
        return f"{relay}, which this member does not reach at the moment"
    absent = [name for name in others if parties.get(name) != "present"]
    if not absent:
        return f"{relay}, which says that all members are connected"
    more = f" and {len(absent) - _NAMED} more" if len(absent) > _NAMED else ""
    return f"{', '.join(absent[:_NAMED])}{more} ({relay} says: not connected)"
