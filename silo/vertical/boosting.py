"""Gradient boosting over columns of several members (SecureBoost), as in scikit-learn.

Splits stay with whoever has the column, leaves with whoever has the labels. Text columns are categories; missing values
(NaN, None) are learned from. Without a session all columns are here, and nothing is encrypted: the trees are the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin, RegressorMixin

from silo.errors import ParameterError
from silo.protocols.vertical.boosting.gradients import Logistic, Objective, Softmax, SquaredError
from silo.protocols.vertical.boosting.parameters import MOST_CLASSES
from silo.vertical import classes
from silo.vertical.boosted import BoostedTrees, Floats


class GradientBoosting(ClassifierMixin, BoostedTrees):  # type: ignore[misc]
    """Classes by boosted trees, two or more; the loss is that of the log odds.

    `n_estimators` trees for each class (one for two classes) of at most `max_depth` levels over `max_bins` bins of each
    column; `l2`, `gamma` and `min_child_weight` as in XGBoost. A category of fewer than `min_category_rows` rows (or
    `min_samples_leaf`) shares a bin with other rare ones, and no split says where so few rows of a category go: with
    fewer, its owner could read labels off the splits. A tree sees a fraction `subsample` of rows, or by
    `goss=(top, rest)` those with the largest gradients and some others. With `n_iter_no_change` training ends when the
    loss of a `validation_fraction` of rows has not fallen for so long. With `first_tree_alone` the first trees see the
    label party's columns only. `scheme` is "okamoto-uchiyama" or "paillier", with `key_bits` 2048 or 3072. `checkpoint`
    names a folder from which a fit that was cut off goes on; `random_state` is for a fit without a session.
    """

    kind = "boosting"

    def _target(self, y: npt.NDArray[Any]) -> tuple[Floats, Objective]:
        classes.require(y, self._who)
        self.classes_, found = np.unique(y, return_inverse=True)
        many = len(self.classes_)
        if not 2 <= many <= MOST_CLASSES:
            said = "1 class" if many < 2 else f"{many} classes"
            raise ParameterError(
                f"{self._who}: a classifier needs 2 to {MOST_CLASSES} classes, and y has {said}"
            )
        objective: Objective = Logistic() if many == 2 else Softmax(many)
        return found.astype(np.float64), objective

    def decision_function(self, X: Any) -> Floats | None:
        """Log odds, (rows,) of the second of two classes or (rows, classes); None at members without labels."""
        margins = self._margins(X)
        if margins is None:
            return None
        return margins[:, 0] if margins.shape[1] == 1 else margins

    def predict_proba(self, X: Any) -> Floats | None:
        """(rows, classes) probabilities; None at members without labels."""
        margins = self._margins(X)
        if margins is None:
            return None
        if margins.shape[1] > 1:
            return Softmax.probabilities(margins)
        second = Logistic.probabilities(margins)
        return np.hstack([1 - second, second])

    def predict(self, X: Any) -> npt.NDArray[Any] | None:
        """The likeliest class of each row; None at members without labels."""
        margins = self._margins(X)
        if margins is None:
            return None
        best = margins.argmax(axis=1) if margins.shape[1] > 1 else (margins[:, 0] > 0).astype(np.int64)
        return np.asarray(self.classes_[best])

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float | None:
        """Accuracy; members without labels take part with y = None, and get None."""
        if y is None:
            self.predict(X)
            return None
        return float(super().score(X, y, sample_weight))


class GradientBoostingRegressor(RegressorMixin, BoostedTrees):  # type: ignore[misc]
    """Numbers by boosted trees, with the squared error; the parameters are those of `GradientBoosting`."""

    kind = "boosting regressor"

    def _target(self, y: npt.NDArray[Any]) -> tuple[Floats, Objective]:
        if y.dtype.kind not in "biuf":
            try:
                y = y.astype(np.float64)
            except (TypeError, ValueError):
                raise ParameterError(f"{self._who}: y holds text, and a regression takes numbers") from None
        return y.astype(np.float64), SquaredError()

    def predict(self, X: Any) -> Floats | None:
        """The expected value of each row; None at members without labels."""
        margins = self._margins(X)
        return None if margins is None else margins[:, 0]

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float | None:
        """R^2; members without labels take part with y = None, and get None."""
        if y is None:
            self.predict(X)
            return None
        return float(super().score(X, y, sample_weight))
