"""Own lists and received ones: shuffled, shortened to be compared, and matched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from silo.crypto.prg import Keystream
from silo.crypto.ristretto import POINT_BYTES
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret
from silo.protocols.errors import MalformedMessage

TOKEN_BYTES: Final = 16
"""What lists are compared by: of two lists of 2^31 two entries are alike by chance with 2^-66."""

Table = npt.NDArray[np.void]


def order(count: int, *, rng: Rng) -> npt.NDArray[np.int64]:
    """A uniform order of `count` entries, from the cryptographic stream: they are sorted by 128 random bits."""
    keys = np.empty((2, count), np.uint64)
    Keystream(Secret.random(32, rng=rng)).fill(keys)
    return np.lexsort(keys)


def points(raw: bytes) -> Table:
    """A list of points, one entry each."""
    return np.frombuffer(raw, dtype=f"V{POINT_BYTES}")


def tokens(table: Table) -> Table:
    """The first 16 bytes of each point."""
    cut = np.ascontiguousarray(table.view(np.uint8).reshape(-1, POINT_BYTES)[:, :TOKEN_BYTES])
    return cut.reshape(-1).view(f"V{TOKEN_BYTES}")


def read_tokens(raw: bytes) -> Table:
    """A list of tokens that was received."""
    return np.frombuffer(raw, dtype=f"V{TOKEN_BYTES}")


def require_different(table: Table, owner: str, round: int) -> None:
    """Refuse a list with an entry twice: it would count its match twice. Raises `MalformedMessage`."""
    doubles = len(table) - len(np.unique(_sortable(table)))
    if doubles:
        raise MalformedMessage("its list has entries twice", culprits=(owner,), round=round, found=doubles)


def matched(mine: Table, theirs: Sequence[Table]) -> npt.NDArray[np.int64]:
    """Places in `mine` of the tokens that all of `theirs` have too, in the order of the tokens themselves."""
    sortable = _sortable(mine)
    places = np.argsort(sortable, kind="stable")
    keep = np.ones(len(mine), bool)
    for table in theirs:
        keep &= np.isin(sortable, _sortable(table))
    return places[keep[places]].astype(np.int64)


def ordered(table: Table) -> npt.NDArray[np.bytes_]:
    """A list in the form in which `among` looks things up."""
    return np.sort(_sortable(table))


def among(table: Table, known: npt.NDArray[np.bytes_]) -> npt.NDArray[np.bool_]:
    """Which entries of a list are in one that was `ordered`."""
    if not len(known):
        return np.zeros(len(table), bool)
    asked = _sortable(table)
    places = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    return np.asarray(known[places] == asked)


def _sortable(table: Table) -> npt.NDArray[np.bytes_]:
    """The same bytes in a type that NumPy sorts; a leading 1 keeps zeros at the end apart."""
    width = table.dtype.itemsize
    marked = np.empty((len(table), width + 1), np.uint8)
    marked[:, :width] = table.view(np.uint8).reshape(-1, width)
    marked[:, width] = 1
    return marked.reshape(-1).view(f"S{width + 1}")
