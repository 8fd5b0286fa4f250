"""What the ledger grants: so many uses of one event, each once."""

from __future__ import annotations

import os
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any

from silo.crypto.errors import refuse_pickle
from silo.privacy.errors import TokenUsed
from silo.privacy.events import Event
from silo.privacy.token import NoiseToken

if TYPE_CHECKING:
    from silo.privacy.ledger import Ledger


class Reservation:
    """`granted` tokens of one event; as a context manager it closes itself and gives unused ones back.

    What is not closed, after a crash, counts as spent.
    """

    def __init__(self, ledger: Ledger, identifier: str, event: Event, granted: int) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._taken = 0
        self._closed = False
        self.identifier = identifier
        self.event = event
        self.granted = granted

    def token(self) -> NoiseToken:
        """The right to draw the event's noise once. Raises `TokenUsed` when all are taken, or it is closed."""
        with self._lock:
            if self._process != os.getpid():
                raise TokenUsed("this reservation belongs to another process: reserve in this one, and pay")
            if self._closed or self._taken >= self.granted:
                why = "closed" if self._closed else f"used up ({self.granted})"
                raise TokenUsed(f"this reservation is {why}: reserve again, and pay again")
            self._taken += 1
        return NoiseToken(self.event)

    def close(self) -> None:
        """Write how many tokens were taken, and give the others back; closing twice changes nothing.

        A token that was taken counts as executed, used or not.
        """
        with self._lock:
            if self._closed or self._process != os.getpid():
                return
            self._closed = True
        self._ledger.close_reservation(self.identifier, self._taken)

    def __enter__(self) -> Reservation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> Any:
        refuse_pickle(self)
