from __future__ import annotations

from itertools import count

import numpy as np
import pytest

from silo.crypto.ckks import comparison
from silo.crypto.ckks.comparison import NVFLARE, TENSEAL_4096, Setting, plain_tenseal, this_package
from silo.crypto.errors import ParameterError
from silo.crypto.rng import InsecureSeededRng

RNG = InsecureSeededRng(0)
VALUES = 4095 * 4


@pytest.fixture(scope="module")
def summands() -> list[np.ndarray]:
    pytest.importorskip("tenseal")
    return [np.random.default_rng(seed).normal(size=VALUES) for seed in range(3)]


def ticks() -> float:
    return float(next(_TICKS))


_TICKS = count()


@pytest.fixture(scope="module")
def nvflare(summands: list[np.ndarray]) -> comparison.Figures:
    return plain_tenseal(NVFLARE, summands, ticks)


@pytest.mark.parametrize(
    ("bits", "with_seeds", "bound"), [(32, False, 0.29), (40, False, 0.57), (32, True, 0.15)]
)
def test_bytes_and_error_hold_against_nvflares_setting(
    summands: list[np.ndarray], nvflare: comparison.Figures, bits: int, with_seeds: bool, bound: float
) -> None:
    ours = this_package(bits, summands, ticks, rng=RNG, with_seeds=with_seeds)
    assert ours.bytes_per_value <= bound * nvflare.bytes_per_value
    assert ours.relative_error <= 1e-7
    assert nvflare.relative_error <= 1e-7


@pytest.mark.parametrize("setting", [NVFLARE, TENSEAL_4096])
def test_time_is_the_callers(summands: list[np.ndarray], setting: Setting) -> None:
    found = plain_tenseal(setting, summands, ticks)
    assert (found.encrypt_seconds, found.add_seconds, found.decrypt_seconds) == (1 / 3, 1, 1)
    found = this_package(32, summands, ticks, rng=RNG)
    assert (found.encrypt_seconds, found.add_seconds, found.decrypt_seconds) == (1 / 3, 1, 1)


def test_tenseal_prints_nothing(summands: list[np.ndarray], capfd: pytest.CaptureFixture[str]) -> None:
    plain_tenseal(NVFLARE, summands, ticks)
    assert capfd.readouterr() == ("", "")


def test_nothing_cannot_be_compared() -> None:
    for nothing in ([], [np.zeros(0)], [np.zeros(3)]):
        with pytest.raises(ParameterError, match="not zero"):
            plain_tenseal(NVFLARE, nothing, ticks)
        with pytest.raises(ParameterError, match="not zero"):
            this_package(32, nothing, ticks, rng=RNG)


def test_without_tenseal_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(comparison, "import_module", missing)
    with pytest.raises(ParameterError, match=r"pip install '\.\[he\]'"):
        plain_tenseal(NVFLARE, [np.ones(3)], ticks)
