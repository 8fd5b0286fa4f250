"""`silo.vertical.SplitNetwork`: a neural network over columns of several members, any torch modules at each."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin

from silo.crypto.rng import SystemRng
from silo.errors import ParameterError, SiloError
from silo.extras import need
from silo.protocols.split.wire import Rows
from silo.vertical import share
from silo.vertical.meeting import order
from silo.vertical.splitting.parameters import SplitParameters

if TYPE_CHECKING:
    from silo.session import Session
    from silo.vertical.splitting.metering import Leak
    from silo.vertical.splitting.residuals import Floats

_ORDER_BYTES: Final = 32
_log = logging.getLogger("silo.vertical")


class SplitNetwork(ClassifierMixin, SplitParameters):  # type: ignore[misc]
    """A classifier cut in two or three, each piece with whom it belongs to; members move it together.

    Who passes y has `top`, and a `bottom` for its own columns if it likes: the top gets the own bottom's output and
    behind it the sum of the others' outputs. The others have a `bottom` each, all of one width. In the U-shape
    (`u_shaped=True`) the owner has bottom, top and y, and a compute partner, who calls `fit()`, has `middle` and says
    `cut`, the width of the bottom's output. A top gives one logit for two classes, or one for each. Modules begin as
    they are passed, and copies of them are trained: they must not come from the labels that are to be protected.

    `gradients` (`Noise` or `RandomizedLabels`) protects labels, `activations` (`Noise`) a member's columns; the charter
    says which must be. `gradients=Marvell(…)` and `decorrelation=Decorrelation(…)` promise nothing and count as no
    noise. Under protected labels the others learn from a linear guide, which
    is Adam's with `lr` in any case, and in ever smaller steps. `optimizer` makes an optimiser of parameters (Adam with
    `lr` otherwise). `wire` is float32, float16 or int8.
    With `finish` the top learns on by itself for so many epochs, from activations that are shown once more: that costs
    labels nothing. `checkpoint` names a folder from which a fit that was cut off goes on.

    Beside the fit, who has labels runs the leak meter (`meter`): `leak_` has a reading for each epoch, and `require` of
    it raises where the guarantee is refuted; a path instead of True draws it there after each epoch. Who has a bottom
    watches the gradients that come back (`watch`), and stops when they train it for something else (`Hijacked`);
    instead of True it may be the part of rows in the rarest class, as the members agreed.

    Without a session it is one network, top(middle(bottom(X))), on one table; nothing is protected, or finished.
    `order` are 32 bytes that the order of rows follows from: `order_` of a fit among members trains its twin.
    """

    kind = "split"

    def fit(self, X: Any = None, y: Any = None, *, ids: Any = None) -> SplitNetwork:
        """Train; y (rows,) are the labels, None at all members but one; X is None at who has no columns.

        Rows are the same and in the same order at all members, as `session.intersect` gives them. `ids`: the
        identifiers of the rows, compared as a digest, so that a member with another order is noticed.
        """
        need("split learning", "dp", "torch", "opacus")
        x = self._table(X, reset=True)
        labels = None if y is None else self._labels(y, x)
        if self.session is None:
            return self._alone(x, labels)
        if self.order is not None:
            raise ParameterError(
                "order is for a training without others: among members it follows from the session"
            )
        if x is None and labels is None and self.middle is None:
            raise ParameterError(
                f"{self._who}: pass X, y or both; only a compute partner (middle=…) has neither"
            )
        from silo.vertical.splitting import fitting
        from silo.vertical.splitting.finishing import finish

        rows = len(x) if x is not None else None if labels is None else len(labels)
        aligned = b"" if ids is None else order(ids, who=self._who, rows=rows)
        found = fitting.fit(self._setting(self.session, x, labels, aligned))
        self._remember(found.meeting)
        self.parts_, self.width_, self.back_ = dict(found.parts), found.width, found.back
        self.order_, self.logits_, self.charges_ = found.order, found.logits, found.charges
        self.leak_, lost = found.leak, found.lost
        if self.finish:
            came = self._gather(self.session, x)
            if came is not None and labels is not None:
                schedule = self._schedule(len(came))
                lost += finish(self.parts_["real"], x, labels, came, schedule, self.finish)
        found.kept.done()
        self.n_iter_ = self._terms().epochs
        self._tell(found.leak, lost)
        return self

    def _tell(self, leak: Leak | None, lost: int) -> None:
        """Say what went wrong to this member only: an error would end its script, which partners notice."""
        if lost:
            _log.warning(
                "%s: %d batches gave the real modules no numbers and were left out: take a smaller lr, and look at "
                "the scores before they are used",
                self._who,
                lost,
            )
        try:
            self._require_sound()
            if leak is not None:
                leak.require()
        except SiloError as problem:
            _log.warning("[%s] %s", problem.code, problem)

    def _gather(self, session: Session, x: Rows | None) -> Rows | None:
        from silo.vertical.splitting import scoring

        return scoring.gather(
            self._setting(session, x, None, b""),
            self.parts_,
            leads=self.member_ == self.label_party_,
            width=self.width_,
            back=self.back_,
            model=self.model_id_,
        )

    def _alone(self, x: Rows | None, labels: npt.NDArray[np.int64] | None) -> SplitNetwork:
        if x is None or labels is None:
            raise ParameterError(
                f"{self._who} has no labels: requires y to be passed, but the target y is None"
                if x is not None
                else f"{self._who}: pass X, a table of columns"
            )
        from silo.vertical.splitting import alone

        terms = self._terms()
        self.order_ = SystemRng().bytes(_ORDER_BYTES) if self.order is None else self.order
        if len(self.order_) != _ORDER_BYTES:
            raise ParameterError(f"order is {_ORDER_BYTES} bytes, such as order_ of another fit")
        schedule = self._schedule(len(x))
        named = {"bottom": self.bottom, "middle": self.middle, "top": self.top}
        part, self.logits_ = alone.train(
            named, self._maker(), x, labels, len(self.classes_), schedule, terms.epochs
        )
        self._remember(None)
        self.parts_, self.width_, self.back_, self.charges_ = {"network": part}, 0, 0, ()
        self.leak_ = None
        self.n_iter_ = terms.epochs
        self._require_sound()
        return self

    def decision_function(self, X: Any = None) -> Floats | None:
        """The logit of the second class, (rows,), or those of all; None at members without labels."""
        found = self._logits(X)
        return found[:, 0] if found is not None and found.shape[1] == 1 else found

    def predict_proba(self, X: Any = None) -> Floats | None:
        """(rows, classes) probabilities; None at members without labels."""
        from silo.vertical.splitting.residuals import probabilities

        found = self._logits(X)
        if found is None:
            return None
        bare = int((~np.isfinite(found).all(axis=1)).sum())
        if bare:
            _log.warning("%s: %d of %d rows have no score: the network diverged", self._who, bare, len(found))
        chances = probabilities(found)
        return np.hstack([1 - chances, chances]) if chances.shape[1] == 1 else chances

    def predict(self, X: Any = None) -> npt.NDArray[Any] | None:
        """The likeliest class of each row; None at members without labels."""
        chances = self.predict_proba(X)
        return None if chances is None else np.asarray(self.classes_[chances.argmax(axis=1)])

    def score(self, X: Any = None, y: Any = None, sample_weight: Any = None) -> float | None:
        """Accuracy; members without labels take part with y = None, and get None."""
        if y is None:
            self.predict(X)
            return None
        from sklearn.metrics import accuracy_score

        return float(accuracy_score(y, self.predict(X), sample_weight=sample_weight))

    def require_scoring(self) -> None:
        """The same; the charter must grant and the ledger afford that activations are shown once more.

        Raises `NotAllowed`, `NotCovered`, `PrivacyBudgetExceeded` too.
        """
        super().require_scoring()
        if self.session is not None:
            from silo.vertical.splitting import scoring

            scoring.require(self._setting(self.session, None, None, b""), self.parts_)

    def save(self, path: str | Path) -> None:
        """Write this member's part of the model to a file that `silo.vertical.load` reads, beside the modules."""
        from silo.vertical.splitting import saved

        self._require_fitted()
        share.write(path, {"kind": self.kind, **self._identity(), **saved.told(self)})

    def _restore(self, found: share.Share) -> None:
        """Take what `save` wrote, into copies of the modules that were passed. Raises `ParameterError`."""
        need("split learning", "dp", "torch", "opacus")
        from silo.vertical.splitting import saved

        self._identify(found)
        saved.take(self, found)

    def _logits(self, X: Any) -> Floats | None:
        self._require_part()
        x = self._table(X, reset=False)
        from silo.vertical.splitting import scoring

        terms = self._terms()
        if self.session is None:
            if x is None:
                raise ParameterError(f"{self._who}: pass X, a table of columns")
            return scoring.alone(self.parts_["network"], x, terms.batch)
        came = self._gather(self.session, x)
        return None if came is None else scoring.logits(self.parts_["real"], x, came, terms.batch)

    def _require_sound(self) -> None:
        """Refuse a network that diverged. Raises `ParameterError`."""
        for part in self.parts_.values():
            for name, array in part.arrays().items():
                if (
                    not name.startswith("optimizer|")
                    and array.dtype.kind == "f"
                    and not np.isfinite(array).all()
                ):
                    raise ParameterError(
                        f"{self._who}: the network diverged, {name} is not finite: take a smaller lr"
                    )
