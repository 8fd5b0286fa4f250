"""The classes of a classifier: what labels may be, and classes as text and back as they were."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.errors import ParameterError

_TYPES: Final = {"i": np.int64, "u": np.uint64, "f": np.float64, "b": np.bool_, "U": np.str_}
_BOOLS: Final = ("False", "True")


def kind_of(classes: npt.NDArray[Any]) -> str:
    """One letter that says of what type they are."""
    return classes.dtype.kind if classes.dtype.kind in _TYPES else "U"


def require(y: npt.NDArray[Any], who: str) -> None:
    """Refuse labels that are no classes, such as measured numbers. Raises `ParameterError`."""
    from sklearn.utils.multiclass import check_classification_targets

    try:
        check_classification_targets(y)
    except ValueError as problem:
        raise ParameterError(f"{who}: y holds no classes: {str(problem).partition('.')[0]}") from None


def told(classes: npt.NDArray[Any]) -> list[str]:
    """Each as text."""
    return [str(one) for one in classes]


def read(said: tuple[str, ...], kind: str, count: int = 2) -> npt.NDArray[Any]:
    """So many classes as they were saved. Raises `ParameterError`."""
    found: npt.NDArray[Any]
    try:
        # Every text but the empty one would be true.
        values: Any = [_BOOLS.index(one) for one in said] if kind == "b" else said
        found = np.array(values).astype(_TYPES[kind])
    except (KeyError, ValueError, OverflowError):
        found = np.zeros(0)
    if len(np.unique(found)) != count or len(found) != count:
        raise ParameterError(
            f"the part of a model does not say its {count} classes: it was changed after it was saved"
        )
    return found
