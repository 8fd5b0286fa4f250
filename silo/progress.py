"""One line on standard error that says where a run stands; plain lines where that is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from silo.driver import Watch


@dataclass(eq=False)
class Progress:
    """Redraws itself in a terminal; elsewhere prints who is waited for, after `patience` seconds of it."""

    rounds: int = 0
    traffic: Callable[[], int] = lambda: 0
    stream: object = None
    patience: float = 10.0
    _begun: float = field(default_factory=time.monotonic)
    _entered: tuple[int, float] = (0, 0.0)
    """The round that is under way, and after how many seconds it began."""
    _since: float = field(default_factory=time.monotonic)
    _told: str = ""
    _width: int = 0

    def __call__(self, watch: Watch) -> None:
        """Show one watch; cheap enough for every step."""
        line = self._line(watch)
        if sys.stderr.isatty():
            sys.stderr.write("\r" + line.ljust(self._width))
            sys.stderr.flush()
            self._width = len(line)
            return
        now = time.monotonic()
        if watch.waiting_for and line != self._told and now - self._since > self.patience:
            sys.stderr.write(line + "\n")
            self._told, self._since = line, now

    def close(self) -> None:
        """End the line; twice does no harm."""
        if self._width and sys.stderr.isatty():
            sys.stderr.write("\n")
            sys.stderr.flush()
        self._width = 0

    def _line(self, watch: Watch) -> str:
        if watch.round != self._entered[0]:
            self._entered = watch.round, time.monotonic() - self._begun
        of = f" of at most {self.rounds}" if self.rounds else ""
        left = ""
        # `rounds` is the charter's cap, and a fit is one round: what is left is told by whole rounds only.
        done, passed = watch.round - 1, self._entered[1]
        if 0 < done < self.rounds:
            left = f", at most about {passed / done * (self.rounds - done):.0f} s left"
        waiting = f", waiting for {', '.join(watch.waiting_for[:5])}" if watch.waiting_for else ""
        sent = self.traffic() / 1e6
        return f"round {watch.round}{of}, {watch.step}{waiting}; {sent:.1f} MB sent{left}"[:110]
