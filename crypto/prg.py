"""The mask stream: AES-128 in counter mode (NIST SP 800-38A), added into an accumulator of ring words.

Layout. A seed is 32 bytes: the first 16 are the AES-128 key k, the last 16 the initial counter block c, a
big-endian integer. Keystream block i is AES_k((c + i) mod 2^128). Word j of a stream of w-byte words is the
little-endian integer in keystream bytes [j w, (j + 1) w). The stream can be entered at any byte.

Security: a seed comes from HKDF and is used for one stream only. The stream is then indistinguishable from
uniform up to the PRP/PRF switch, about q^2 / 2^129 for q blocks: 2^-84 for a stream of 64 MiB.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from silo.crypto.errors import ParameterError, UsageError, refuse_pickle
from silo.crypto.secret import Secret

if sys.byteorder != "little":  # pragma: no cover
    raise UsageError(
        "Silo lays out ring words in little-endian order: run it on such a processor (x86-64, ARM64)"
    )

SEED_BYTES: Final = 32
BLOCK_BYTES: Final = 16
CHUNK_BYTES: Final = 512 * 1024
"""Bytes per step, by measurement (L2 1 MiB). One thread is near its best from 128 KiB on; two hand the
interpreter lock to each other at every call, and gain 1.5 with 128 KiB but 1.6 to 1.8 with 512."""

_LINE: Final = 64
_ZEROS: Final = memoryview(bytes(CHUNK_BYTES))


class Keystream:
    """One keystream, read in order from byte `offset` on."""

    __slots__ = ("_stream",)

    def __init__(self, seed: Secret, *, offset: int = 0) -> None:
        if len(seed) != SEED_BYTES:
            raise ParameterError(f"a keystream seed has {SEED_BYTES} bytes, not {len(seed)}")
        if offset < 0:
            raise ParameterError(f"a keystream starts at byte 0 or later, not at {offset}")
        raw = seed.reveal()
        block, skip = divmod(offset, BLOCK_BYTES)
        counter = (int.from_bytes(raw[BLOCK_BYTES:], "big") + block) % 2**128
        mode = modes.CTR(counter.to_bytes(BLOCK_BYTES, "big"))
        self._stream = Cipher(algorithms.AES(raw[:BLOCK_BYTES]), mode).encryptor()
        self._stream.update(bytes(skip))

    def fill(self, out: npt.NDArray[Any]) -> None:
        """Overwrite a C-contiguous array with the next keystream bytes."""
        if not out.flags.c_contiguous:
            raise ParameterError("a keystream fills contiguous arrays only: give it a contiguous copy")
        if out.size == 0:
            return
        target = out.reshape(-1).view(np.uint8).data
        for at in range(0, len(target), CHUNK_BYTES):
            piece = target[at : at + CHUNK_BYTES]
            self._stream.update_into(_ZEROS[: len(piece)], piece)

    def __repr__(self) -> str:
        return "Keystream(<secret>)"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


class MaskStream:
    """The sum of several keystreams minus the sum of others, as words, read in order from word `start` on.

    It holds one chunk of scratch memory and belongs to one thread.
    """

    __slots__ = ("_buffer", "_minus", "_plus", "_raw", "_word")

    def __init__(
        self, plus: Sequence[Secret], minus: Sequence[Secret], *, dtype: npt.DTypeLike, start: int = 0
    ) -> None:
        self._word = _word(dtype)
        offset = start * self._word.itemsize
        self._plus = [Keystream(seed, offset=offset)._stream for seed in plus]
        self._minus = [Keystream(seed, offset=offset)._stream for seed in minus]
        raw = scratch(CHUNK_BYTES)
        self._raw = raw.data
        self._buffer = raw.view(self._word)

    def add_to(self, view: npt.NDArray[Any]) -> None:
        """Add the next len(view) words of every stream to `view`, in place, mod 2^(8 w)."""
        if view.dtype != self._word or view.ndim != 1:
            raise ParameterError(f"a mask of {self._word} words does not fit {view.ndim}-d {view.dtype}")
        for at in range(0, len(view), len(self._buffer)):
            piece = view[at : at + len(self._buffer)]
            mask = self._buffer[: len(piece)]
            target = self._raw[: mask.nbytes]
            zeros = _ZEROS[: mask.nbytes]
            for stream in self._plus:
                stream.update_into(zeros, target)
                np.add(piece, mask, out=piece)
            for stream in self._minus:
                stream.update_into(zeros, target)
                np.subtract(piece, mask, out=piece)

    def __repr__(self) -> str:
        return f"MaskStream(<{len(self._plus)} plus, {len(self._minus)} minus>)"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


def accumulate(
    acc: npt.NDArray[Any],
    *,
    plus: Sequence[Secret] = (),
    minus: Sequence[Secret] = (),
    start: int = 0,
    threads: int = 1,
) -> None:
    """Add whole streams to a one-dimensional array of words; `start` is the streams' word at acc[0].

    The result does not depend on `threads`: each thread enters the streams at its own first word.
    """
    if threads < 1:
        raise ParameterError(f"masking takes at least one thread, not {threads}")
    _word(acc.dtype)
    step = CHUNK_BYTES // acc.dtype.itemsize
    share = -(-len(acc) // threads)
    share += -share % step

    def work(low: int) -> None:
        MaskStream(plus, minus, dtype=acc.dtype, start=start + low).add_to(acc[low : low + share])

    lows = range(0, len(acc), max(share, 1))
    if len(lows) <= 1:
        for low in lows:
            work(low)
        return
    with ThreadPoolExecutor(len(lows)) as pool:
        list(pool.map(work, lows))


def scratch(count: int) -> npt.NDArray[np.uint8]:
    """Return `count` uninitialised bytes that start on a cache line, as vector instructions like it."""
    raw = np.empty(count + _LINE, np.uint8)
    skip = -raw.ctypes.data % _LINE
    return raw[skip : skip + count]


def _word(dtype: npt.DTypeLike) -> np.dtype[Any]:
    word = np.dtype(dtype)
    if word.kind != "u" or not word.isnative:
        raise ParameterError(f"masks are added to unsigned little-endian words, not to {word}")
    return word
