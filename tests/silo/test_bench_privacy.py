"""The benchmarks of the privacy budget, at tiny sizes. No time and no accuracy is asserted."""

from __future__ import annotations

import gzip
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from silo.bench import Row, Settings, dp, fashion, heart, ledger, measurements, scattering, utility
from silo.cli.bench import bench
from silo.errors import ParameterError

TINY = Settings(repeats=2, slow_repeats=1, appends=4, records=12, runs=3, steps=2, seeds=2, images=40)
SIZES = {"cleveland": 30, "hungarian": 24, "switzerland": 12, "va": 18}


@pytest.fixture
def hospitals(tmp_path: Path) -> Path:
    """Four made-up files in the form of the UCI heart data."""
    random = np.random.default_rng(7)
    for name, rows in SIZES.items():
        lines = []
        for place in range(rows):
            low = random.integers(30, 70)
            sick = place % 3
            lines.append(f"{low},1,{1 + place % 4},120,200,0,{place % 3},150,0,1.5,?,?,?,{sick}")
        (tmp_path / f"processed.{name}.data").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Made-up images and labels in the form of Fashion-MNIST."""
    random = np.random.default_rng(8)
    for part, rows in (("train", 60), ("t10k", 20)):
        pixels = random.integers(0, 256, (rows, 28, 28), dtype=np.uint8)
        write(tmp_path / f"{part}-images-idx3-ubyte.gz", pixels)
        write(tmp_path / f"{part}-labels-idx1-ubyte.gz", np.arange(rows, dtype=np.uint8) % 10)
    return tmp_path


def write(path: Path, values: np.ndarray) -> None:
    head = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.write_bytes(gzip.compress(head + values.tobytes()))


def rows_of(part: object, settings: Settings) -> list[Row]:
    return list(part(settings))  # type: ignore[operator]


def test_the_ledger_is_measured_with_as_many_records_and_runs_as_asked() -> None:
    found = [row for part in ledger.MEASUREMENTS for row in part(TINY)]
    assert [row.unit for row in found] == ["ms", "s", "s", "s", "s"]
    assert all(row.value is not None and row.value > 0 for row in found)
    assert "verify 12 records" in found[1].name
    assert all("3 different runs" in row.name for row in found[2:])
    pairs = found[0].sides["reserve and close, two records"]
    assert len(pairs.runs) == TINY.appends


def test_events_of_the_gate_are_all_different() -> None:
    assert len({ledger._event(number) for number in range(300)}) == 300
    with pytest.raises(ParameterError):
        ledger._event(10**6)


def test_a_step_is_compared_with_both_ways_of_opacus() -> None:
    (row,) = rows_of(dp.small, TINY)
    assert row.value is not None
    assert "with its loader" in row.against
    assert row.bound == 1.15
    assert len(row.sides) == 3
    assert "ready batches" in row.note


def test_both_sides_have_the_same_expected_batch() -> None:
    _, _, loader = dp._private(dp._PERCEPTRON)
    assert loader.sample_rate == 1 / dp._BATCHES
    assert len(dp._PERCEPTRON.rows()[0]) == dp._BATCHES * dp._PERCEPTRON.batch


def test_the_convolutions_have_the_size_that_is_named() -> None:
    model = dp.convolutions()
    assert sum(p.numel() for p in model.parameters()) == 26_010
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_digits_stay_within_the_epsilon_that_was_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utility, "DIGITS", replace(utility.DIGITS, steps=3))
    accuracy, epsilon = rows_of(utility.digits, TINY)
    assert accuracy.value is not None
    assert 0 <= accuracy.value <= 1
    assert "mean of 2 splits; deviation" in accuracy.note
    assert epsilon.holds
    assert epsilon.value is not None
    assert epsilon.value > 0


def test_hospitals_train_on_budgets_of_their_own(hospitals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utility, "_ROUNDS", 2)
    monkeypatch.setattr(utility, "HEART", replace(utility.HEART, steps=2))
    accuracy, epsilon = rows_of(utility.heart_hospitals, replace(TINY, data=hospitals, seeds=1))
    assert accuracy.value is not None, accuracy.note
    assert "long-beach" in accuracy.note
    # Infinite if anything had left without noise.
    assert epsilon.holds
    assert epsilon.value is not None
    assert math.isfinite(epsilon.value)


def test_a_seed_is_a_split(hospitals: Path) -> None:
    first, again, other = (heart.split(hospitals, seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(first.test_x, again.test_x)
    assert not np.array_equal(first.test_x, other.test_x)
    assert len(first.train_x) + len(first.test_x) == SIZES["cleveland"]


def test_fashion_is_trained_on_scattered_images(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utility, "FASHION", replace(utility.FASHION, steps=3))
    accuracy, epsilon = rows_of(utility.fashion_mnist, replace(TINY, fashion=images))
    assert accuracy.value is not None, accuracy.note
    assert "scattering" in accuracy.note
    assert epsilon.holds
    assert epsilon.bound == 2.7


@pytest.mark.parametrize("part", [utility.heart_hospitals, utility.fashion_mnist])
def test_data_that_is_not_here_is_said_and_does_not_hold(part: object, tmp_path: Path) -> None:
    (row,) = rows_of(part, replace(TINY, data=tmp_path, fashion=tmp_path))
    assert row.value is None
    assert not row.holds
    assert str(tmp_path) in row.note


def test_without_the_option_the_row_asks_for_it() -> None:
    (row,) = rows_of(utility.heart_hospitals, TINY)
    assert "--data" in row.note


@pytest.mark.parametrize(
    "raw",
    [
        b"no gzip",
        gzip.compress(b"\0\0\x08\x01\0\0\0\x02\x01"),
        gzip.compress(b"\0\0\x0d\x01\0\0\0\x01\x01"),
        gzip.compress(b"\0"),
        gzip.compress(b"\0\0\x08\x01\0\0\0\x01\x01")[:-6],
    ],
    ids=["no-gzip", "too-short", "other-type", "no-head", "cut-off"],
)
def test_a_broken_file_is_one_sentence(images: Path, raw: bytes) -> None:
    (images / "train-labels-idx1-ubyte.gz").write_bytes(raw)
    with pytest.raises(ParameterError, match="fetch it again"):
        fashion.load(images)


def test_labels_that_do_not_belong_are_refused(images: Path) -> None:
    write(images / "t10k-labels-idx1-ubyte.gz", np.full(20, 10, np.uint8))
    with pytest.raises(ParameterError, match="do not belong together"):
        fashion.load(images)


def test_wavelets_see_edges_and_no_brightness() -> None:
    transform = scattering.Scattering(28)
    flat = transform(torch.full((1, 28, 28), 0.7))
    assert flat.shape == (1, scattering.CHANNELS, 7, 7)
    torch.testing.assert_close(flat[0, 0], torch.full((7, 7), 0.7))
    assert float(flat[0, 1:].abs().max()) < 1e-5
    # Stripes that change from left to right answer to the wave of angle 0, and hardly to the one across.
    stripes = torch.cos(scattering._FREQUENCY * torch.arange(28.0)).expand(1, 28, 28)
    found = transform(stripes)[0, 1:9, 2:5, 2:5].mean(dim=(1, 2))
    assert int(found.argmax()) == 0
    assert float(found[0]) > 20 * float(found[4])


def test_features_of_an_image_do_not_depend_on_the_others() -> None:
    some = torch.rand(5, 28, 28, generator=torch.Generator().manual_seed(3))
    together = scattering.features(some, groups=27)
    alone = scattering.features(some[2:3], groups=27)
    torch.testing.assert_close(together[2:3], alone, rtol=1e-4, atol=1e-4)
    grouped = together.reshape(5, 27, -1)
    torch.testing.assert_close(grouped.mean(dim=2), torch.zeros(5, 27), rtol=0, atol=1e-4)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "silo.bench.dp")
    monkeypatch.setitem(sys.modules, "opacus", None)
    with pytest.raises(ParameterError, match="needs opacus"):
        measurements("dp")


def test_the_command_hands_the_folders_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Settings] = []

    def part(settings: Settings) -> list[Row]:
        seen.append(settings)
        return []

    monkeypatch.setattr(utility, "MEASUREMENTS", (part,))
    result = CliRunner().invoke(
        bench, ["utility", "--quick", "--data", str(tmp_path), "--fashion", str(tmp_path)]
    )
    assert result.exit_code == 0, result.output
    assert seen[0].data == seen[0].fashion == tmp_path
    assert seen[0].seeds == 2
