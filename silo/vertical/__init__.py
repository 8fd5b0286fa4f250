"""Models over columns that several members hold of the same rows; one script for all, labels at one of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from silo.vertical.boosting import GradientBoosting as GradientBoosting
    from silo.vertical.boosting import GradientBoostingRegressor as GradientBoostingRegressor
    from silo.vertical.linear import LinearRegression as LinearRegression
    from silo.vertical.linear import LogisticRegression as LogisticRegression
    from silo.vertical.linear import PoissonRegression as PoissonRegression
    from silo.vertical.models import load as load
    from silo.vertical.splitting.decorrelation import Decorrelation as Decorrelation
    from silo.vertical.splitting.marvell import Marvell as Marvell
    from silo.vertical.splitting.network import SplitNetwork as SplitNetwork
    from silo.vertical.splitting.noise import Noise as Noise
    from silo.vertical.splitting.randomized import RandomizedLabels as RandomizedLabels

_HOMES: Final = {
    "Decorrelation": "silo.vertical.splitting.decorrelation",
    "GradientBoosting": "silo.vertical.boosting",
    "GradientBoostingRegressor": "silo.vertical.boosting",
    "LinearRegression": "silo.vertical.linear",
    "LogisticRegression": "silo.vertical.linear",
    "Marvell": "silo.vertical.splitting.marvell",
    "Noise": "silo.vertical.splitting.noise",
    "PoissonRegression": "silo.vertical.linear",
    "RandomizedLabels": "silo.vertical.splitting.randomized",
    "SplitNetwork": "silo.vertical.splitting.network",
    "load": "silo.vertical.models",
}

__all__ = sorted([*_HOMES])


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"silo.vertical has no {name!r}: it has {', '.join(__all__)}")
    from silo.extras import need

    need("a vertical model", "vertical", "sklearn", "narwhals")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
