"""What all members of one boosted model agree on before it is trained.

Names and meanings are those of Chen and Guestrin, "XGBoost" (KDD 2016), section 2; the gain is the library's: without
the factor 1/2 of the paper's equation 7.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from silo.crypto.errors import ParameterError

OKAMOTO_UCHIYAMA: Final = "okamoto-uchiyama"
PAILLIER: Final = "paillier"
SCHEMES: Final = (OKAMOTO_UCHIYAMA, PAILLIER)
KEY_BITS: Final = (2048, 3072)
"""Bits of a modulus: about 112 and 128 bits of security by NIST SP 800-57; `crypto.okamoto_uchiyama.keys` says 100 and
124 for its own."""
MOST_TREES: Final = 10_000
MOST_DEPTH: Final = 10
MOST_BINS: Final = 255
"""Bins of a column beside that of missing values: a code is one byte."""
MOST_CLASSES: Final = 256
CATEGORY_ROWS: Final = 20
FIXED_BITS: Final = 20
"""A gradient or hessian is a whole number of at most 2^20 in size: see `gradients`."""


@dataclass(frozen=True, slots=True)
class Goss:
    """Gradient-based one-side sampling: the rows with the largest gradients, and some of the others."""

    top: float
    rest: float

    def __post_init__(self) -> None:
        if not (0 < self.top < 1 and 0 < self.rest < 1 and self.top + self.rest <= 1):
            raise ParameterError(
                f"one-side sampling takes two fractions above 0 that make at most 1, not {self.top} and {self.rest}"
            )


@dataclass(frozen=True, slots=True)
class Terms:
    """One training; the same at all members. Raises `ParameterError`.

    `subsample` is the fraction of rows that a tree sees (or `goss`, never both); `alone` first trees are grown by the
    label party on its own columns; training ends after `patience` iterations without a better loss on the `held_out`
    fraction of rows (0: none are held out, and all trees are grown). No split chooses where a category, or the missing
    values of a column, go with fewer than `min_category_rows` rows in a node: see `splits`.
    """

    trees: int = 50
    learning_rate: float = 0.3
    depth: int = 4
    l2: float = 1.0
    gamma: float = 0.0
    min_child_weight: float = 1.0
    min_samples_leaf: int = 1
    min_category_rows: int = CATEGORY_ROWS
    bins: int = 32
    scheme: str = OKAMOTO_UCHIYAMA
    key_bits: int = 3072
    subsample: float = 1.0
    goss: Goss | None = None
    alone: int = 0
    patience: int = 0
    held_out: float = 0.0

    def __post_init__(self) -> None:
        _whole("trees", self.trees, 1, MOST_TREES)
        _whole("depth", self.depth, 1, MOST_DEPTH)
        _whole("bins", self.bins, 2, MOST_BINS)
        _whole("min_samples_leaf", self.min_samples_leaf, 1, 2**31)
        _whole("min_category_rows", self.min_category_rows, 1, 2**31)
        _whole("alone", self.alone, 0, self.trees)
        _whole("patience", self.patience, 0, MOST_TREES)
        _real("learning_rate", self.learning_rate, above=True)
        for name in ("l2", "gamma", "min_child_weight"):
            _real(name, getattr(self, name))
        if self.scheme not in SCHEMES:
            raise ParameterError(f"scheme is {' or '.join(SCHEMES)}, not {str(self.scheme)[:40]!r}")
        if self.key_bits not in KEY_BITS:
            raise ParameterError(f"key_bits is 2048 or 3072, not {self.key_bits!r}")
        if not 0 < self.subsample <= 1 or (self.goss and self.subsample != 1):
            raise ParameterError(
                f"subsample is a fraction above 0 and at most 1, and 1 beside goss, not {self.subsample}"
            )
        if not 0 <= self.held_out < 1 or bool(self.patience) != bool(self.held_out):
            raise ParameterError(
                f"early stopping takes a patience and a fraction of held-out rows below 1, both or neither, not "
                f"{self.patience} and {self.held_out}"
            )

    @property
    def least_rows(self) -> int:
        """Rows of a category, or of a column's missing values, below which no split says where they go."""
        return max(self.min_samples_leaf, self.min_category_rows)

    def told(self) -> tuple[tuple[str, object], ...]:
        """Name and value of each, as the members compare them."""
        goss = f"{self.goss.top!r}, {self.goss.rest!r}" if self.goss else "no"
        names = [name for name in self.__slots__ if name != "goss"]
        return (*((name, getattr(self, name)) for name in names), ("goss", goss))


def _whole(name: str, value: int, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ParameterError(f"{name} is a whole number from {least} to {most}, not {value!r}")


def _real(name: str, value: float, *, above: bool = False) -> None:
    if not (math.isfinite(value) and (value > 0 if above else value >= 0)):
        raise ParameterError(f"{name} is a number {'above 0' if above else 'from 0 on'}, not {value!r}")
