"""What each role learns when models are fitted over columns of the same rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from silo.charter.terms import EVERY_MEMBER, NOISED, Vertical
from silo.protocols.vertical.context import BOOSTING, LINEAR, SPLIT

_EVERY = (
    ("relay", "who took part, and sizes: by them the number of rows, passes and trees; no content"),
    ("each member", "how many rows and columns the others have, and who has the labels"),
)
_LINEAR_TWO = (
    "label party (`linear`)",
    "its coefficients; in each pass and at scoring one number a row of the other: its columns times a direction, "
    "from which columns of few values can be read",
)
_LINEAR_MORE = (
    "label party (`linear`)",
    "its coefficients; in each pass and at scoring one number a row, the sum over the others",
)
_LINEAR_HOST = (
    "other member (`linear`)",
    "its coefficients, and in each pass its own gradient: a sum of residuals for each column; no score",
)
_BOOSTING = (
    (
        "label party (`boosting`)",
        "for each column and bin of the others the sums of a node, and which rows each split sends left: at scoring of "
        "every row, so that many splits of a column show its bin",
    ),
    (
        "other member (`boosting`)",
        "which rows are in a node, and which bins its own splits send left: so which of its categories, and sides of "
        "its thresholds, go together with the label; no gradient, no leaf, no other's split",
    ),
)


_GRADIENTS, _ACTIVATIONS = NOISED
_SPLIT_LABEL = "label party (`split`)"
_SPLIT_HOST = "other member (`split`)"
_OF_GRADIENTS = {
    True: "its bottom, and one noised gradient a row and epoch: of a label no more than the ledger bounds",
    False: "its bottom, and one exact gradient a row and epoch: by their directions EVERY LABEL can be read off",
}
_OF_ACTIVATIONS = {
    True: "one row of noised activations a row and epoch: of a row no more than the ledger bounds",
    False: "exact activations of every row and epoch, from which COLUMNS CAN BE REBUILT",
}
_SPLIT_SUM = "; among three and more members only their sum over the others"
_SPLIT_U = (
    "compute partner (`split`, U-shape)",
    "the activations and the gradients of the owner, each with or without noise as above; no column, no label",
)


def words(models: Sequence[str], noised: Sequence[str], classes: int | None) -> list[str]:
    """How many classes there may be in split learning, and what was switched off, a line each."""
    if SPLIT not in models:
        return []
    off = {
        _GRADIENTS: "labels can be read off by the cosine attack",
        _ACTIVATIONS: "columns can be rebuilt from what a network shows of them",
    }
    many = "as many classes as the label party says" if classes is None else f"at most {classes} classes"
    return [
        f"  split learning of {many}",
        *(f"  split learning WITHOUT noise on {one}: {off[one]}" for one in NOISED if one not in noised),
    ]


def unpaid(vertical: Vertical, members: Sequence[str], budgets: Collection[str]) -> list[str]:
    """Which noise of split learning nobody can pay for, a line each; `budgets` are the members that have one."""
    if SPLIT not in vertical.models or vertical.label == EVERY_MEMBER:
        return []
    due = {_GRADIENTS: [vertical.label], _ACTIVATIONS: [one for one in members if one != vertical.label]}
    return [
        f"  noise on {direction} is paid by {name}, which has no privacy budget here: {name} can send no {direction}"
        for direction in vertical.noised
        for name in due[direction]
        if name not in budgets
    ]


def leakage(members: int, models: Sequence[str], noised: Sequence[str] = NOISED) -> Sequence[tuple[str, str]]:
    """(role, what it learns) of the models that are allowed, among so many members."""
    rows = list(_EVERY)
    if LINEAR in models:
        rows += [_LINEAR_TWO if members == 2 else _LINEAR_MORE, _LINEAR_HOST]
    if BOOSTING in models:
        rows += _BOOSTING
    if SPLIT in models:
        seen = _OF_ACTIVATIONS[_ACTIVATIONS in noised] + (_SPLIT_SUM if members > 2 else "")
        rows += [(_SPLIT_LABEL, seen), (_SPLIT_HOST, _OF_GRADIENTS[_GRADIENTS in noised])]
        rows += [_SPLIT_U] if members == 2 else []
    return rows
