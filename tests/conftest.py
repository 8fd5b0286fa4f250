"""What all tests share: no deadlines (a busy machine is no failure), and an insecure generator by name."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from silo.crypto.rng import InsecureSeededRng

settings.register_profile("silo", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("silo"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "silo")


@pytest.fixture
def insecure_rng() -> InsecureSeededRng:
    """The same bytes in every run."""
    return InsecureSeededRng(2017)
