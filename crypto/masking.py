"""Encode, mask and lay out one vector in a single pass: each chunk is encoded and masked while it is in
cache.

The accumulator is the only copy of the vector that is made. Threads take contiguous ranges of words: the
keystreams are seekable, so the words do not depend on how the work is divided.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.crypto.prg import Keystream, MaskStream
from silo.crypto.ring import CHUNK_WORDS, Exact, FixedPoint, ValueOutOfRange
from silo.crypto.secret import Secret

_WORTH_A_THREAD = 1 << 20
_ROUNDING_BYTES = 4


@dataclass(frozen=True, slots=True, repr=False)
class Seeds:
    """Stream seeds that are added and subtracted, 32 bytes each."""

    plus: tuple[Secret, ...] = ()
    minus: tuple[Secret, ...] = ()


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Plain:
    """What a party puts into the sum: arrays in an agreed order, their encoder, a weight.

    A fixed-point vector is multiplied by `weight` as it is encoded; `saturate` clips instead of refusing.
    """

    parts: tuple[npt.NDArray[Any], ...]
    encoder: FixedPoint | Exact
    weight: float = 1.0
    saturate: bool = False

    @property
    def length(self) -> int:
        return sum(part.size for part in self.parts)


def check(plain: Plain) -> None:
    """Refuse values that cannot be encoded, without encoding any. Raises `ValueOutOfRange`.

    The index counts through the joined parts.
    """
    integer = isinstance(plain.encoder, Exact)
    limit: float = plain.encoder.limit if isinstance(plain.encoder, Exact) else plain.encoder.clip
    begin = 0
    for part in plain.parts:
        flat = part.reshape(-1)
        # A NaN makes both extremes NaN, and every comparison with it false.
        if flat.size and not (-limit <= flat.min() and flat.max() <= limit):
            beyond = (flat < -limit) | (flat > limit) if integer else ~(np.abs(flat) <= limit)
            bad = beyond & ~np.isfinite(flat) if plain.saturate else beyond
            if bad.any():
                first = int(bad.argmax())
                raise ValueOutOfRange(begin + first, flat[first].item(), limit)
        begin += flat.size


def encode_masked(
    plain: Plain, out: npt.NDArray[Any], *, seeds: Seeds, start: int, rounding: Secret, threads: int = 1
) -> int:
    """Write encode(plain) + masks into `out` (ring words) and return how many values were clipped.

    `start` is the streams' word at out[0]. Raises `ValueOutOfRange` with the index into the joined parts;
    `out` is then to be thrown away.
    """
    if out.size != plain.length:
        raise ParameterError(f"{plain.length} values do not fit {out.size} words")
    flat = [np.ascontiguousarray(part).reshape(-1) for part in plain.parts]
    share = max(_WORTH_A_THREAD, -(-out.size // max(1, threads)))
    share += -share % CHUNK_WORDS
    ranges = [(low, min(low + share, out.size)) for low in range(0, out.size, share)]

    def work(bounds: tuple[int, int]) -> int:
        low, high = bounds
        masks = MaskStream(seeds.plus, seeds.minus, dtype=out.dtype, start=start + low)
        noise = Keystream(rounding, offset=_ROUNDING_BYTES * low)
        clipped = 0
        for part, first, place in _pieces(flat, low, high):
            target = out[place : place + part.size]
            try:
                clipped += plain.encoder.encode(
                    part, target, noise, saturate=plain.saturate, weight=plain.weight
                )
            except ValueOutOfRange as problem:
                raise problem.shifted(first) from None
            masks.add_to(target)
        return clipped

    if len(ranges) <= 1:
        return sum(map(work, ranges))
    with ThreadPoolExecutor(len(ranges)) as pool:
        return sum(pool.map(work, ranges))


def _pieces(
    flat: Sequence[npt.NDArray[Any]], low: int, high: int
) -> Iterator[tuple[npt.NDArray[Any], int, int]]:
    """Cut words [low, high) of the joined arrays into cache-sized pieces: (values, index, place in out)."""
    begin = 0
    for part in flat:
        first, last = max(low, begin), min(high, begin + part.size)
        for place in range(first, last, CHUNK_WORDS):
            stop = min(place + CHUNK_WORDS, last)
            yield part[place - begin : stop - begin], place, place
        begin += part.size
