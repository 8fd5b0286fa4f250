"""The UCI heart data of four hospitals, for training under a budget: public ranges, and splits by seed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from silo.demo import data
from silo.demo.data import Hospital
from silo.demo.ranges import HEART
from silo.errors import ParameterError

LOW: Final = [low for low, _ in HEART.values()]
HIGH: Final = [high for _, high in HEART.values()]
_TEST_SHARE: Final = 0.34


def split(folder: Path, seed: int) -> list[Hospital]:
    """The hospitals with 34 % of each one's rows as its test, stratified as in `silo.demo.data`.

    Raises `ParameterError`.
    """
    from sklearn.model_selection import train_test_split

    found = data.load(folder)
    if found.columns != tuple(HEART):
        raise ParameterError("the public ranges are not those of these columns")
    hospitals = []
    for one in found.hospitals:
        x = np.concatenate([one.train_x, one.test_x])
        y = np.concatenate([one.train_y, one.test_y])
        _, counts = np.unique(y, return_counts=True)
        train_x, test_x, train_y, test_y = train_test_split(
            x, y, test_size=_TEST_SHARE, random_state=seed, stratify=y if counts.min() > 2 else None
        )
        hospitals.append(Hospital(one.name, train_x, train_y, test_x, test_y))
    return hospitals
