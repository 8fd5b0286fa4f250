"""The ring Z_2^b of the sum, and how values become ring words.

Carrying. Words travel in b bits and are carried in the next machine word: 24 bits in uint32, 40 in uint64.
Sums are taken mod 2^32 or 2^64 and reduced mod 2^b when they are packed or decoded; that is sound because 2^b
divides 2^32 or 2^64. Words are two's complement: residues from 2^(b-1) on stand for negative numbers.

Headroom. n parties may each contribute words of at most limit = floor((2^(b-1) - 1) / n) in absolute value;
no sum can wrap then. `FixedPoint` maps the clip (times the largest weight) to limit (1 - 2^-20): the last
2^-20 keeps a value at the clip from passing the limit when it is rounded, in float64 and to a neighbour.

Stochastic rounding. With m = weight scale 2^32 in float64, n a keystream word read as int32 (4 bytes per
value in every ring), RN rounding to float64 and RNE to the nearest integer (ties to even):

    word = RNE(RN(RN(x m) + n) / 2^32) mod 2^b

which is floor(x weight scale + u) for u uniform in [0, 1), up to the resolution of the keystream (2^-32) and
of float64 (2^-53 of the value): a value is rounded up with the probability of its fraction. The standard
deviation of one rounding is sqrt(f (1 - f)) steps of 1/scale for a fraction f, at most 1/2, so that of the
mean of n values is at most 1/(2 scale sqrt n). The last rounding is one addition, of 1.5 2^84: float64 has
its last bit at 2^32 there, so that the low bits of the mantissa are the word.

What floats do to a secret in time is out of scope: NumPy is not constant-time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.crypto.errors import ValueOutOfRange as ValueOutOfRange
from silo.crypto.prg import CHUNK_BYTES, Keystream, scratch

_CARRIERS: Final[dict[int, np.dtype[Any]]] = {
    16: np.dtype("<u2"),
    24: np.dtype("<u4"),
    32: np.dtype("<u4"),
    40: np.dtype("<u8"),
}
CHUNK_WORDS: Final = CHUNK_BYTES // 4
"""Values per step: the chunk of a mask stream of 4-byte words, so that both walk over a vector in step."""

_NOISE_BITS: Final = 32
_ROUNDER: Final = 1.5 * 2.0**84
_MARGIN: Final = 1 - 2.0**-20


@dataclass(frozen=True, slots=True)
class Ring:
    """Integers mod 2^bits, bits one of 16, 24, 32, 40."""

    bits: int

    def __post_init__(self) -> None:
        if self.bits not in _CARRIERS:
            raise ParameterError(f"a ring has 16, 24, 32 or 40 bits, not {self.bits}")

    @classmethod
    def of(cls, bits: int) -> Ring:
        """Return the ring of so many bits. Raises `ParameterError` for what is not 16, 24, 32 or 40."""
        return cls(bits)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The unsigned machine word that carries a ring word."""
        return _CARRIERS[self.bits]

    @property
    def mask(self) -> int:
        """2^bits - 1."""
        return (1 << self.bits) - 1

    @property
    def wire_bytes(self) -> int:
        """Bytes of one packed word."""
        return self.bits // 8

    def limit(self, parties: int) -> int:
        """The largest absolute value that each of `parties` can add without wrapping the sum."""
        if parties < 1:
            raise ParameterError(f"a sum has at least one party, not {parties}")
        return ((1 << (self.bits - 1)) - 1) // parties

    def signed(self, words: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Read words as two's complement integers of b bits. Raises `ParameterError` for another dtype."""
        if words.dtype != self.dtype:
            raise ParameterError(
                f"words of {self.bits} bits are carried in {self.dtype}, not in {words.dtype}"
            )
        spare = 64 - self.bits
        wide = words.astype(np.uint64)
        np.left_shift(wide, np.uint64(spare), out=wide)
        signed = wide.view(np.int64)
        return np.right_shift(signed, np.int64(spare), out=signed)


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """Reals of at most `clip` in absolute value, times weights up to `max_weight`, for `parties` parties.

    Raises `ParameterError` for a clip, weight or number of parties that leaves no room.
    """

    ring: Ring
    clip: float
    parties: int
    max_weight: float = 1.0
    scale: float = field(init=False)

    def __post_init__(self) -> None:
        for name, figure in (("clip", self.clip), ("largest weight", self.max_weight)):
            if not (math.isfinite(figure) and figure > 0):
                raise ParameterError(f"the {name} is a positive number, not {figure}")
        limit = self.ring.limit(self.parties)
        if limit < 2:
            raise ParameterError(
                f"{self.ring.bits} bits leave {self.parties} parties {limit} steps each, two are the least: "
                "take more bits"
            )
        reach = float(self.clip) * float(self.max_weight)
        scale = limit * _MARGIN / reach if reach > 0 else math.inf
        if not (math.isfinite(reach) and 2.0**-900 < scale < 2.0**900):
            raise ParameterError(
                f"a clip of {self.clip} and weights to {self.max_weight} cannot be scaled in float64: "
                "bring the values nearer to 1"
            )
        object.__setattr__(self, "scale", scale)

    def mean_error_bound(self, n: int) -> float:
        """Bound the standard deviation of the rounding error of a mean of n values: 1/(2 scale sqrt n)."""
        return 1 / (2 * self.scale * math.sqrt(_count(n)))

    def max_error(self, n: int) -> float:
        """Bound the rounding error of a *sum* of n encoded values: less than a step of 1/scale each.

        (The 2^-10 covers float64's own rounding of products with up to 39 bits before the point.)
        """
        return _count(n) * (1 + 2.0**-10) / self.scale

    def encode(
        self,
        values: npt.NDArray[Any],
        out: npt.NDArray[Any],
        rounding: Keystream,
        *,
        saturate: bool,
        weight: float = 1.0,
    ) -> int:
        """Write weight * values as words into `out`; return how many values were clipped.

        `rounding` gives 4 bytes per value. Raises `ValueOutOfRange` for the first value (by flat index) that
        is NaN, infinite or, unless `saturate`, beyond the clip; `out` then holds the chunks before it.
        """
        flat, words = _aligned(
            values, out, self.ring, "f", "floats of 16 to 64 bits: give integers to `Exact`"
        )
        if not 0 <= weight <= self.max_weight:
            raise ParameterError(f"a weight lies in 0 to {self.max_weight}, not at {weight}")
        factor = weight * self.scale * 2.0**_NOISE_BITS
        step = min(CHUNK_WORDS, len(flat))
        exact = scratch(8 * step).view(np.float64)
        noise = scratch(4 * step).view(np.int32)
        clipped = 0
        for at in range(0, len(flat), CHUNK_WORDS):
            piece = flat[at : at + CHUNK_WORDS]
            size = len(piece)
            clipped += self._load(piece, exact[:size], at, saturate)
            np.multiply(exact[:size], factor, out=exact[:size])
            rounding.fill(noise[:size])
            np.add(exact[:size], noise[:size], out=exact[:size])
            np.add(exact[:size], _ROUNDER, out=exact[:size])
            self._store(exact[:size], words[at : at + size])
        return clipped

    def decode(self, words: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Read words, or a sum of them over up to `parties` parties, as reals."""
        reals = self.ring.signed(words).astype(np.float64)
        return np.divide(reals, self.scale, out=reals)

    def _load(self, piece: npt.NDArray[Any], exact: npt.NDArray[np.float64], at: int, saturate: bool) -> int:
        # Python floats compare exactly; a NaN makes both extremes NaN and every comparison false.
        low, high = float(piece.min()), float(piece.max())
        exact[:] = piece
        if -self.clip <= low and high <= self.clip:
            return 0
        beyond = ~(np.abs(exact) <= self.clip)
        bad = beyond & ~np.isfinite(exact) if saturate else beyond
        if bad.any():
            first = int(bad.argmax())
            raise ValueOutOfRange(at + first, float(exact[first]), self.clip)
        np.clip(exact, -self.clip, self.clip, out=exact)
        return int(np.count_nonzero(beyond))

    def _store(self, exact: npt.NDArray[np.float64], words: npt.NDArray[Any]) -> None:
        if self.ring.bits == 40:
            np.bitwise_and(exact.view(np.uint64), np.uint64(self.ring.mask), out=words)
        else:
            words[:] = exact.view(self.ring.dtype)[:: 8 // self.ring.dtype.itemsize]


@dataclass(frozen=True, slots=True)
class Exact:
    """Integers of at most `limit` in absolute value, for `parties` parties; sums are exact."""

    ring: Ring
    parties: int
    limit: int = field(init=False)

    def __post_init__(self) -> None:
        limit = self.ring.limit(self.parties)
        if limit < 1:
            raise ParameterError(
                f"{self.ring.bits} bits leave {self.parties} parties no room: take more bits"
            )
        object.__setattr__(self, "limit", limit)

    def encode(
        self,
        values: npt.NDArray[Any],
        out: npt.NDArray[Any],
        rounding: Keystream | None = None,
        *,
        saturate: bool,
        weight: float = 1.0,
    ) -> int:
        """Write integers as words into `out`; return how many were clipped. `rounding` is not read.

        Raises `ValueOutOfRange` for the first value beyond the limit unless `saturate`, and `ParameterError`
        for a weight other than 1: multiply integers before.
        """
        flat, words = _aligned(values, out, self.ring, "iub", "integers: give reals to `FixedPoint`")
        if weight != 1:
            raise ParameterError(f"integers are summed with weight 1, not {weight}: multiply them before")
        clipped = 0
        for at in range(0, len(flat), CHUNK_WORDS):
            piece = flat[at : at + CHUNK_WORDS]
            clipped += self._store(piece, words[at : at + len(piece)], at, saturate)
        return clipped

    def decode(self, words: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Read words, or a sum of them over up to `parties` parties, as integers."""
        return self.ring.signed(words)

    def _store(self, piece: npt.NDArray[Any], words: npt.NDArray[Any], at: int, saturate: bool) -> int:
        low, high = int(piece.min()), int(piece.max())
        clipped = 0
        if low < -self.limit or high > self.limit:
            # Here `piece` is no bool; a limit beyond what its dtype holds cannot be passed on that side.
            held = np.iinfo(piece.dtype)
            bottom, top = max(int(held.min), -self.limit), min(int(held.max), self.limit)
            beyond = (piece < bottom) | (piece > top)
            if not saturate:
                first = int(beyond.argmax())
                raise ValueOutOfRange(at + first, int(piece[first]), self.limit)
            piece = np.clip(piece, bottom, top)
            clipped = int(np.count_nonzero(beyond))
        np.copyto(words, piece, casting="unsafe")
        return clipped


def _aligned(
    values: npt.NDArray[Any], out: npt.NDArray[Any], ring: Ring, kinds: str, wanted: str
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    if values.dtype.kind not in kinds or values.dtype.itemsize > 8:
        raise ParameterError(f"values of type {values.dtype} cannot be encoded here, only {wanted}")
    if out.dtype != ring.dtype or out.ndim != 1 or out.size != values.size:
        raise ParameterError(
            f"{values.size} values need as many {ring.dtype} words in a row, not {out.shape} of {out.dtype}"
        )
    return values.reshape(-1), out


def _count(n: int) -> int:
    if n < 1:
        raise ParameterError(f"an error bound is over at least one value, not {n}")
    return n
