"""A host that notices when its bottom is trained for something else than the task, and stops.

The idea of SplitGuard and SplitOut (Erdogan et al. 2022): gradients of an honest top differ from a hijacker's. An
honest top has a bias, so its residuals soon cancel within each batch: some records are pushed one way, some the other.
A hijacker of the feature space (Pasquini et al. 2021) pushes all records alike, towards its own encoder's outputs. The
host compares how coherent the pushes are with a rehearsal of the honest job, over short windows and long ones, so that
a hijack is still found beneath the declared noise, only later.

Where a guide was declared its gradients point in one direction for each logit, whatever the noise; a hijacker's differ
from record to record, and the first batch tells, if the cut is wider than there are classes.

Adversary: a top party that hijacks as published, with or without the declared noise. One that knows these tests can
send gradients which cancel, in few directions, and pull more slowly; nothing here is a guarantee. A rehearsal of a very
rare class is coherent itself at first, and the watch then waits until it is not.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.leak.rank import ROUNDED, outside
from silo.leak.rehearsal import WINDOWS, Rehearsal, coherence, push
from silo.protocols.errors import ProtocolViolation

Array = npt.NDArray[Any]

_IN_A_ROW: Final = 2


class Hijacked(ProtocolViolation):
    """The gradients train the bottom for something else than the agreed task: training stops, and nothing more is sent.

    `found` is what was measured, `expected` the most that is honest, both in words; `round` is the batch.
    """

    code = "SILO-230"


class Watch:
    """Watches the gradients that one party returns."""

    def __init__(self, rehearsal: Rehearsal, *, party: str = "") -> None:
        self._rehearsal = rehearsal
        self._party = party
        self._pushes: deque[Array] = deque(maxlen=max(WINDOWS))
        self._counts: deque[int] = deque(maxlen=max(WINDOWS))
        self._step = 0
        self._above = 0

    def saw(self, gradients: Array) -> None:
        """Take in one batch (records, width) before the bottom learns from it. Raises `Hijacked`."""
        self._step += 1
        most = self._rehearsal.directions
        elsewhere = outside(gradients, most) if most else 0.0
        if elsewhere > ROUNDED:
            raise self._hijacked(
                "its gradients point elsewhere for each record, as no guide's do",
                f"at most {most} directions",
                f"{elsewhere:.1%} outside them",
            )
        self._pushes.append(push(gradients))
        self._counts.append(len(gradients))
        limits = self._rehearsal.limits(self._step - 1)
        every, counts = np.array(self._pushes), np.array(self._counts)
        found = np.array([coherence(every[-window:], counts[-window:]) for window in WINDOWS])
        # What is no number is no honest gradient either.
        over = np.where(np.isfinite(found), found - limits, np.inf)
        worst = int(np.argmax(over))
        self._above = self._above + 1 if over[worst] > 0 else 0
        if self._above >= _IN_A_ROW:
            raise self._hijacked(
                "its gradients push all records alike, as no honest top does",
                f"a coherence of at most {limits[worst]:.3f}",
                f"{found[worst]:.3f}",
            )

    def _hijacked(self, what: str, expected: str, found: str) -> Hijacked:
        return Hijacked(
            f"{what}: leave the job, for the features that were sent are at stake",
            culprits=(self._party,) if self._party else (),
            round=self._step,
            expected=expected,
            found=found,
        )
