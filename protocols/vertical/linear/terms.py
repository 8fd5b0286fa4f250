"""What all members of a linear model agree on, and the caps that follow from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from silo.crypto import products
from silo.crypto.errors import ParameterError
from silo.crypto.rng import Rng
from silo.protocols.vertical.context import Context
from silo.protocols.vertical.linear import families
from silo.protocols.vertical.linear.families import Family

LATTICE: Final = "lattice"
PAILLIER: Final = "paillier"
SCHEMES: Final = (LATTICE, PAILLIER)
COLUMN_BITS: Final = 11
_PRODUCT_BITS: Final = 34
_CHUNK_BITS: Final = 15
_MOST_VALUE_BITS: Final = 14


@dataclass(frozen=True, slots=True)
class Terms:
    """The family, the penalties on the sum of the losses, the scheme of the products, and the most passes."""

    family: str
    l2: float
    l1: float
    scheme: str
    passes: int
    tol: float

    def __post_init__(self) -> None:
        families.of(self.family)
        if self.scheme not in SCHEMES:
            raise ParameterError(f"the products are under {' or '.join(SCHEMES)}, not {self.scheme[:40]!r}")
        for what, value in (("l1", self.l1), ("l2", self.l2), ("tol", self.tol)):
            if not (math.isfinite(value) and value >= 0):
                raise ParameterError(f"{what} = {value}: it is a number from 0 on")
        if self.passes < 1:
            raise ParameterError(f"a linear model has at least one pass, not {self.passes}")

    @property
    def likelihood(self) -> Family:
        return families.of(self.family)

    def said(self) -> tuple[tuple[str, str], ...]:
        """Names and values for the roll call."""
        return (
            ("family", self.family),
            ("penalties", f"l1 {self.l1!r}, l2 {self.l2!r}"),
            ("scheme", self.scheme),
            ("passes", f"{self.passes}, tol {self.tol!r}"),
        )


def cap(context: Context, passes: int) -> int:
    """How many passes there may be: fewer than there are hidden columns, so that their span is never shown whole.

    The other way round, a host sees one number a pass for each of its columns, of as many unknown residuals as there
    are rows: in all at most as many numbers as rows. Raises `ParameterError` where not even one pass is left.
    """
    hidden = sum(context.parameters.columns[name] for name in context.hosts)
    widest = max(context.parameters.columns[name] for name in context.hosts)
    most = min(passes, hidden - 1, context.parameters.rows // max(widest, 1))
    if most < 1:
        raise ParameterError(
            f"{context.parameters.rows} rows with {hidden} columns beside those of {context.label} allow no pass: "
            "the others bring at least 2 columns together, and nobody has more columns than rows"
        )
    return most


def product_terms(rows: int) -> products.Terms:
    """Magnitudes of residuals and columns: as exact as the lattice's modulus allows for so many rows."""
    room = _PRODUCT_BITS - COLUMN_BITS - min(max(rows - 1, 1).bit_length(), _CHUNK_BITS)
    return products.Terms(rows, min(room, _MOST_VALUE_BITS), COLUMN_BITS)


def owner(scheme: str, terms: products.Terms, *, rng: Rng) -> products.Owner:
    """A fresh key of the label party."""
    if scheme == LATTICE:
        from silo.crypto.lattice.products import LatticeOwner

        return LatticeOwner.generate(terms, rng=rng)
    from silo.crypto.paillier.inner import PaillierOwner

    return PaillierOwner.generate(terms, rng=rng)


def multiplier(
    scheme: str, public: bytes, columns: products.Integers, terms: products.Terms
) -> products.Multiplier:
    """A host's columns, made ready for products under this key. Raises `ParameterError`."""
    if scheme == LATTICE:
        from silo.crypto.lattice.products import LatticeMultiplier

        return LatticeMultiplier(public, columns, terms)
    from silo.crypto.paillier.inner import PaillierMultiplier

    return PaillierMultiplier(public, columns, terms)
