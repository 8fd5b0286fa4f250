"""What plain TenSEAL costs with others' parameters, beside this package: the rows of the benchmark.

`NVFLARE` has floats in real slots at scale 2^40, as that framework's clients send them; `TENSEAL_EXAMPLE` is
what TenSEAL's own first example builds. All run through TenSEAL's public interface, as their users would. Time
is read from the clock that the caller gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto.ckks import keys, seeded, vector
from silo.crypto.errors import ParameterError
from silo.crypto.ring import Ring
from silo.crypto.rng import Rng


@dataclass(frozen=True, slots=True)
class Setting:
    """Parameters for plain TenSEAL: degree, bits of the moduli, bits of the scale."""

    name: str
    degree: int
    moduli: tuple[int, ...]
    scale_bits: int


NVFLARE: Final = Setting("TenSEAL 8192 [60,40,60]", 8192, (60, 40, 60), 40)
TENSEAL_EXAMPLE: Final = Setting("TenSEAL 8192 [60,40,40,60]", 8192, (60, 40, 40, 60), 40)
TENSEAL_4096: Final = Setting("TenSEAL 4096 [60,49]", 4096, (60, 49), 40)


@dataclass(frozen=True, slots=True)
class Figures:
    """One sum: seconds of the caller's clock for one summand and one decryption; error against the largest value."""

    name: str
    bytes_per_value: float
    encrypt_seconds: float
    add_seconds: float
    decrypt_seconds: float
    relative_error: float


def plain_tenseal(
    setting: Setting, summands: Sequence[npt.NDArray[np.float64]], clock: Callable[[], float]
) -> Figures:
    """Sum float vectors with plain TenSEAL. Raises `ParameterError` without it, or without a summand."""
    expected = _expected(summands)
    try:
        tenseal: Any = import_module("tenseal")
    except ModuleNotFoundError:
        raise ParameterError(
            "the comparison needs TenSEAL: run `pip install '.[he]'` in Silo's source folder"
        ) from None
    private = tenseal.context(tenseal.SCHEME_TYPE.CKKS, setting.degree, -1, list(setting.moduli))
    private.global_scale = 2.0**setting.scale_bits
    # TenSEAL prints a warning for a vector of several ciphertexts: give it one at a time.
    slots = setting.degree // 2
    starts = range(0, expected.size, slots)
    begin = clock()
    sent = [
        [tenseal.ckks_vector(private, values[at : at + slots].tolist()).serialize() for at in starts]
        for values in summands
    ]
    encrypted = clock()
    totals = []
    for pieces in zip(*sent, strict=True):
        total = tenseal.ckks_vector_from(private, pieces[0])
        for piece in pieces[1:]:
            total += tenseal.ckks_vector_from(private, piece)
        totals.append(total.serialize())
    added = clock()
    found = np.concatenate([tenseal.ckks_vector_from(private, raw).decrypt() for raw in totals])
    decrypted = clock()
    return Figures(
        setting.name,
        sum(map(len, sent[0])) / expected.size,
        (encrypted - begin) / len(summands),
        added - encrypted,
        decrypted - added,
        _relative_error(found, expected),
    )


def this_package(
    bits: int,
    summands: Sequence[npt.NDArray[np.float64]],
    clock: Callable[[], float],
    *,
    rng: Rng,
    with_seeds: bool = False,
) -> Figures:
    """Sum the same vectors with this package, encoding included. Raises `ParameterError` without a summand.

    With seeds, the sender holds the key, and expanding counts as adding.
    """
    expected = _expected(summands)
    count, parties = expected.size, len(summands)
    private = keys.generate(rng=rng)
    public = private.public
    limit = Ring.of(bits).limit(parties) - 1
    steps = limit / max(float(np.abs(values).max(initial=0)) for values in summands)
    begin = clock()
    sent: list[vector.Payload] = []
    for values in summands:
        words = (np.rint(values * steps) + limit).astype(Ring.of(bits).dtype)
        if with_seeds:
            sent.append(seeded.encrypt(words, private, bits, rng=rng))
        else:
            sent.append(vector.encrypt(words, public, bits, rng=rng))
    encrypted = clock()
    total = vector.Sum(public, count, bits)
    for payload in sent:
        total.add(seeded.expand(payload, public, count, bits) if with_seeds else payload)
    raw = total.payload()
    added = clock()
    found = vector.decrypt(raw, private, count, bits, summands=parties)
    reals = (found.astype(np.float64) - limit * parties) / steps
    decrypted = clock()
    return Figures(
        f"Silo 4096 [60,49], {bits} bits{', seeded' if with_seeds else ''}",
        len(sent[0]) / count,
        (encrypted - begin) / parties,
        added - encrypted,
        decrypted - added,
        _relative_error(reals, expected),
    )


def _expected(summands: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    if not summands or not summands[0].size or not any(values.any() for values in summands):
        raise ParameterError("a comparison needs at least one vector that is not zero")
    total: npt.NDArray[np.float64] = np.sum(summands, axis=0)
    return total


def _relative_error(found: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())
