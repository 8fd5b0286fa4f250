"""The UCI heart data of four hospitals, for training under a budget: public ranges, and splits by seed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from silo.demo import data
from silo.demo.data import Hospital
from silo.errors import ParameterError

RANGES: Final = {
    "age": (20.0, 90.0),
    "sex": (0.0, 1.0),
    "trestbps": (80.0, 200.0),
    "chol": (0.0, 600.0),
    "fbs": (0.0, 1.0),
    "thalach": (60.0, 210.0),
    "exang": (0.0, 1.0),
    "oldpeak": (-3.0, 7.0),
    "cp_2": (0.0, 1.0),
    "cp_3": (0.0, 1.0),
    "cp_4": (0.0, 1.0),
    "restecg_1": (0.0, 1.0),
    "restecg_2": (0.0, 1.0),
}
"""What such values can be in an adult at a heart clinic: medical knowledge, not taken from the rows."""

LOW: Final = [low for low, _ in RANGES.values()]
HIGH: Final = [high for _, high in RANGES.values()]
_TEST_SHARE: Final = 0.34


def split(folder: Path, seed: int) -> list[Hospital]:
    """The hospitals with 34 % of each one's rows as its test, stratified as in `silo.demo.data`.

    Raises `ParameterError`.
    """
    from sklearn.model_selection import train_test_split

    found = data.load(folder)
    if found.columns != tuple(RANGES):
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
