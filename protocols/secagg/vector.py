"""The payload of an upload and of the result: a head of 64-bit words, then the ring words packed to b bits.

Streams cover head and body as one: the head takes the first 8 x HEAD_WORDS bytes of every stream, the body
starts behind it. The head's words live in Z_2^64, the body's in Z_2^b.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from silo.crypto import masking, packing, prg
from silo.crypto.errors import ParameterError
from silo.crypto.masking import Plain, Seeds
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret
from silo.protocols.envelope import Buffer
from silo.protocols.secagg.parameters import Parameters
from silo.protocols.total import HEAD_WORDS, MAX_WEIGHT, WEIGHT_UNIT, Total

HEAD_BYTES = 8 * HEAD_WORDS
_HEAD = np.dtype("<u8")


def body_start(parameters: Parameters) -> int:
    """The first word of a stream that masks the body."""
    return HEAD_BYTES // parameters.ring.dtype.itemsize


def mask(plain: Plain, parameters: Parameters, seeds: Seeds, *, rng: Rng, threads: int) -> memoryview:
    """Encode, mask and pack one vector; the buffer that comes back is the only copy that was made."""
    if not 0 <= plain.weight <= MAX_WEIGHT:
        raise ParameterError(f"a weight is between 0 and {MAX_WEIGHT:.0f}, not {plain.weight}")
    dtype = parameters.ring.dtype
    buffer = np.empty(HEAD_BYTES + parameters.length * dtype.itemsize, np.uint8)
    words = buffer[HEAD_BYTES:].view(dtype)
    clipped = masking.encode_masked(
        plain,
        words,
        seeds=seeds,
        start=body_start(parameters),
        rounding=Secret.random(32, rng=rng),
        threads=threads,
    )
    head = buffer[:HEAD_BYTES].view(_HEAD)
    head[:] = (1, round(plain.weight * WEIGHT_UNIT), clipped)
    prg.accumulate(head, plus=seeds.plus, minus=seeds.minus)
    packing.pack(words, parameters.ring)
    return buffer.data[: parameters.payload_bytes]


class Accumulator:
    """The running sum of uploads, and what is taken off it: one vector, whatever the number of parties."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._head = np.zeros(HEAD_WORDS, _HEAD)
        self._words = np.zeros(parameters.length, parameters.ring.dtype)

    def check(self, payload: Buffer) -> None:
        """Refuse a payload of another size."""
        if len(payload) != self._parameters.payload_bytes:
            raise ParameterError(f"a payload has {self._parameters.payload_bytes} bytes, not {len(payload)}")

    def add(self, payload: Buffer) -> None:
        """Add one upload."""
        self.check(payload)
        view = memoryview(payload)
        self._head += np.frombuffer(view[:HEAD_BYTES], _HEAD)
        packing.add_packed(self._words, view[HEAD_BYTES:], self._parameters.ring)

    def unmask(self, seeds: Seeds, *, threads: int = 1) -> None:
        """Take masks off: `plus` was added by their owners and is subtracted here, `minus` the other way."""
        prg.accumulate(self._head, plus=seeds.minus, minus=seeds.plus)
        prg.accumulate(
            self._words,
            plus=seeds.minus,
            minus=seeds.plus,
            start=body_start(self._parameters),
            threads=threads,
        )

    def payload(self) -> memoryview:
        """Pack the sum; the accumulator is then used up."""
        packed = packing.pack(self._words, self._parameters.ring)
        return memoryview(b"".join((self._head.tobytes(), packed)))

    def total(self, survivors: Iterable[str]) -> Total:
        """Read the sum. Raises `ParameterError` if the canary does not count the survivors."""
        names = tuple(sorted(survivors))
        canary, weight, saturated = (int(word) for word in self._head)
        if canary != len(names):
            raise ParameterError(f"the canary is not {len(names)}, one per survivor")
        ring = self._parameters.ring
        if ring.bits < 8 * ring.dtype.itemsize:
            np.bitwise_and(self._words, ring.dtype.type(ring.mask), out=self._words)
        return Total(self._words, weight / WEIGHT_UNIT, saturated, names)


def read(
    payload: Buffer,
    parameters: Parameters,
    blinds: Sequence[Secret],
    survivors: Iterable[str],
    *,
    threads: int = 1,
) -> Total:
    """Read a result, taking the members' blinding off first. Raises `ParameterError`."""
    accumulator = Accumulator(parameters)
    accumulator.add(payload)
    if blinds:
        accumulator.unmask(Seeds(plus=tuple(blinds)), threads=threads)
    return accumulator.total(survivors)
