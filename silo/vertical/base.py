"""What all vertical models share: who takes part, what a table must be, and scikit-learn's conventions."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from silo.crypto import labels
from silo.errors import ParameterError
from silo.vertical import frames
from silo.vertical.frames import Frame
from silo.vertical.meeting import Meeting

if TYPE_CHECKING:
    from silo.session import Session


class VerticalEstimator(BaseEstimator):  # type: ignore[misc]
    """A model over columns that several members hold of the same rows; without a session all are here.

    Every member runs the same lines. Who has no labels passes none, and gets None where others get predictions.
    """

    session: Session | None

    @property
    def _who(self) -> str:
        return self.session.me if self.session is not None else "the table"

    def _frame(self, table: Any, *, reset: bool) -> Frame:
        """Read a table; in a fit remember its columns, later compare. Raises `ParameterError`."""
        frame = frames.read(table, who=self._who)
        if reset:
            self.n_features_in_ = len(frame.names)
            if frame.named:
                self.feature_names_in_ = np.array(frame.names, dtype=object)
            elif hasattr(self, "feature_names_in_"):
                del self.feature_names_in_
            return frame
        known = getattr(self, "feature_names_in_", None)
        if frame.named and known is not None and list(known) != list(frame.names):
            missing = [name for name in known if name not in frame.names]
            told = f"column {missing[0]} is missing" if missing else "they stand in another order"
            raise ParameterError(f"{self._who}: the columns are not those of the fit: {told}")
        if len(frame.names) != self.n_features_in_:
            raise ParameterError(
                f"{self._who}: X has {len(frame.names)} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input"
            )
        return frame

    def _require_fitted(self) -> None:
        check_is_fitted(self, "n_features_in_")

    def _require_part(self) -> None:
        """Refuse to score with a part that was fitted among others, and no session. Raises `ParameterError`."""
        self._require_fitted()
        others = [name for name in self.members_ if name != self.member_]
        if self.session is None and others:
            raise ParameterError(
                f"this is one part of a joint model of {', '.join(self.members_)}: "
                "score in a session with them, model.set_params(session=session)"
            )
        if self.session is not None and others and self.member_ != self.session.me:
            raise ParameterError(
                f"this is the part of {self.member_}, and {self.session.me} takes part: load the own part"
            )
        if self.session is not None and tuple(self.members_) != tuple(self.session.members):
            raise ParameterError(
                f"this model is of {', '.join(self.members_) or 'one table'}, and the session is among "
                f"{', '.join(self.session.members)}: fit it there first"
            )

    def require_scoring(self) -> None:
        """Refuse what cannot score here, before anybody is asked for anything. Raises `ParameterError`."""
        self._require_part()

    def _remember(self, meeting: Meeting[Any] | None) -> None:
        """Whose model this is; all members give it the same id."""
        if meeting is None:
            self.members_: tuple[str, ...] = ()
            self.member_ = self.label_party_ = self.model_id_ = ""
            return
        context = meeting.context
        bound = labels.bind(labels.MODEL, context.session, context.round, context.parameters.digest())
        self.members_, self.member_ = tuple(context.roster), meeting.session.me
        self.label_party_ = context.label
        self.model_id_ = hashlib.sha256(bound).hexdigest()[:32]

    def _identity(self) -> dict[str, Any]:
        """What every saved part begins with."""
        names = getattr(self, "feature_names_in_", None)
        return {
            "model": self.model_id_,
            "members": list(self.members_),
            "member": self.member_,
            "label_party": self.label_party_,
            "columns": int(self.n_features_in_),
            "names": None if names is None else [str(name) for name in names],
        }

    def _identify(self, share: dict[str, Any]) -> None:
        """Take back what `_identity` gave. Raises `ParameterError`."""
        texts = [share.get(key) for key in ("model", "member", "label_party")]
        members, names, columns = share.get("members"), share.get("names"), share.get("columns")
        if not (
            all(isinstance(text, str) for text in texts)
            and isinstance(members, list)
            and all(isinstance(name, str) for name in members)
            and type(columns) is int
            and (names is None or (isinstance(names, list) and len(names) == columns))
        ):
            raise ParameterError(
                "the part of a model does not say whose it is: it was changed after it was saved"
            )
        self.model_id_, self.member_, self.label_party_ = (str(text) for text in texts)
        self.members_, self.n_features_in_ = tuple(members), columns
        if names is not None:
            self.feature_names_in_ = np.array([str(name) for name in names], dtype=object)


def column(values: Any, *, rows: int, who: str, what: str = "y") -> npt.NDArray[Any]:
    """One value a row, without gaps. Raises `ParameterError`."""
    if hasattr(values, "to_numpy"):
        try:
            values = values.to_numpy()
        except ValueError:  # an Arrow array copies only when it is told to
            values = values.to_numpy(zero_copy_only=False)
    array = frames.one_array(values, who=who, what=what)
    if array.ndim == 2 and array.shape[1] == 1:
        import warnings

        from sklearn.exceptions import DataConversionWarning

        warnings.warn(
            "A column-vector y was passed when a 1d array was expected", DataConversionWarning, stacklevel=3
        )
        array = array.reshape(-1)
    if array.ndim != 1:
        raise ParameterError(f"{who}: {what} is one column, and this one has the shape {array.shape}")
    if len(array) != rows:
        raise ParameterError(
            f"{who}: {what} has {len(array)} rows and the table has {rows}: inconsistent numbers of samples"
        )
    if array.dtype.kind == "c":
        raise ParameterError(f"{who}: Complex data not supported: {what} holds complex numbers")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array))[0])
        raise ParameterError(
            f"{who}: {what}, row {row}, is NaN or infinity (inf): fill it or drop the row at all members"
        )
    if array.dtype.kind == "O" and any(map(frames.missing, array.tolist())):
        raise ParameterError(f"{who}: {what} has missing values: drop these rows at all members")
    return array


__all__ = ["NotFittedError", "VerticalEstimator", "column"]
