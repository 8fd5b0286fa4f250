"""The models of the vertical demos, and what they are compared with: public constants, the same at all members."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError

if TYPE_CHECKING:
    from silo.session import Session

LINEAR: Final = "linear"
BOOSTING: Final = "boosting"
MODELS: Final = (LINEAR, BOOSTING)
STEP: Final = {LINEAR: "pass", BOOSTING: "tree"}
PASSES: Final = 20


@dataclass(frozen=True, slots=True)
class Trees:
    """How boosting grows them; the names are those of `silo.vertical.GradientBoosting`."""

    n_estimators: int
    max_depth: int
    max_bins: int
    key_bits: int
    learning_rate: float = 0.3


SETTINGS: Final[Mapping[str, Trees]] = {"full": Trees(20, 4, 32, 3072), "default": Trees(6, 3, 16, 2048)}
"""Few trees, so that a demo does not take long. On the small set the key is what takes longest: it is a shorter one."""


def estimator(kind: str, session: Session, setting: str) -> Any:
    """A fresh model, the same at all members. Raises `ParameterError`."""
    from silo import vertical

    if kind == LINEAR:
        return vertical.LogisticRegression(session)
    if kind == BOOSTING:
        return vertical.GradientBoosting(session, **asdict(SETTINGS[setting]))
    raise ParameterError(f"there is no vertical model {kind[:40]!r}: choose {' or '.join(MODELS)}")


def working(setting: str) -> AbstractContextManager[Any]:
    """Where boosting encrypts: in processes, or for the small set in threads, as no process starts so soon."""
    from joblib import parallel_config  # type: ignore[import-untyped]

    return parallel_config(backend="threading") if setting == "default" else nullcontext()


def plain(
    kind: str, x: npt.NDArray[Any], y: npt.NDArray[Any], *, categorical: list[int], setting: str
) -> Any:
    """scikit-learn's model of the same kind, fitted in the clear."""
    if kind == LINEAR:
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(max_iter=5000).fit(x, y)
    from sklearn.ensemble import HistGradientBoostingClassifier

    trees = SETTINGS[setting]
    return HistGradientBoostingClassifier(
        max_iter=trees.n_estimators,
        max_depth=trees.max_depth,
        learning_rate=trees.learning_rate,
        max_bins=trees.max_bins,
        l2_regularization=1.0,
        min_samples_leaf=1,
        max_leaf_nodes=None,
        categorical_features=categorical or None,
        early_stopping=False,
    ).fit(x, y)


def auc(labels: npt.NDArray[Any], scores: npt.NDArray[np.float64]) -> float:
    """Area under the ROC curve."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels, scores))


def roc(
    labels: npt.NDArray[Any], scores: npt.NDArray[np.float64], points: int = 100
) -> dict[str, list[float]]:
    """The ROC curve at evenly spaced shares of false alarms: `false` and `true`, from 0 to 1."""
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(labels, scores)
    at = np.linspace(0.0, 1.0, points)
    return {"false": at.tolist(), "true": np.interp(at, false, true).tolist()}
