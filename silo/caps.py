"""What a task may still send, held by each member for itself before anything leaves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from silo.charter import Charter, Task
from silo.errors import Expired, NotAllowed
from silo.journal import Journal
from silo.outbox import Outbox


@dataclass(frozen=True, slots=True)
class Caps:
    """The caps of one task, and where what was used of them is written down."""

    charter: Charter
    task: Task
    journal: Journal
    outbox: Outbox

    def check(self, now: datetime, coming: int, rounds: int) -> None:
        """Refuse that `coming` bytes leave and `rounds` begin. Raises `Expired` or `NotAllowed`."""
        limits, name = self.charter.limits(self.task), self.task.name
        if now >= limits.expires:
            raise Expired(f"task {name}", limits.expires, "have a new charter signed")
        sessions = self.journal.sessions_of(self.charter.digest, name)
        sent = sum(self.outbox.total_bytes(session) for session in sessions)
        if sent + coming > limits.bytes:
            raise NotAllowed(f"more bytes of task {name}", limits.bytes, sent + coming)
        begun = self.journal.rounds_of(self.charter.digest, name)
        if rounds and begun + rounds > limits.rounds:
            raise NotAllowed(f"more rounds of task {name}", limits.rounds, begun + rounds)
