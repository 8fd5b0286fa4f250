from __future__ import annotations

import pytest

from silo.crypto.ckks.keys import PrivateKey, generate
from silo.crypto.rng import InsecureSeededRng


@pytest.fixture(scope="session")
def private() -> PrivateKey:
    pytest.importorskip("tenseal")
    return generate(rng=InsecureSeededRng(0))


@pytest.fixture(scope="session")
def other() -> PrivateKey:
    pytest.importorskip("tenseal")
    return generate(rng=InsecureSeededRng(0))
