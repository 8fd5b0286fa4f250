"""Powers made together are those made one by one."""

from __future__ import annotations

import pytest

from silo.crypto.okamoto_uchiyama import many_powers
from silo.crypto.paillier import fixed_base
from silo.crypto.secret import Secret

PRIME = 2**127 - 1


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 40])
@pytest.mark.parametrize("bits", [1, 10, 11, 64])
def test_they_are_the_same(count: int, bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_powers, "_TOGETHER", 8)
    seed = Secret(bytes(range(32)))
    together = list(many_powers.table(3, PRIME, bits).random_powers(count, seed))
    assert together == list(fixed_base.table(3, PRIME, bits).random_powers(count, seed))
    assert len(together) == count


def test_a_power_is_a_power() -> None:
    assert many_powers.table(5, PRIME, 30).power([1, 2, 3]) == pow(5, 1 + (2 << 10) + (3 << 20), PRIME)
