"""A member's part of a boosted model as plain data: its bins, its splits, and at the label party the trees.

Each split is also written as a person reads it, for an audit; what is read back are its codes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from silo.errors import ParameterError
from silo.protocols.vertical.boosting.host import Part
from silo.protocols.vertical.boosting.label import Model
from silo.protocols.vertical.boosting.parameters import MOST_CLASSES, MOST_TREES
from silo.vertical import classes as kinds
from silo.vertical import share, trees
from silo.vertical.binning import Binning

Classes = npt.NDArray[Any] | None


def told(binning: Binning, model: Model | None, part: Part | None, classes: Classes) -> dict[str, Any]:
    """What `read` takes."""
    splits = model.splits if model else part.splits if part else ()
    found: dict[str, Any] = {
        "bins": binning.told(),
        "groups": model.groups if model else part.groups if part else 1,
        "splits": [trees.splits_told(tree) for tree in splits],
        "reading": [[binning.describe(split) for split in tree] for tree in splits],
    }
    if model:
        found["base"] = [float(one) for one in model.base]
        found["trees"] = [trees.tree_told(tree) for tree in model.trees]
        found["classes"] = [] if classes is None else kinds.told(classes)
        found["class_type"] = "U" if classes is None else kinds.kind_of(classes)
    return found


def read(found: share.Share, owners: int) -> tuple[Binning, Model | None, Part | None, Classes]:
    """Bins, the label party's model or another's part, and the classes. Raises `ParameterError`."""
    try:
        binning = Binning.read(found["bins"])
        splits = tuple(trees.splits_read(tree) for tree in found["splits"])
        grown = tuple(trees.tree_read(tree) for tree in found["trees"]) if "trees" in found else None
        groups = int(found["groups"])
    except ParameterError:
        raise
    except (KeyError, TypeError, ValueError):
        raise ParameterError(
            "the part of a boosted model cannot be read: it was changed after it was saved"
        ) from None
    for tree in splits:
        for split in tree:
            split.check(binning.shape)
    if not 1 <= groups <= MOST_CLASSES or len(splits) > MOST_TREES * groups:
        raise ParameterError(f"the part of a boosted model has {len(splits)} trees, {groups} in an iteration")
    if grown is None:
        return binning, None, Part(b"", groups, splits), None
    base = np.array(share.numbers(found, "base"))
    for number, one in enumerate(grown):
        one.check(owners)
        if number >= len(splits) or one.count(0) != len(splits[number]):
            raise ParameterError("the part of a boosted model has trees with other splits")
    if len(base) != groups or len(grown) != len(splits):
        raise ParameterError("the part of a boosted model has another number of trees or classes")
    said, kind = share.words(found, "classes"), str(found.get("class_type"))
    classes = kinds.read(said, kind, max(groups, 2)) if said else None
    return binning, Model(groups, base, grown, splits), None, classes
