"""What a collective takes and gives: an array, a scalar, or a dict of arrays (a torch state_dict is one).

A `Layout` is what the members compare: keys, shapes, and whether the numbers are floats or integers. Integers
and booleans are summed exactly; floats in fixed point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.protocols.rollcall import Term

Kind = Literal["float", "integer"]
Array = npt.NDArray[Any]
_VALUE = ""
_MOST_ENTRIES = 4000


@dataclass(frozen=True, slots=True)
class Entry:
    """One array: its key ("" for a bare array), shape, and whether it came as a torch tensor."""

    key: str
    shape: tuple[int, ...]
    tensor: bool
    own: Any = None
    """A counter that stays with its member: it is not sent, and comes back as it was."""

    @property
    def size(self) -> int:
        return 0 if self.own is not None else int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Layout:
    """The form of one value."""

    kind: Kind
    entries: tuple[Entry, ...]

    @property
    def length(self) -> int:
        return sum(entry.size for entry in self.entries)

    def terms(self) -> list[Term]:
        """What the members compare, entry by entry."""
        shapes = [Term(f"entry {e.key}" if e.key else "shape", str(list(e.shape))) for e in self.entries]
        return [Term("length", str(self.length)), Term("numbers", self.kind), *shapes]

    def where(self, index: int) -> tuple[str, tuple[int, ...]]:
        """The key and the position of a flat index."""
        for entry in self.entries:
            if index < entry.size:
                return entry.key, tuple(int(i) for i in np.unravel_index(index, entry.shape))
            index -= entry.size
        raise IndexError(index)

    def restore(self, flat: Array) -> Any:
        """The value of this form that holds these numbers."""
        out: dict[str, Any] = {}
        place = 0
        for entry in self.entries:
            if entry.own is not None:
                out[entry.key] = entry.own
                continue
            piece = flat[place : place + entry.size].reshape(entry.shape)
            out[entry.key] = _tensor(piece) if entry.tensor else piece
            place += entry.size
        return out[_VALUE] if list(out) == [_VALUE] else out


def flatten(value: Any, *, keep_counters: bool = False) -> tuple[Layout, tuple[Array, ...]]:
    """Read a value without copying what is contiguous. Raises `ParameterError` naming the key.

    With `keep_counters` integer tensors beside floats (such as a batch normalisation's count of batches) stay
    with their member: averaging them means nothing.
    """
    named: Mapping[Any, Any] = value if isinstance(value, Mapping) else {_VALUE: value}
    if len(named) > _MOST_ENTRIES:
        raise ParameterError(
            f"a value of {len(named)} arrays is more than {_MOST_ENTRIES}: join some of them"
        )
    entries: list[Entry] = []
    arrays: list[Array] = []
    for key, one in named.items():
        bare = not isinstance(value, Mapping)
        if not bare and not (isinstance(key, str) and 1 <= len(key) <= 400 and key.isprintable()):
            raise ParameterError(
                f"the keys of a collective are strings of 1 to 400 printable characters, not {key!r:.40}"
            )
        array, tensor = _array(one, key)
        entries.append(Entry(key, array.shape, tensor))
        arrays.append(array)
    integer = [array.dtype.kind in "iub" for array in arrays]
    kind: Kind = "integer" if arrays and all(integer) else "float"
    if kind == "float" and keep_counters:
        for place, (entry, whole) in enumerate(zip(entries, integer, strict=True)):
            if whole and entry.tensor:
                entries[place] = Entry(entry.key, entry.shape, True, own=named[entry.key])
        arrays = [a for a, entry in zip(arrays, entries, strict=True) if entry.own is None]
        integer = [array.dtype.kind in "iub" for array in arrays]
    if kind == "float":
        arrays = [a.astype(np.float64) if i else a for a, i in zip(arrays, integer, strict=True)]
    return Layout(kind, tuple(entries)), tuple(arrays)


def _array(one: Any, key: str) -> tuple[Array, bool]:
    tensor = type(one).__module__.split(".")[0] == "torch"
    if tensor:
        one = one.detach().cpu()
        # NumPy has no brain float: it is widened, exactly.
        one = (one.float() if str(one.dtype) == "torch.bfloat16" else one).numpy()
    try:
        array = np.asarray(one)
    except ValueError:
        raise ParameterError(
            f"{f'entry {key!r}' if key else 'the value'} is no array: its rows differ"
        ) from None
    if array.dtype.kind == "f" and array.dtype.itemsize < 4:
        array = array.astype(np.float32)
    if array.dtype not in (np.float32, np.float64) and array.dtype.kind not in "iub":
        raise ParameterError(
            f"{f'entry {key!r}' if key else 'the value'} has the type {array.dtype}: a sum takes numbers"
        )
    return array, tensor


def _tensor(array: Array) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(array)).reshape(array.shape)
