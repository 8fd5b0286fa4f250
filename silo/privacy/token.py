"""The right to draw noise once. Noise without a token is impossible, and a token follows a durable record."""

from __future__ import annotations

import os
import threading
from typing import Any, final

from silo.crypto.errors import refuse_pickle
from silo.errors import ParameterError
from silo.privacy.errors import TokenUsed
from silo.privacy.events import Event


@final
class NoiseToken:
    """One use of one event, from one reservation."""

    __slots__ = ("_lock", "_process", "_used", "event")

    def __init__(self, event: Event) -> None:
        self.event = event
        self._used = False
        self._process = os.getpid()
        self._lock = threading.Lock()

    def use(self, event: Event) -> None:
        """Spend the token, just before the noise of `event` is drawn.

        Raises `TokenUsed`, or `ParameterError` when another event was reserved; the token is then still good.
        """
        if event != self.event:
            raise ParameterError(
                f"the noise of {event} was not reserved: the reservation is for {self.event}"
            )
        with self._lock:
            if self._used or self._process != os.getpid():
                raise TokenUsed(
                    "this reservation's right to draw noise was used, or belongs to another process: "
                    "reserve again, and pay again"
                )
            self._used = True

    def __repr__(self) -> str:
        return f"NoiseToken({self.event}, {'used' if self._used else 'unused'})"

    def __copy__(self) -> Any:
        refuse_pickle(self)

    def __deepcopy__(self, memo: Any) -> Any:
        refuse_pickle(self)

    def __reduce__(self) -> Any:
        refuse_pickle(self)
