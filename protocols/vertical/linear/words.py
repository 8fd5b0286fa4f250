"""Scores and other real numbers as ring words, masked so that only their sum over the hosts can be read.

A number x is rint(x 2^36) modulo 2^64. Every two hosts share a keystream under their channel keys of the round; the
earlier name adds it, the later takes it away. With one host there is nobody to hide behind, and the words are plain.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto import labels
from silo.crypto.errors import ParameterError
from silo.crypto.keys import AgreementKey
from silo.crypto.prg import MaskStream
from silo.crypto.secret import Secret
from silo.protocols.errors import UnexpectedMessage
from silo.protocols.vertical.context import Context

POINT: Final = 36
WORD_BYTES: Final = 8
PIECE: Final = 1 << 17
"""Words of a piece, a MiB: of 2^24 rows there are 128, and who is fast is not far ahead of who is slow."""
LARGEST: Final = 2.0**22
"""No number is beyond this: sums over 16 hosts stay below 2^26, and the ring ends at 2^27."""

Floats = npt.NDArray[np.float64]
Words = npt.NDArray[np.uint64]


def encode(numbers: Floats, what: str) -> Words:
    """Numbers as words. Raises `ParameterError` for one that is not finite, or too large."""
    if not (np.abs(numbers) <= LARGEST).all():
        raise ParameterError(
            f"{what} would be beyond {LARGEST:.0f}: scale the columns, for example to a mean of 0 and a deviation of "
            "1, and in a regression the labels"
        )
    found: Words = np.rint(numbers * 2.0**POINT).astype(np.int64).view(np.uint64)
    return found


def decode(words: Words) -> Floats:
    """The numbers of (a sum of) words."""
    found: Floats = words.view(np.int64).astype(np.float64) / 2.0**POINT
    return found


def read(raw: bytes) -> Words:
    """Words as they travelled."""
    return np.frombuffer(raw, "<u8").astype(np.uint64)


class Masks:
    """One host's masks against the other hosts, read in order through all passes of a round.

    `dtype` is that of the words, one and the same through the round.
    """

    __slots__ = ("_dtype", "_minus", "_plus", "_used")

    def __init__(
        self, context: Context, me: str, own: AgreementKey, dtype: npt.DTypeLike = np.uint64
    ) -> None:
        where = context.bearings
        self._dtype, self._used = np.dtype(dtype), 0
        self._plus: list[Secret] = []
        self._minus: list[Secret] = []
        for peer in context.hosts:
            if peer == me:
                continue
            first, second = sorted((me, peer))
            info = labels.bind(
                labels.VERTICAL_MASK, where.parameters, where.session, where.round, first, second
            )
            try:
                seed = own.agree(context.channels[peer], info)
            except ParameterError as problem:
                raise UnexpectedMessage(
                    f"its channel key cannot be used: {problem}", culprits=(peer,), round=context.round
                ) from None
            (self._plus if me == first else self._minus).append(seed)

    def hide(self, words: npt.NDArray[Any]) -> bytes:
        """The words under the next of the masks; no mask is used twice."""
        masked = words.copy()
        MaskStream(self._plus, self._minus, dtype=self._dtype, start=self._used).add_to(masked)
        self._used += len(masked)
        return masked.tobytes()

    def __repr__(self) -> str:
        return "Masks(redacted)"
