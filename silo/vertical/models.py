"""Saved parts of joint models, whichever kind they are of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from silo.vertical import share
from silo.vertical.boosting import GradientBoosting, GradientBoostingRegressor
from silo.vertical.linear import LinearRegression, LogisticRegression, PoissonRegression

if TYPE_CHECKING:
    from silo.session import Session

_KINDS: Final[dict[str, type[Any]]] = {
    one.kind: one
    for one in (
        LogisticRegression,
        LinearRegression,
        PoissonRegression,
        GradientBoosting,
        GradientBoostingRegressor,
    )
}


def load(path: str | Path, session: Session | None = None) -> Any:
    """Read this member's part of a model that `save` wrote, ready to score in `session`. Raises `ParameterError`."""
    found = share.read(path, kinds=tuple(_KINDS))
    model = _KINDS[str(found["kind"])](session)
    model._restore(found)
    return model
