"""Histograms of encrypted numbers, for trees on columns that two parties hold: one contract, several schemes.

Source: Cheng et al., "SecureBoost", IEEE Intelligent Systems 36 (2021). The label party (`Owner`) encrypts a few
signed integers for each row, its channels (gradient, hessian, a count), packed into one plaintext. The party with
binned columns (`Adder`) adds the rows of a node for each bin of each feature, packs the sums of several bins into one
ciphertext, and returns them under fresh randomness. The owner decrypts exact sums.

Adversary: a semi-honest owner, and an adder of any kind. The adder learns the number of rows. The owner learns the sums
of each bin, and no more of how the adder's columns divide the rows. An owner that lies about its values can write
other numbers into a plaintext than agreed, and read back which rows were added: as many bits from each returned
ciphertext as its plaintext has; nothing under encryption can be compared with `Terms`. An adder that lies can return
any sums; what is out of the agreed range is refused, and the key is then used no more: refusals tell one bit in all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import DecryptionFailed, ParameterError
from silo.crypto.rng import Rng

Payload = bytes | bytearray | memoryview
Values = npt.NDArray[np.int64]
Run = Callable[[Callable[[Any], bytes], Iterable[Any]], Iterable[bytes]]
"""Does a list of jobs, in order: `map`, or the `map` of a pool of processes of the same party."""

MOST_CHANNELS: Final = 16
MOST_BINS: Final = 1 << 16
GUARD_BITS: Final = 48
"""Bits of a plaintext that stay empty: what is not a sum decrypts into the agreed range with at most 2^-48."""
_WORD_BITS: Final = 62


@dataclass(frozen=True, slots=True)
class Terms:
    """What both agreed on: at most `rows` rows, and |v| <= limits[c] for each value of channel c."""

    rows: int
    limits: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.rows < 1 or not 1 <= len(self.limits) <= MOST_CHANNELS or min(self.limits) < 1:
            raise ParameterError(
                f"a histogram has a row, 1 to {MOST_CHANNELS} channels and limits from 1 on: agree on others"
            )
        if max(self.largest).bit_length() > _WORD_BITS:
            raise ParameterError(
                f"a sum of {self.rows} rows takes more than {_WORD_BITS} bits: agree on smaller limits"
            )

    @property
    def largest(self) -> tuple[int, ...]:
        """The largest sum of each channel."""
        return tuple(self.rows * limit for limit in self.limits)

    @property
    def widths(self) -> tuple[int, ...]:
        """Bits of each channel's slot: any sum of `rows` values, and its sign."""
        return tuple(most.bit_length() + 1 for most in self.largest)

    @property
    def bits(self) -> int:
        """Bits of all slots of a row."""
        return sum(self.widths)

    def bins(self, modulus_bits: int) -> int:
        """How many bins one ciphertext holds. Raises `ParameterError` where it is none."""
        found = (modulus_bits - 1 - GUARD_BITS) // self.bits
        if found < 1:
            raise ParameterError(
                f"plaintexts of {modulus_bits} bits have no room for slots of {self.bits}: "
                "take a larger key or smaller limits"
            )
        return found

    def check(self, values: npt.NDArray[Any]) -> None:
        """Raise `ParameterError` unless these are (n, channels) whole numbers within the terms."""
        fits = values.ndim == 2 and values.shape[1] == len(self.limits) and len(values) <= self.rows
        if values.dtype != np.int64 or not fits:
            raise ParameterError(
                f"the values are at most {self.rows} rows of {len(self.limits)} channels in int64, "
                f"not {values.shape} in {values.dtype}"
            )
        for place, limit in enumerate(self.limits):
            column = values[:, place]
            if column.size and not -limit <= int(column.min()) <= int(column.max()) <= limit:
                raise ParameterError(f"channel {place} has a value beyond the agreed {limit}: clip it before")

    def packed(self, values: Values) -> list[int]:
        """One signed number a row: each channel in its slot, borrowing from the next where it is negative.

        Neighbouring channels are put together in words of NumPy as far as they fit. Raises `ParameterError`.
        """
        self.check(values)
        total: list[int] | None = None
        word, begun, at = np.zeros(len(values), np.int64), 0, 0
        for place, (width, limit) in enumerate(zip(self.widths, self.limits, strict=True)):
            if at - begun + limit.bit_length() > _WORD_BITS:
                total = _raised(total, word, begun)
                word, begun = np.zeros(len(values), np.int64), at
            word += values[:, place] << at - begun
            at += width
        return _raised(total, word, begun)

    def apart(self, message: int, bins: int) -> list[list[int]]:
        """The sums of so many bins. Raises `DecryptionFailed` unless all are possible, and nothing is above them."""
        found, rest = [], message
        for _ in range(bins):
            row = []
            for width, most in zip(self.widths, self.largest, strict=True):
                half = 1 << width - 1
                value = (rest + half & 2 * half - 1) - half
                if not -most <= value <= most:
                    raise DecryptionFailed("an encrypted histogram holds what is no sum of the rows")
                row.append(value)
                rest = (rest - value) >> width
            found.append(row)
        if rest:
            raise DecryptionFailed("an encrypted histogram has values behind its end")
        return found

    def all_apart(self, messages: Sequence[int], modulus: int, bins: int) -> Values:
        """The sums of all bins, (bins, channels), from plaintexts below the modulus. Raises `DecryptionFailed`."""
        each = self.bins(modulus.bit_length())
        found: list[list[int]] = []
        for place, message in enumerate(messages):
            signed = message - modulus if message > modulus // 2 else message
            found += self.apart(signed, min(each, bins - place * each))
        return np.array(found, np.int64).reshape(bins, len(self.limits))


