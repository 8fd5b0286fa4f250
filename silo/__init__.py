"""Silo: the privacy layer between a few organisations that learn together without showing their records.

Names load what they need when they are first used, so that `import silo` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from silo import vertical as vertical
    from silo.charter import TWO_PARTY_WORDS as TWO_PARTY_WORDS
    from silo.charter import Charter as Charter
    from silo.crypto.errors import SiloError as SiloError
    from silo.identity import Identity as Identity
    from silo.joining import join as join
    from silo.privacy.budget import Budget as Budget
    from silo.privacy.errors import PrivacyBudgetExceeded as PrivacyBudgetExceeded
    from silo.privacy.ledger import Ledger as Ledger
    from silo.privacy.skellam import Skellam as Skellam
    from silo.protocols.errors import ProtocolAborted as ProtocolAborted
    from silo.protocols.errors import ProtocolViolation as ProtocolViolation
    from silo.protocols.errors import TooFewParties as TooFewParties
    from silo.session import Session as Session
    from silo.simulation import simulate as simulate
    from silo.statistics import moments as moments
    from silo.statistics import standardize as standardize
    from silo.training.fedavg import FedAvg as FedAvg
    from silo.training.fedavg import train as train
    from silo.training.learner import Function as Function
    from silo.training.private.fit import fit_private as fit_private
    from silo.training.private.plan import DPSGD as DPSGD

_HOMES: Final = {
    "Budget": "silo.privacy.budget",
    "Charter": "silo.charter",
    "DPSGD": "silo.training.private.plan",
    "FedAvg": "silo.training.fedavg",
    "Function": "silo.training.learner",
    "Identity": "silo.identity",
    "Ledger": "silo.privacy.ledger",
    "PrivacyBudgetExceeded": "silo.privacy.errors",
    "ProtocolAborted": "silo.protocols.errors",
    "ProtocolViolation": "silo.protocols.errors",
    "Session": "silo.session",
    "SiloError": "silo.crypto.errors",
    "Skellam": "silo.privacy.skellam",
    "TWO_PARTY_WORDS": "silo.charter",
    "TooFewParties": "silo.protocols.errors",
    "fit_private": "silo.training.private.fit",
    "join": "silo.joining",
    "moments": "silo.statistics",
    "simulate": "silo.simulation",
    "standardize": "silo.statistics",
    "train": "silo.training.fedavg",
}

__all__ = sorted([*_HOMES])


def __getattr__(name: str) -> Any:
    if name == "vertical":
        return import_module("silo.vertical")
    if name not in _HOMES:
        raise AttributeError(f"module 'silo' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, "vertical"})
