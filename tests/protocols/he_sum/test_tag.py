"""Tags add up exactly when the words do, for every width, and for nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from silo.crypto.rng import InsecureSeededRng
from silo.crypto.secret import Secret
from silo.protocols.he_sum import tag

KEY = Secret(b"k" * 32)


def slow(words: list[int], key: Secret) -> int:
    """The same sum in whole numbers."""
    from silo.crypto import labels
    from silo.crypto.keys import derive
    from silo.crypto.prg import Keystream

    factors = np.empty(len(words) + tag._CHUNK, np.uint64)
    Keystream(derive(key, labels.bind(labels.SUM_CHECK))).fill(factors)
    return sum((int(r) & tag.PRIME) * u for r, u in zip(factors.tolist(), words, strict=False)) % tag.PRIME


@pytest.mark.parametrize("bits", [16, 24, 32, 40])
@pytest.mark.parametrize("length", [0, 1, tag._CHUNK - 1, tag._CHUNK, 2 * tag._CHUNK + 5])
def test_it_is_the_weighted_sum(bits: int, length: int) -> None:
    words = np.random.default_rng(bits).integers(0, 1 << bits, length, np.uint64)
    words[:3] = (1 << bits) - 1
    zero = tag.of(words[:0], KEY, "ada")
    assert (tag.of(words, KEY, "ada") - zero) % tag.PRIME == slow(words.tolist(), KEY)


def test_sums_have_the_sum_of_the_tags() -> None:
    names = ["ada", "bob", "cyd"]
    inputs = np.random.default_rng(1).integers(0, 1 << 30, (3, 10_000), np.uint64)
    total = sum(tag.of(words, KEY, name) for words, name in zip(inputs, names, strict=True))
    sums = inputs.sum(axis=0)
    assert total % tag.PRIME == tag.expected(sums, KEY, names)
    assert total % tag.PRIME != tag.expected(sums, KEY, names[:2])
    assert total % tag.PRIME != tag.expected(sums, Secret(InsecureSeededRng(1).bytes(32)), names)
    sums[77] += 1
    assert total % tag.PRIME != tag.expected(sums, KEY, names)
    assert 2 * total % tag.PRIME != tag.expected(2 * inputs.sum(axis=0), KEY, names)