def _raised(total: list[int] | None, word: Values, by: int) -> list[int]:
    numbers: list[int] = word.tolist()
    if total is None:
        return numbers
    return [low + (high << by) for low, high in zip(total, numbers, strict=True)]


def ciphertexts(bins: int, each: int) -> int:
    """How many ciphertexts hold so many bins. Raises `ParameterError` for none, or too many."""
    if not 1 <= bins <= MOST_BINS:
        raise ParameterError(f"a histogram has 1 to {MOST_BINS} bins, not {bins}")
    return -(-bins // each)


def check_node(
    terms: Terms, n: int, node: npt.NDArray[Any], codes: npt.NDArray[Any], bins: Sequence[int]
) -> None:
    """Raise `ParameterError` unless `node` holds distinct rows of n, and `codes` (n, features) bins below `bins`."""
    if codes.dtype not in (np.uint8, np.uint16) or codes.shape != (n, len(bins)) or not len(bins):
        raise ParameterError(
            f"{n} rows take as many bins of {len(bins)} features in uint8 or uint16, not {codes.shape}"
        )
    if node.dtype != np.int64 or node.ndim != 1 or len(node) > terms.rows:
        raise ParameterError(f"a node is at most {terms.rows} positions of rows in int64")
    if len(node) and (not 0 <= int(node.min()) <= int(node.max()) < n or int(np.bincount(node).max()) > 1):
        raise ParameterError(f"a node has rows from 0 to {n - 1}, each once")
    if min(bins) < 1:
        raise ParameterError("a feature has at least one bin")
    for feature, most in enumerate(codes[node].max(axis=0).tolist() if len(node) else []):
        if most >= bins[feature]:
            raise ParameterError(
                f"feature {feature} has bins from 0 to {bins[feature] - 1}, and a row in another"
            )


class Owner(Protocol):
    """The label party's side: it has the key. Its `repr` shows nothing of it, and it cannot be pickled."""

    @property
    def public(self) -> bytes:
        """What the adders get: the public key, with its proof where there is one."""
        ...

    @property
    def width(self) -> int:
        """Bytes of a ciphertext."""
        ...

    def encrypt(self, values: Values, *, rng: Rng, parts: int = 1, run: Run = map) -> memoryview:
        """Encrypt (n, channels) values, a ciphertext a row. Raises `ParameterError` for what breaks the terms."""
        ...

    def decrypt(self, payload: Payload, bins: int) -> Values:
        """The sums, (bins, channels).

        Raises `ParameterError` for bytes that are no ciphertexts, `DecryptionFailed` if any plaintext is no sum: then
        nothing is given out, and the key opens nothing any more.
        """
        ...


class Adder(Protocol):
    """The side of a party that holds binned columns; made from the owner's `public` and the terms."""

    @property
    def width(self) -> int:
        """Bytes of a ciphertext."""
        ...

    def check(self, payload: Payload, n: int) -> None:
        """Refuse what is not n ciphertexts: length, range, units. Raises `ParameterError`."""
        ...

    def sums(
        self,
        rows: Payload,
        node: npt.NDArray[np.int64],
        codes: npt.NDArray[Any],
        bins: Sequence[int],
        *,
        rng: Rng,
        parts: int = 1,
        run: Run = map,
    ) -> memoryview:
        """Add the rows of a node (positions) in each bin of each feature.

        `rows` is a payload that `check` passed, `codes` (n, features) says in which bin a row is, in uint8 or uint16.
        All bins of the first feature come first, empty ones too; every ciphertext gets fresh randomness. Raises
        `ParameterError`.
        """
        ...
