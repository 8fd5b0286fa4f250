"""Saved parts of joint models, whichever kind they are of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from silo.errors import ParameterError
from silo.vertical import share
from silo.vertical.boosting import GradientBoosting, GradientBoostingRegressor
from silo.vertical.linear import LinearRegression, LogisticRegression, PoissonRegression
from silo.vertical.splitting.network import SplitNetwork

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
        SplitNetwork,
    )
}


def load(path: str | Path, session: Session | None = None, **modules: Any) -> Any:
    """Read this member's part of a model that `save` wrote, ready to score in `session`. Raises `ParameterError`.

    A split network's part holds weights only: `modules` are bottom=…, top=… or middle=…, as they were for its
    fit, and activations=… where they are noised.
    """
    found = share.read(path, kinds=tuple(_KINDS))
    kind = _KINDS[str(found["kind"])]
    if modules and kind is not SplitNetwork:
        raise ParameterError(f"{path} holds a model of the kind {found['kind']}, which takes no modules")
    model = kind(session, **modules)
    model._restore(found)
    return model
