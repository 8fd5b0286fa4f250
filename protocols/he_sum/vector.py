"""The words of one input, and how their exact sum is read again.

A word is u = s + limit, where s is the fixed-point or whole number of the ring and `limit` the largest that each of n
members may add: so words are not negative, and the sum of n of them stays below 2^bits. No slot can overflow into the
next one while everybody is honest, by construction; a sum that an honest cohort cannot have is refused.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from silo.crypto import masking
from silo.crypto.errors import ParameterError
from silo.crypto.masking import Plain, Seeds
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret
from silo.protocols.he_sum import tag
from silo.protocols.he_sum.parameters import Parameters
from silo.protocols.total import MAX_WEIGHT, WEIGHT_UNIT, Total


def encode(
    plain: Plain, parameters: Parameters, *, rng: Rng, threads: int, key: Secret | None = None, me: str = ""
) -> npt.NDArray[Any]:
    """Head and body as `parameters.count` words below 2^bits; with a `key`, `me`'s tag is in the head.

    Raises `ValueOutOfRange`, `ParameterError`.
    """
    if plain.length != parameters.length:
        raise ParameterError(
            f"the vector has {plain.length} values, the round was agreed for {parameters.length}"
        )
    if not 0 <= plain.weight <= MAX_WEIGHT:
        raise ParameterError(f"a weight is between 0 and {MAX_WEIGHT:.0f}, not {plain.weight}")
    ring = parameters.ring
    words = np.empty(parameters.count, ring.dtype)
    body = words[parameters.head :]
    clipped = masking.encode_masked(
        plain, body, seeds=Seeds(), start=0, rounding=Secret.random(32, rng=rng), threads=threads
    )
    np.add(body, ring.dtype.type(ring.limit(parameters.parties)), out=body)
    np.bitwise_and(body, ring.dtype.type(ring.mask), out=body)
    fields = (1, round(plain.weight * WEIGHT_UNIT), clipped)
    words[: parameters.head] = 0
    words[: parameters.tag.start] = [limb for field in fields for limb in _limbs(field, parameters)]
    if key is not None:
        words[parameters.tag] = _limbs(tag.of(words, key, me), parameters)
    return words


def decode(
    sums: npt.NDArray[Any], parameters: Parameters, survivors: Collection[str], *, key: Secret | None = None
) -> Total:
    """Read the sum of the survivors' words. Raises `ParameterError` when it cannot be one.

    With a `key` the tag is looked at first: for who lacks the key nothing else can fail.
    """
    names, ring = tuple(sorted(survivors)), parameters.ring
    if sums.shape != (parameters.count,):
        raise ParameterError(f"a sum has {parameters.count} words, not {sums.size}")
    head = [int(word) for word in sums[: parameters.head]]
    if key is not None:
        rest = sums.copy()
        rest[parameters.tag] = 0
        said = sum(limb << parameters.limb_bits * at for at, limb in enumerate(head[parameters.tag]))
        if said % tag.PRIME != tag.expected(rest, key, names):
            raise ParameterError("its tag is not that of the sum of the survivors' inputs")
    fields = [
        sum(
            limb << parameters.limb_bits * place
            for place, limb in enumerate(head[at : at + parameters.limbs])
        )
        for at in range(0, parameters.tag.start, parameters.limbs)
    ]
    canary, weight, saturated = fields
    if canary != len(names):
        raise ParameterError(f"the canary is not {len(names)}, one per survivor")
    if weight > len(names) * MAX_WEIGHT * WEIGHT_UNIT or saturated > len(names) * parameters.length:
        raise ParameterError("the weight or the count of clipped values is more than the survivors can have")
    limit = ring.limit(parameters.parties)
    found = sums[parameters.head :]
    if found.size and int(found.max()) > 2 * limit * len(names):
        place = int(found.argmax())
        raise ParameterError(f"value {place} is out of the range of {len(names)} honest inputs")
    body = found.astype(ring.dtype)
    # From sums of u = s + limit back to sums of s, in two's complement mod 2^bits.
    np.subtract(body, ring.dtype.type(limit * len(names)), out=body)
    np.bitwise_and(body, ring.dtype.type(ring.mask), out=body)
    return Total(body, weight / WEIGHT_UNIT, saturated, names)


def _limbs(field: int, parameters: Parameters) -> list[int]:
    mask = (1 << parameters.limb_bits) - 1
    return [field >> parameters.limb_bits * place & mask for place in range(parameters.limbs)]
