"""Masking makes one copy of the vector and no more, whatever the ring."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from silo.crypto.masking import Plain, Seeds
from silo.crypto.ring import FixedPoint, Ring
from silo.crypto.rng import InsecureSeededRng
from silo.crypto.secret import Secret
from silo.protocols.secagg import vector
from tests.protocols.secagg.federation import Federation

LENGTH = 4_000_000
SCRATCH = 12 * 1024 * 1024
"""Cache-sized buffers of two threads: they do not grow with the vector."""


@pytest.mark.parametrize("bits", [16, 24, 32, 40])
def test_one_copy_beside_the_input(bits: int) -> None:
    rng = InsecureSeededRng(5)
    seeds = Seeds(plus=(Secret.random(32, rng=rng),) * 3, minus=(Secret.random(32, rng=rng),) * 3)
    parameters = Federation(5, bits=bits, length=LENGTH).context.parameters
    parts = (np.zeros((1000, 1000), np.float32), np.zeros(LENGTH - 10**6, np.float32))
    plain = Plain(parts, FixedPoint(Ring.of(bits), 1.0, 5))
    copy = LENGTH * parameters.ring.dtype.itemsize
    tracemalloc.start()
    try:
        payload = vector.mask(plain, parameters, seeds, rng=rng, threads=2)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(payload) == parameters.payload_bytes
    assert copy < peak < copy + SCRATCH


def test_the_aggregator_holds_one_vector_however_many_come() -> None:
    parameters = Federation(5, length=LENGTH).context.parameters
    payload = bytes(parameters.payload_bytes)
    tracemalloc.start()
    try:
        total = vector.Accumulator(parameters)
        for _ in range(6):
            total.add(payload)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * LENGTH + SCRATCH
