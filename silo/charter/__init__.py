"""The charter: what the members agreed on, in one TOML file that all of them sign."""

from silo.card import Card
from silo.charter.model import Charter
from silo.charter.sums import SUMS, SumKind
from silo.charter.terms import (
    TWO_PARTY_WORDS,
    Intersection,
    Limits,
    Privacy,
    Relay,
    Signature,
    SumTerms,
    Task,
    Times,
    Vertical,
)

__all__ = [
    "SUMS",
    "TWO_PARTY_WORDS",
    "Card",
    "Charter",
    "Intersection",
    "Limits",
    "Privacy",
    "Relay",
    "Signature",
    "SumKind",
    "SumTerms",
    "Task",
    "Times",
    "Vertical",
]
