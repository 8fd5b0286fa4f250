"""What each role learns when identifiers are intersected."""

from __future__ import annotations

from collections.abc import Sequence

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


def leakage(members: int) -> Sequence[tuple[str, str]]:
    """(role, what it learns) of an intersection among so many members."""
    return _PAIR if members == 2 else _RING
