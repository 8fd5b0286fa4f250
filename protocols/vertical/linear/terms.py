"""What all members of a linear model agree on, and the caps that follow from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from silo.crypto import products
from silo.crypto.errors import ParameterError
from silo.crypto.rng import Rng
from silo.protocols.vertical.context import Context
from silo.protocols.vertical.linear import families
from silo.protocols.vertical.linear.families import Family
from silo.protocols.vertical.linear.messages import MOST_PASSES
from silo.protocols.vertical.work import Work

LATTICE: Final = "lattice"
PAILLIER: Final = "paillier"
SCHEMES: Final = (LATTICE, PAILLIER)
COLUMN_BITS: Final = 11
_PRODUCT_BITS: Final = 34
_TOTAL_BITS: Final = 39
"""Beyond a million rows it is the sum over all of them that has to fit; rounding by chance evens out over so many."""
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
    for name in context.hosts:
        if not 1 <= context.parameters.columns[name] <= products.MAX_COLUMNS:
            raise ParameterError(
                f"{name} brings {context.parameters.columns[name]} columns, and a linear model takes 1 to "
                f"{products.MAX_COLUMNS} of a member without labels"
            )
    hidden = sum(context.parameters.unlike(name) for name in context.hosts)
    widest = max(context.parameters.columns[name] for name in context.hosts)
    most = min(passes, hidden - 1, context.parameters.rows // max(widest, 1), MOST_PASSES)
    if most < 1:
        raise ParameterError(
            f"{context.parameters.rows} rows with {hidden} independent columns beside {context.label}'s allow no pass: "
            "the others bring at least 2 independent columns together, and nobody has more columns than rows"
        )
    return most


def product_terms(rows: int) -> products.Terms:
    """Magnitudes of residuals and columns: as exact as the lattice's modulus allows for so many rows."""
    spread = max(rows - 1, 1).bit_length()
    room = min(_PRODUCT_BITS - min(spread, _CHUNK_BITS), _TOTAL_BITS - spread) - COLUMN_BITS
    return products.Terms(rows, min(room, _MOST_VALUE_BITS), COLUMN_BITS)


def owners(
    scheme: str, terms: products.Terms, columns: Mapping[str, int], work: Work, *, rng: Rng
) -> dict[str, products.Owner]:
    """Keys of the label party towards each host with so many columns: of the lattice its own, of Paillier one.

    `work` divides Paillier's encryptions; the lattice needs no help.
    """
    if scheme == LATTICE:
        from silo.crypto.lattice.grouped import GroupedOwner

        return {host: GroupedOwner.generate(terms, count, rng=rng) for host, count in columns.items()}
    from silo.crypto.paillier.inner import PaillierOwner

    return dict.fromkeys(columns, PaillierOwner.generate(terms, rng=rng, parts=work.parts, run=work.run))


def multiplier(
    scheme: str, public: bytes, columns: products.Integers, terms: products.Terms, work: Work
) -> products.Multiplier:
    """A host's columns, made ready for products under this key. Raises `ParameterError`."""
    if scheme == LATTICE:
        from silo.crypto.lattice.grouped import GroupedMultiplier

        return GroupedMultiplier(public, columns, terms)
    from silo.crypto.paillier.inner import PaillierMultiplier

    return PaillierMultiplier(public, columns, terms, parts=work.parts, run=work.run)
