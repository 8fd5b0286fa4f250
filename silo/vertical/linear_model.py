"""What linear models over columns of several members have in common: a fit alone or among members, scores, parts."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning

from silo.errors import NotAllowed, ParameterError
from silo.protocols.vertical.context import LINEAR, Context
from silo.protocols.vertical.linear import hidden, host, label, scoring
from silo.protocols.vertical.linear.families import Floats
from silo.protocols.vertical.linear.search import LabelModel, LabelState, Search
from silo.protocols.vertical.linear.terms import Terms, cap
from silo.vertical import classes, foreseen, frames, share, workers
from silo.vertical.base import VerticalEstimator, column
from silo.vertical.checkpoints import fingerprint
from silo.vertical.meeting import meet, nothing_to_settle, order, require
from silo.vertical.passes import Kept

if TYPE_CHECKING:
    from silo.session import Session


class LinearModel(VerticalEstimator):
    """A linear predictor of all columns. `kind` is the family of `silo.protocols.vertical.linear.families`."""

    kind = ""
    fit_intercept: bool
    tol: float
    max_iter: int | None
    scheme: str
    checkpoint: str | Path | None
    coef_: Any
    intercept_: Any
    classes_: Any

    def _penalties(self, rows: int) -> tuple[float, float]:
        """(l1, l2) beside the sum of the losses."""
        raise NotImplementedError  # pragma: no cover

    def _target(self, y: npt.NDArray[Any]) -> Floats:
        """Labels as numbers. Raises `ParameterError`."""
        raise NotImplementedError  # pragma: no cover

    def fit(self, X: Any, y: Any = None, *, ids: Any = None) -> LinearModel:
        """Fit the own coefficients (columns,); y (rows,) are the labels, None at all members but one.

        Rows are the same and in the same order at all members, as `session.intersect` gives them. `ids`: the
        identifiers of the rows, compared as a digest, so that a member with another order is noticed.
        """
        frame = self._frame(X, reset=True)
        x = frames.numeric(frame, who=self._who)
        if self.session is None and y is None:
            raise ParameterError(
                f"{self._who} has no labels: requires y to be passed, but the target y is None"
            )
        target = None if y is None else self._target(column(y, rows=frame.rows, who=self._who))
        l1, l2 = self._penalties(frame.rows)
        if self.session is None:
            self._alone(x, target, l1, l2)
        else:
            aligned = b"" if ids is None else order(ids, who=self._who, rows=len(x))
            if target is None:
                hidden.require_spread(x, frame.names, self._who)
            self._together(self.session, x, target, l1, l2, aligned)
        return self

    def _alone(self, x: Floats, y: Floats | None, l1: float, l2: float) -> None:
        terms = Terms(self.kind, l2, l1, self.scheme, 1 if self.max_iter is None else self.max_iter, self.tol)
        search = Search(terms, x, np.zeros(0) if y is None else y, self.fit_intercept)
        search.over(LabelState(b""))
        self._remember(None)
        self._take(search.model(1, True))

    def _together(
        self, session: Session, x: Floats, y: Floats | None, l1: float, l2: float, aligned: bytes
    ) -> None:
        allowed = require(session, LINEAR, rows=len(x), labelled=y is not None)
        most = allowed.passes if self.max_iter is None else self.max_iter
        if most > allowed.passes:
            raise NotAllowed("the passes of a linear model", allowed.passes, most)
        terms = Terms(self.kind, l2, l1, self.scheme, most, self.tol)
        said = (*terms.said(), ("intercept", str(bool(self.fit_intercept))))
        tables = (x,) if y is None else (x, y)
        kept = Kept(self.checkpoint, session.me, fingerprint(repr((said, session.members)), *tables))
        state: Any = kept.host() if y is None else kept.label()
        before = 0 if state is None else len(state.directions if y is None else state.scores)

        def settle(agreed: Mapping[str, str], context: Context) -> None:
            cap(context, terms.passes)
            if y is not None:
                asked = foreseen.requests(terms, context)
                session.check_leaving(foreseen.fit(terms, len(x), x.shape[1], asked))

        meeting = meet(
            session,
            LINEAR,
            labelled=y is not None,
            rows=len(x),
            columns=x.shape[1],
            independent=hidden.independent(x, centred=self.fit_intercept),
            terms=said,
            aligned=aligned,
            coming=foreseen.fit(terms, len(x), x.shape[1], len(session.members) - 1),
            reached=before,
            settle=settle,
        )
        if state is not None:
            state.cut(min(meeting.reached.values()))
        self._remember(meeting)
        context, me, own, rng = meeting.context, session.me, session.channel_key, session.rng
        how: dict[str, Any] = {"rng": rng, "state": state, "work": workers.work(session.threads, len(x))}
        if y is None:
            how |= {"centred": self.fit_intercept, "keep": kept.keep_host}
            self.coef_ = meeting.drive(host.fit(context, me, own, terms, x, **how))
            self.intercept_, self.n_iter_ = 0.0, 0
        else:
            how |= {"intercept": self.fit_intercept, "keep": kept.keep_label}
            model = meeting.drive(label.fit(context, me, own, terms, x, y, **how))
            self._take(model)
            if not model.converged:
                warnings.warn(
                    f"after {model.passes} passes the objective still fell by more than tol; "
                    "more passes would show more of the others' columns than was agreed",
                    ConvergenceWarning,
                    stacklevel=4,
                )
        kept.done()

    def _take(self, model: LabelModel) -> None:
        self.coef_, self.intercept_, self.n_iter_ = model.coefficients, model.intercept, model.passes

    def _scores(self, X: Any) -> Floats | None:
        """The linear predictor of all columns, (rows,); None at members without labels."""
        self._require_part()
        frame = self._frame(X, reset=False)
        mine = frames.numeric(frame, who=self._who) @ np.ravel(self.coef_) + float(
            np.ravel(self.intercept_)[0]
        )
        if self.session is None:
            return np.asarray(mine)
        session = self.session
        leads = session.me == self.label_party_
        meeting = meet(
            session,
            LINEAR,
            labelled=leads,
            rows=frame.rows,
            columns=len(frame.names),
            terms=(("scored by", self.model_id_),),
            coming=foreseen.scoring(frame.rows),
            scoring=True,
            settle=nothing_to_settle,
        )
        role: Any = (scoring.label if leads else scoring.host)(
            meeting.context, session.me, session.channel_key, mine, rng=session.rng
        )
        found: Floats | None = meeting.drive(role)
        return found

    def save(self, path: str | Path) -> None:
        """Write this member's part of the model to a file that `silo.vertical.load` reads."""
        self._require_fitted()
        share.write(
            path,
            {
                "kind": self.kind,
                **self._identity(),
                "coefficients": [float(one) for one in np.ravel(self.coef_)],
                "intercept": float(np.ravel(self.intercept_)[0]),
                "classes": [str(one) for one in getattr(self, "classes_", ())],
                "class_type": classes.kind_of(getattr(self, "classes_", np.zeros(0))),
            },
        )

    def _restore(self, found: share.Share) -> None:
        """Take what `save` wrote. Raises `ParameterError`."""
        self._identify(found)
        coefficients = np.array(share.numbers(found, "coefficients"))
        if len(coefficients) != self.n_features_in_:
            raise ParameterError(
                f"the part of a model has {len(coefficients)} coefficients of {self.n_features_in_} columns"
            )
        (intercept,) = share.numbers({"intercept": [found.get("intercept")]}, "intercept")
        self.coef_, self.intercept_, self.n_iter_ = coefficients, intercept, 0
        said = share.words(found, "classes")
        if said:
            self.classes_ = classes.read(said, str(found.get("class_type")))
            self.coef_, self.intercept_ = self.coef_.reshape(1, -1), np.array([intercept])
