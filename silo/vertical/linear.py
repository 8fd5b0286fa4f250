"""Linear models over columns of several members: logistic, linear and Poisson regression, as in scikit-learn.

Coefficients stay with whoever has the columns. The objective is scikit-learn's of the same name on the joined table.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin, RegressorMixin

from silo.errors import ParameterError
from silo.protocols.vertical.linear import families
from silo.protocols.vertical.linear.families import Floats
from silo.protocols.vertical.linear.search import LabelModel
from silo.vertical import classes
from silo.vertical.linear_model import LinearModel

if TYPE_CHECKING:
    from silo.session import Session


class LogisticRegression(ClassifierMixin, LinearModel):  # type: ignore[misc]
    """Two classes by their exact log odds: minimises C sum(loss) + (1 - l1_ratio) |w|^2 / 2 + l1_ratio |w|_1.

    `max_iter` is the most passes (the charter's by default): each shows the label party one number a row. `scheme` is
    "lattice" or "paillier". `checkpoint` names a folder from which a fit that was cut off goes on.
    """

    kind = "logistic"

    def __init__(
        self,
        session: Session | None = None,
        *,
        C: float = 1.0,
        l1_ratio: float = 0.0,
        fit_intercept: bool = True,
        tol: float = 1e-9,
        max_iter: int | None = None,
        scheme: str = "lattice",
        checkpoint: str | Path | None = None,
    ) -> None:
        self.session = session
        self.C = C
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.scheme = scheme
        self.checkpoint = checkpoint

    def _penalties(self, rows: int) -> tuple[float, float]:
        if not (self.C > 0 and 0 <= self.l1_ratio <= 1):
            raise ParameterError(
                f"C = {self.C} and l1_ratio = {self.l1_ratio}: C > 0, and the ratio is from 0 to 1"
            )
        return self.l1_ratio / self.C, (1 - self.l1_ratio) / self.C

    def _target(self, y: npt.NDArray[Any]) -> Floats:
        classes.require(y, self._who)
        self.classes_ = np.unique(y)
        if len(self.classes_) != 2:
            many = len(self.classes_)
            said = "1 class" if many < 2 else f"{many}. Only binary classification is supported."
            raise ParameterError(f"{self._who}: a logistic regression needs two classes, and y has {said}")
        return np.asarray(y == self.classes_[1], np.float64)

    def _take(self, model: LabelModel) -> None:
        self.coef_ = model.coefficients.reshape(1, -1)
        self.intercept_, self.n_iter_ = np.array([model.intercept]), model.passes

    def decision_function(self, X: Any) -> Floats | None:
        """Log odds of the second class, (rows,); None at members without labels."""
        return self._scores(X)

    def predict_proba(self, X: Any) -> Floats | None:
        """(rows, 2) probabilities; None at members without labels."""
        scores = self._scores(X)
        if scores is None:
            return None
        second = families.of(self.kind).mean(scores)
        return np.stack([1 - second, second], axis=1)

    def predict(self, X: Any) -> npt.NDArray[Any] | None:
        """The likelier class of each row; None at members without labels."""
        scores = self._scores(X)
        return None if scores is None else np.asarray(self.classes_[(scores > 0).astype(int)])

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float | None:
        """Accuracy; members without labels take part with y = None, and get None."""
        if y is None:
            self.predict(X)
            return None
        return float(super().score(X, y, sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


class _Regression(RegressorMixin, LinearModel):  # type: ignore[misc]
    def _target(self, y: npt.NDArray[Any]) -> Floats:
        if y.dtype.kind not in "biuf":
            try:
                y = y.astype(np.float64)
            except (TypeError, ValueError):
                raise ParameterError(f"{self._who}: y holds text, and a regression takes numbers") from None
        return y.astype(np.float64)

    def predict(self, X: Any) -> Floats | None:
        """The expected value of each row; None at members without labels."""
        scores = self._scores(X)
        return None if scores is None else families.of(self.kind).mean(scores)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float | None:
        """R^2; members without labels take part with y = None, and get None."""
        if y is None:
            self.predict(X)
            return None
        return float(super().score(X, y, sample_weight))


class LinearRegression(_Regression):
    """Least squares: minimises |y - Xw|^2 + alpha |w|^2, with l1_ratio the share of |w|_1 in place of |w|^2 / 2.

    The other parameters are those of `LogisticRegression`.
    """

    kind = "linear"

    def __init__(
        self,
        session: Session | None = None,
        *,
        alpha: float = 0.0,
        l1_ratio: float = 0.0,
        fit_intercept: bool = True,
        tol: float = 1e-9,
        max_iter: int | None = None,
        scheme: str = "lattice",
        checkpoint: str | Path | None = None,
    ) -> None:
        self.session = session
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.scheme = scheme
        self.checkpoint = checkpoint

    def _penalties(self, rows: int) -> tuple[float, float]:
        _require_penalty(self.alpha, self.l1_ratio)
        return self.l1_ratio * self.alpha, (1 - self.l1_ratio) * self.alpha


class PoissonRegression(_Regression):
    """Counts by a log link: minimises mean(half deviance) + alpha |w|^2 / 2, as scikit-learn's PoissonRegressor.

    The other parameters are those of `LogisticRegression`.
    """

    kind = "poisson"

    def __init__(
        self,
        session: Session | None = None,
        *,
        alpha: float = 1.0,
        l1_ratio: float = 0.0,
        fit_intercept: bool = True,
        tol: float = 1e-9,
        max_iter: int | None = None,
        scheme: str = "lattice",
        checkpoint: str | Path | None = None,
    ) -> None:
        self.session = session
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.scheme = scheme
        self.checkpoint = checkpoint

    def _penalties(self, rows: int) -> tuple[float, float]:
        _require_penalty(self.alpha, self.l1_ratio)
        return rows * self.l1_ratio * self.alpha, rows * (1 - self.l1_ratio) * self.alpha

    def _target(self, y: npt.NDArray[Any]) -> Floats:
        found = super()._target(y)
        if (found < 0).any() or not (found > 0).any():
            raise ParameterError(
                f"{self._who}: y holds counts for a Poisson regression: none below 0, and one above at least. "
                "Some value(s) of y are out of the valid range"
            )
        return found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        return tags


def _require_penalty(alpha: float, ratio: float) -> None:
    if not (alpha >= 0 and 0 <= ratio <= 1):
        raise ParameterError(
            f"alpha = {alpha} and l1_ratio = {ratio}: alpha >= 0, and the ratio is from 0 to 1"
        )
