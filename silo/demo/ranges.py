"""What the columns of the demo's tables can hold: public ranges, from what is measured and in which units.

They come from medicine and from the documentation of the sets, never from a hospital's rows: under a privacy
budget a range that was looked up in the rows would be a release.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

Range = tuple[float, float]
_FLAG: Final[Range] = (0.0, 1.0)

HEART: Final[Mapping[str, Range]] = {
    "age": (20.0, 90.0),
    "sex": _FLAG,
    "trestbps": (80.0, 200.0),
    "chol": (0.0, 600.0),
    "fbs": _FLAG,
    "thalach": (60.0, 210.0),
    "exang": _FLAG,
    "oldpeak": (-3.0, 7.0),
    "cp_2": _FLAG,
    "cp_3": _FLAG,
    "cp_4": _FLAG,
    "restecg_1": _FLAG,
    "restecg_2": _FLAG,
}
_MEASURED: Final = (
    "radius",
    "texture",
    "perimeter",
    "area",
    "smoothness",
    "compactness",
    "concavity",
    "concave points",
    "symmetry",
    "fractal dimension",
)
_MEAN: Final = (30.0, 40.0, 190.0, 2500.0, 0.2, 0.35, 0.45, 0.2, 0.3, 0.1)
_WORST: Final = (2 ** (1 / 2), 1.25, 1.33, 1.7, 1.15, 3.0, 2.75, 1.5, 2.2, 2.1)
"""How much larger than a mean the worst of a measurement gets."""
_ERROR: Final = 0.1
"""A standard error is at most this part of what the mean can be."""

BREAST: Final[Mapping[str, Range]] = {
    **{f"mean {name}": (0.0, most) for name, most in zip(_MEASURED, _MEAN, strict=True)},
    **{f"{name} error": (0.0, _ERROR * most) for name, most in zip(_MEASURED, _MEAN, strict=True)},
    **{
        f"worst {name}": (0.0, most * worst)
        for name, most, worst in zip(_MEASURED, _MEAN, _WORST, strict=True)
    },
}

RANGES: Final[Mapping[str, Mapping[str, Range]]] = {"heart": HEART, "default": BREAST}
