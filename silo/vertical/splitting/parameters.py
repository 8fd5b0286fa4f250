"""What is said of a split network when it is made, and its tables and labels as the roles take them."""

from __future__ import annotations

import operator
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from silo.errors import ParameterError
from silo.protocols.split.schedule import Schedule
from silo.protocols.split.terms import Terms
from silo.protocols.split.wire import Rows
from silo.vertical import classes, frames
from silo.vertical.base import VerticalEstimator, column
from silo.vertical.splitting.decorrelation import Decorrelation
from silo.vertical.splitting.marvell import Marvell
from silo.vertical.splitting.noise import Noise
from silo.vertical.splitting.randomized import RandomizedLabels

if TYPE_CHECKING:
    from silo.session import Session
    from silo.vertical.splitting.setting import Setting


_MOST_RATE: Final = 1000.0


class SplitParameters(VerticalEstimator):
    """The parameters are those of `silo.vertical.SplitNetwork`, which says what each means."""

    order_: bytes
    classes_: Any

    def __init__(
        self,
        session: Session | None = None,
        *,
        bottom: Any = None,
        top: Any = None,
        middle: Any = None,
        epochs: int = 20,
        batch: int = 512,
        micro_batches: int = 1,
        optimizer: Callable[[Any], Any] | None = None,
        lr: float = 0.003,
        wire: str = "float32",
        gradients: Noise | RandomizedLabels | Marvell | None = None,
        activations: Noise | None = None,
        decorrelation: Decorrelation | None = None,
        u_shaped: bool = False,
        cut: int | None = None,
        finish: int = 0,
        watch: bool | float = True,
        meter: bool | str | Path = True,
        order: bytes | None = None,
        checkpoint: str | Path | None = None,
    ) -> None:
        self.session = session
        self.bottom = bottom
        self.top = top
        self.middle = middle
        self.epochs = epochs
        self.batch = batch
        self.micro_batches = micro_batches
        self.optimizer = optimizer
        self.lr = lr
        self.wire = wire
        self.gradients = gradients
        self.activations = activations
        self.decorrelation = decorrelation
        self.u_shaped = u_shaped
        self.cut = cut
        self.finish = finish
        self.watch = watch
        self.meter = meter
        self.order = order
        self.checkpoint = checkpoint

    def _setting(
        self, session: Session, x: Rows | None, labels: npt.NDArray[np.int64] | None, aligned: bytes
    ) -> Setting:
        from silo.vertical.splitting.setting import Setting

        if not (self.gradients is None or isinstance(self.gradients, Noise | RandomizedLabels | Marvell)):
            raise ParameterError(
                f"{self._who}: gradients is a silo.vertical.Noise, RandomizedLabels, Marvell, or None, "
                f"not a {type(self.gradients).__name__}"
            )
        if isinstance(self.gradients, Marvell) and labels is not None and len(self.classes_) != 2:
            raise ParameterError(f"{self._who}: Marvell is for two classes, and y has {len(self.classes_)}")
        if not (self.decorrelation is None or isinstance(self.decorrelation, Decorrelation)):
            raise ParameterError(
                f"{self._who}: decorrelation is a silo.vertical.Decorrelation, or None, "
                f"not a {type(self.decorrelation).__name__}"
            )
        if self.decorrelation is not None and self.activations is not None:
            raise ParameterError(
                "decorrelation couples the rows of a batch, which noise on activations forbids: pass one of them"
            )
        if not (self.activations is None or isinstance(self.activations, Noise)):
            raise ParameterError(
                f"{self._who}: activations is a silo.vertical.Noise, or None, not a {type(self.activations).__name__}"
            )
        watch, meter = self.watch, self.meter
        if not isinstance(watch, bool) and not (isinstance(watch, float) and 0 < watch <= 0.5):
            raise ParameterError(
                f"watch is True, False, or the part of rows in the rarest class, at most .5, not {watch!r}"
            )
        if self.finish < 0:
            raise ParameterError(f"finish is 0 epochs or more, not {self.finish}")
        if self.optimizer is not None and not callable(self.optimizer):
            raise ParameterError(
                f"optimizer is a function of parameters, as torch.optim.Adam, not {self.optimizer!r}"
            )
        if not isinstance(meter, bool | str | Path) or (
            not isinstance(meter, bool)
            and (not Path(meter).absolute().parent.is_dir() or Path(meter).is_dir())
        ):
            raise ParameterError(f"meter is True, False, or a file in a folder that is there, not {meter!r}")
        return Setting(
            session,
            self._terms(),
            self._maker(),
            guide_rate=self._rate(),
            u_shaped=bool(self.u_shaped) or self.middle is not None,
            bottom=self.bottom,
            top=self.top,
            middle=self.middle,
            x=x,
            labels=labels,
            classes=0 if labels is None else len(self.classes_),
            cut=None if self.cut is None else self._whole("cut"),
            gradients=self.gradients,
            activations=self.activations,
            decorrelation=self.decorrelation,
            finish=self._whole("finish"),
            watch=self.watch,
            meter=self.meter,
            checkpoint=self.checkpoint,
            aligned=aligned,
            plan_id=session.rng.bytes(8).hex(),
        )

    def _table(self, X: Any, *, reset: bool) -> Rows | None:
        """The own columns as float32, or None. Raises `ParameterError`."""
        if X is None:
            if reset:
                self.n_features_in_ = 0
            elif self.n_features_in_:
                raise ParameterError(f"{self._who}: pass X, the columns that the model was fitted on")
            return None
        if not reset and not self.n_features_in_:
            shape = frames.one_array(X, who=self._who, what="the table").shape
            if shape[1:] == (0,):
                return np.zeros(shape, np.float32)  # no column here, and so many rows
        frame = self._frame(X, reset=reset)
        found = frames.numeric(frame, who=self._who)
        with np.errstate(over="ignore"):
            rows = found.astype(np.float32)
        if not np.isfinite(rows).all():
            row, place = np.argwhere(~np.isfinite(rows))[0]
            raise ParameterError(
                f"{self._who}: column {frame.names[place]}, row {row}, is beyond what float32 holds: scale it"
            )
        return rows

    def _labels(self, y: Any, x: Rows | None) -> npt.NDArray[np.int64]:
        rows = len(x) if x is not None else len(y)
        found = column(y, rows=rows, who=self._who)
        classes.require(found, self._who)
        self.classes_, places = np.unique(found, return_inverse=True)
        if len(self.classes_) < 2:
            raise ParameterError(f"{self._who}: a classifier needs two classes or more, and y has 1 class")
        return np.asarray(places, np.int64)

    def _schedule(self, rows: int) -> Schedule:
        terms = self._terms()
        return Schedule(self.order_, rows, terms.batch, terms.micro_batches)

    def _terms(self) -> Terms:
        return Terms(
            self._whole("epochs"), self._whole("batch"), self._whole("micro_batches"), str(self.wire)
        )

    def _maker(self) -> Callable[[Any], Any]:
        if self.optimizer is not None:
            return self.optimizer
        from torch.optim import Adam

        rate = self._rate()
        return lambda parameters: Adam(parameters, lr=rate)

    def _rate(self) -> float:
        rate: Any = self.lr
        if not isinstance(rate, int | float | np.integer | np.floating) or not 0 < rate < _MOST_RATE:
            raise ParameterError(f"lr is a number above 0 and below {_MOST_RATE:g}, not {rate!r}")
        return float(rate)

    def _whole(self, name: str) -> int:
        value = getattr(self, name)
        try:
            return operator.index(value)
        except TypeError:
            raise ParameterError(f"{name} is a whole number, not {value!r}") from None
