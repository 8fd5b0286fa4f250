"""The leak meter beside a fit: what the member with the labels returns, measured against what was promised.

What features say of a label is no leak. A reading takes it out in two ways, and counts the less. Attacks are compared
among records of a like prior, the guide's logits; but the guide knows only part of what features say to an attacker who
adds up over epochs. And what the real model tells of the rows that it learns from is taken off: as signals of d' =
sqrt(2) quantile(AUC) add up by squares, what is left is the root of the difference. A model that has learned its rows
by heart leaves nothing. A guarantee counts as refuted, by a fault in Silo or by modules that knew the labels
beforehand, when what is left is above the ledger's bound.

A verdict follows from true labels without noise. So it is for the member that has them alone: it is written down, and
the fit goes on to its end whatever was read. Whoever stops on it (`Leak.require`) tells that to those who notice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.errors import ParameterError, SiloError
from silo.leak.auc import auc
from silo.leak.meter import LIVE, Meter
from silo.leak.plot import page_of_fit
from silo.leak.reading import Reading
from silo.leak.unexplained import beyond
from silo.protocols.split.schedule import Places
from silo.protocols.split.wire import Rows
from silo.vertical.splitting.residuals import Floats, Labels

CONFIDENCE: Final = 0.999
"""Of all attacks at once; a sound guarantee is hardly ever accused in a fit."""


class LeakFound(SiloError):
    """What was returned tells labels better than the guarantee allows."""

    code = "SILO-231"

    def __init__(self, who: str, reading: Reading, bound: float) -> None:
        self.reading, self.bound = reading, bound
        super().__init__(
            f"{who}: after epoch {reading.epoch} the {reading.worst.name} attack tells labels from the returned "
            f"gradients with an AUC of at least {reading.low:.3f} beyond what features tell, and the noise allows "
            f"{bound:.3f}: the modules knew the labels, or Silo is at fault"
        )


@dataclass(slots=True, eq=False)
class Leak:
    """What was read after each epoch, and what was allowed by then: 1 where nothing is promised.

    `refuted` is the first reading that the guarantee does not bear.
    """

    who: str
    readings: list[Reading] = field(default_factory=list)
    bounds: list[float] = field(default_factory=list)
    refuted: LeakFound | None = None

    def require(self) -> None:
        """Raise `LeakFound` if a reading refuted the guarantee. Partners can notice who stops on that."""
        if self.refuted is not None:
            raise self.refuted

    def to_json(self) -> list[dict[str, Any]]:
        """One entry an epoch."""
        return [
            {**reading.to_json(), "bound": bound}
            for reading, bound in zip(self.readings, self.bounds, strict=True)
        ]

    def write_html(self, path: str | Path) -> None:
        """Draw the leak against epochs. Raises `ParameterError`."""
        if not self.readings:
            raise ParameterError("the leak meter has read nothing yet")
        try:
            Path(path).write_text(page_of_fit(self.who, self.readings, self.bounds), encoding="utf-8")
        except OSError as problem:
            raise ParameterError(f"{path} cannot be written: {problem.strerror}") from None


class LiveMeter:
    """Follows one fit; `bound` says what is allowed after so many epochs. With a `path` each reading is drawn there.

    `saw` and `end` raise nothing: an error would be an answer about labels.
    """

    def __init__(
        self,
        labels: Labels,
        classes: int,
        bound: Callable[[int], float],
        *,
        who: str,
        path: Path | None = None,
    ) -> None:
        self._kind = 1 if classes == 2 else int(np.bincount(labels).argmax())
        self._meter = Meter(labels == self._kind, most=LIVE, confidence=CONFIDENCE)
        self._labels = labels == self._kind
        self._prior, self._told = np.zeros(len(labels)), np.zeros(len(labels))
        self._bound, self._path = bound, path
        self.leak = Leak(who)

    def saw(self, places: Places, returned: Rows, logits: Rows, real: Rows | None) -> None:
        """Take in what is returned for rows, the logits that it was worked out from, and the real model's, if any."""
        with _silence():
            self._meter.saw(places, returned)
        with _silence():
            self._prior[places] = _log_odds(logits, self._kind)
            self._told[places] = np.nan
            if real is not None:
                self._told[places] = _log_odds(real, self._kind)

    def end(self, epoch: int) -> None:
        """Read, after epoch `epoch` (from 0)."""
        with _silence():
            self._read(epoch)

    def _read(self, epoch: int) -> None:
        reading, bound = self._meter.end_epoch(self._prior), self._bound(epoch + 1)
        fine = np.isfinite(self._told)
        if len(np.unique(self._labels[fine])) < len(np.unique(self._labels)):
            return
        known = auc(self._told[fine], self._labels[fine])
        attacks = tuple(beyond(one, known) for one in reading.attacks)
        reading = replace(reading, epoch=epoch + 1, attacks=attacks)
        self.leak.readings.append(reading)
        self.leak.bounds.append(bound)
        if self._path is not None:
            with _silence():
                self.leak.write_html(self._path)
        if reading.low > bound and self.leak.refuted is None:
            self.leak.refuted = LeakFound(self.leak.who, reading, bound)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What is needed to go on."""
        return self._meter.arrays()

    def load(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take `arrays` back. Raises `ParameterError`."""
        self._meter.load(arrays)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Nothing that is read raises: that would be an answer about labels."""
    with np.errstate(all="ignore"), contextlib.suppress(Exception):
        yield


def _log_odds(rows: Rows, kind: int) -> Floats:
    """(rows,) of one class against all others."""
    logits = rows.astype(np.float64)
    if logits.shape[1] == 1:
        return logits[:, 0]
    others = np.delete(logits, kind, axis=1)
    most = others.max(axis=1)
    return np.asarray(logits[:, kind] - most - np.log(np.exp(others - most[:, None]).sum(axis=1)))
