"""Masks between the hosts of a vertical model, so that only the sum over all of them can be read.

Every two hosts share a keystream under their channel keys of the round; the earlier name adds it, the later takes it
away. With one host there is nobody to hide behind, and what leaves is plain.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from silo.crypto import labels
from silo.crypto.errors import ParameterError
from silo.crypto.keys import AgreementKey
from silo.crypto.prg import MaskStream
from silo.crypto.secret import Secret
from silo.protocols.errors import UnexpectedMessage
from silo.protocols.vertical.context import Context


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
