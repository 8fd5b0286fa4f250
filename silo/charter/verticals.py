"""What each role learns when models are fitted over columns of the same rows."""

from __future__ import annotations

from collections.abc import Sequence

from silo.protocols.vertical.context import BOOSTING, LINEAR

_EVERY = (
    ("relay", "who took part, and sizes: by them the number of rows, passes and trees; no content"),
    ("each member", "how many rows and columns the others have, and who has the labels"),
)
_LINEAR_TWO = (
    "label party (`linear`)",
    "its coefficients; in each pass and at scoring one number a row of the other: its columns times a direction",
)
_LINEAR_MORE = (
    "label party (`linear`)",
    "its coefficients; in each pass and at scoring one number a row, the sum over the others",
)
_LINEAR_HOST = (
    "other member (`linear`)",
    "its coefficients, and in each pass its own gradient (one number a column); no residual, no score",
)
_BOOSTING = (
    (
        "label party (`boosting`)",
        "for each column and bin of the others the sums of a node, and which rows each split sends left",
    ),
    (
        "other member (`boosting`)",
        "which rows are in a node, and which of its splits were taken; no gradient, no label, no other's split",
    ),
)


def leakage(members: int, models: Sequence[str]) -> Sequence[tuple[str, str]]:
    """(role, what it learns) of the models that are allowed, among so many members."""
    rows = list(_EVERY)
    if LINEAR in models:
        rows += [_LINEAR_TWO if members == 2 else _LINEAR_MORE, _LINEAR_HOST]
    if BOOSTING in models:
        rows += _BOOSTING
    return rows
