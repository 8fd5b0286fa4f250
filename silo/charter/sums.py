"""The sums that a charter may name, one entry each, and what each role learns in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

BITS: Final = (16, 24, 32, 40)

Leakage = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class SumKind:
    """What the charter needs to know of a protocol; leakage is (role, what it learns)."""

    leakage: Leakage
    blinded: Leakage | None
    """None when the protocol has no blinded form."""
    graphs: bool
    """Whether a mask graph of a smaller degree than complete can be chosen."""


_EVERYBODY_ELSE: Final = ("somebody on the network", "who talks to the relay, when, and how many bytes")

SUMS: Final[Mapping[str, SumKind]] = {
    "masking": SumKind(
        leakage=(
            (
                "relay (aggregator)",
                "the sum and the total weight of those present, who was present, and sizes; no single input",
            ),
            ("receiver", "the sum and the total weight, and who was in it"),
            ("other members", "who was present, and the sizes"),
            (
                "relay with {colluders} colluding member(s)",
                "the sum of the remaining members' inputs, no single one of them",
            ),
            _EVERYBODY_ELSE,
        ),
        blinded=(
            ("relay (aggregator)", "who was present, and sizes; neither the sum nor the weight"),
            ("receiver", "the sum and the total weight, and who was in it"),
            ("other members", "who was present, and the sizes; with the relay's view also the sum"),
            (
                "relay with {colluders} colluding member(s)",
                "the sum of the remaining members' inputs, no single one of them",
            ),
            _EVERYBODY_ELSE,
        ),
        graphs=True,
    ),
}
