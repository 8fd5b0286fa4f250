"""What each role learns when identifiers are intersected."""

from __future__ import annotations

from collections.abc import Sequence

from silo.protocols.psi.context import SUM

_GUESSES = (
    "whoever asks with guessed identifiers",
    "whether they are in the others' lists: at most rows times queries of them",
)
_PAIR = (
    ("relay", "who took part, and how many rows the lists have; no identifier"),
    ("each member", "how many rows the other's list has"),
    ("receiver", "how many are in common, and with `rows` which of its own rows"),
    _GUESSES,
)
_RING = (
    (
        "relay",
        "who took part, how many rows the lists have, with `rows` how many are in common; no identifier",
    ),
    ("each member", "how many rows the lists that pass it have; with `rows` how many are in common to all"),
    ("receiver", "how many are in common to all, and with `rows` which of its own rows"),
    ("first receiver (compares)", "for every group of members how many items they have in common, not which"),
    ("colluding members", "more than this: in an intersection of three and more nobody may collude"),
    _GUESSES,
)


_SUM = (
    ("member without values (`sum`)", "how many rows are in common, exactly; as receiver the sums"),
    (
        "member with values (`sum`)",
        "as receiver the sums and the number, with the other's noise if agreed; whether too few",
    ),
)


def leakage(members: int, reveal: Sequence[str]) -> Sequence[tuple[str, str]]:
    """(role, what it learns) of the intersections that reveal this, among so many members."""
    if members > 2:
        return _RING
    return (*_PAIR[:-1], *(_SUM if SUM in reveal else ()), _GUESSES)
