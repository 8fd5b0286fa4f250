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
    holder: bool = False
    """Whether one member holds the key."""
    bits: tuple[int, ...] = BITS
    expansion: float = 1.0
    """Bytes that a member sends per byte of its values, at most."""
    fixed: int = 0
    """Bytes that it sends besides, however few the values: ciphertexts and keys have a least size."""


_EVERYBODY_ELSE: Final = ("somebody on the network", "who talks to the relay, when, and how many bytes")

_HELD: Final = (
    ("relay (aggregator)", "who was present, sizes, and ciphertexts that it cannot open"),
    ("key holder", "the sum and the total weight of those present, and who was in it; no single input"),
    ("receiver", "the sum and the total weight, and who was in it"),
    ("other members", "who was present, and the sizes"),
    ("relay with the key holder", "every single input: these two must not collude"),
    ("relay with a receiver", "whatever combination of inputs the relay forms: these two must not collude"),
    _EVERYBODY_ELSE,
)

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
    "paillier": SumKind(_HELD, blinded=None, graphs=False, holder=True, expansion=2.3, fixed=1 << 14),
    "ckks": SumKind(_HELD, blinded=None, graphs=False, holder=True, expansion=8.2, fixed=1 << 18),
    "lattice": SumKind(
        leakage=(
            ("relay (aggregator)", "who was present, sizes, and ciphertexts that it cannot open"),
            ("receiver", "the sum and the total weight, and who was in it"),
            ("other members", "who was present, the sizes, and the encrypted sum"),
            (
                "relay with {colluders} colluding member(s)",
                "if they follow the protocol, the sum of the remaining members' inputs, no single one of them",
            ),
            (
                "relay and a member, both malicious",
                "every single input, if the member gets results: these two must not collude",
            ),
            _EVERYBODY_ELSE,
        ),
        blinded=None,
        graphs=False,
        bits=(16, 24, 32),
        expansion=20.0,
        fixed=1 << 18,
    ),
}
