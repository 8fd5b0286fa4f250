"""The benchmarks' own parts. What they measure is not asserted here: no test depends on wall time."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from silo.bench import BENCHES, Row, Settings, flower_peer, machine, measurements, secagg
from silo.bench.flower_peer import NoFlower, Peer
from silo.bench.measure import Run, Timing, alternate, timed
from silo.cli.bench import bench
from silo.errors import ParameterError

SMALL = Settings(length=1000, repeats=2, slow_repeats=2)

FAKE_FLOWER = """
import json, sys
print(json.dumps({"flwr": "9.9"}), flush=True)
for line in sys.stdin:
    length, neighbours = map(int, line.split())
    print(json.dumps({"wall": 1e6, "cpu": 5e5, "bytes": 8 * length + neighbours}), flush=True)
"""


@pytest.fixture
def fake_flower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An "interpreter" that speaks the peer's protocol, whatever script it is given."""
    script = tmp_path / "fake.py"
    script.write_text(FAKE_FLOWER)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}"\n')
    python.chmod(0o755)
    monkeypatch.setenv(flower_peer.PYTHON_VARIABLE, str(python))
    return script


@pytest.fixture
def no_flower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(flower_peer.PYTHON_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(flower_peer, "__file__", str(tmp_path / "silo" / "bench" / "flower_peer.py"))
    monkeypatch.setattr(flower_peer.importlib.util, "find_spec", lambda name: None)


def row(value: float | None, bound: float = 2.0, direction: str = "at most") -> Row:
    return Row("speed", value, "times", "a peer", bound, direction)  # type: ignore[arg-type]


def invoke(monkeypatch: pytest.MonkeyPatch, rows: list[Row], *options: str) -> Result:
    def part(settings: Settings) -> Iterator[Row]:
        yield from rows

    monkeypatch.setattr(secagg, "MEASUREMENTS", (part,))
    monkeypatch.setattr(machine, "free_cores", lambda watch: 1.5)
    return CliRunner().invoke(bench, ["secagg", *options])


def test_sides_alternate_and_the_order_turns() -> None:
    order: list[str] = []

    def side(name: str) -> Run:
        order.append(name)
        assert not gc.isenabled()
        return Run(len(order), 0.5)

    first, second = alternate([lambda: side("a"), lambda: side("b")], repeats=2, warm_up=1)
    assert "".join(order) == "abbaab"
    assert [run.wall for run in first.runs] == [4, 5]
    assert [run.wall for run in second.runs] == [3, 6]
    assert gc.isenabled()


def test_the_collector_is_back_after_a_failure() -> None:
    def broken() -> Run:
        raise KeyError

    with pytest.raises(KeyError):
        alternate([broken], repeats=1)
    assert gc.isenabled()


def test_no_repeat_is_refused() -> None:
    with pytest.raises(ParameterError, match="at least once"):
        alternate([timed(lambda: None)], repeats=0)


def test_a_timing_tells_median_spread_and_cores() -> None:
    timing = Timing((Run(1.0, 1.0), Run(9.0, 2.0), Run(2.0, 3.0)))
    assert (timing.median, timing.low, timing.high) == (2.0, 1.0, 9.0)
    assert timing.spread == 4.0
    assert timing.cores == 0.5
    assert timing.to_json()["runs"] == 3


@pytest.mark.parametrize(
    ("value", "direction", "holds"),
    [
        (2.0, "at most", True),
        (2.1, "at most", False),
        (2.0, "at least", True),
        (1.9, "at least", False),
        (None, "at most", False),
        (None, "at least", False),
        (float("nan"), "at most", False),
    ],
)
def test_a_bar_holds_or_not(value: float | None, direction: str, holds: bool) -> None:
    assert row(value, direction=direction).holds is holds


def test_every_benchmark_named_is_there() -> None:
    assert all(measurements(name) for name in BENCHES)
    with pytest.raises(ParameterError, match="no benchmark 'os'"):
        measurements("os")


def test_the_bars_of_the_masked_sum(fake_flower: Path) -> None:
    parts = (
        secagg.masking_against_keystream,
        secagg.two_threads,
        secagg.step_against_flower,
        secagg.upload_bytes,
        secagg.secret_sharing,
    )
    assert {*parts} <= {*secagg.MEASUREMENTS}
    rows = [found for part in parts for found in part(SMALL)]
    assert [(found.bound, found.direction) for found in rows] == [
        (1.5, "at most"),
        (1.5, "at most"),
        (1.4, "at least"),
        (15.0, "at least"),
        (1.01, "at most"),
        (1.01, "at most"),
        (3.0, "at most"),
        (0.1, "at most"),
    ]
    assert all(found.value is not None and found.value > 0 for found in rows)
    flower = rows[3]
    assert flower.holds
    assert "flwr 9.9, its one thread" in flower.sides
    assert flower.sides["flwr 9.9, its one thread"].median == 1e6
    assert "Flower 8.01" in flower.note


def test_the_bytes_of_an_upload_are_those_of_the_frame() -> None:
    big, quick = Settings(length=100_000), Settings(length=10)
    assert all(found.holds for found in secagg.upload_bytes(big))
    assert not any(found.holds for found in secagg.upload_bytes(quick))


def test_without_flower_the_row_says_so_and_does_not_hold(no_flower: None) -> None:
    (found,) = secagg.step_against_flower(SMALL)
    assert found.value is None
    assert not found.holds
    assert found.note.startswith("flwr not installed: run `make bench`")


def test_an_interpreter_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(flower_peer.PYTHON_VARIABLE, str(tmp_path / "python"))
    with pytest.raises(NoFlower, match="names no file"):
        flower_peer.interpreter()


def test_the_environment_of_make_bench_is_found(
    no_flower: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / ".venv-bench" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert Path(flower_peer.interpreter()) == python


def test_a_python_without_flower_says_so() -> None:
    if flower_peer.importlib.util.find_spec("flwr") is not None:
        pytest.skip("this Python has Flower")
    with pytest.raises(NoFlower, match="flwr not installed"):
        Peer(sys.executable)


def test_a_peer_that_stops_is_told(fake_flower: Path) -> None:
    fake_flower.write_text(FAKE_FLOWER.partition("for line")[0] + "sys.stdin.readline()\n")
    (found,) = secagg.step_against_flower(SMALL)
    assert found.value is None
    assert "stopped" in found.note


def test_both_sides_get_values_within_the_clip_that_differ() -> None:
    values = flower_peer.values(10_000)
    assert values.dtype == np.float32
    assert np.abs(values).max() <= flower_peer.CLIP
    assert abs(values.mean()) < 0.01
    assert len(np.unique(values)) > 9_900


def test_the_machine_names_no_host_and_no_path() -> None:
    import socket

    told = json.dumps(machine.describe(watch=0.01))
    assert socket.gethostname() not in told or len(socket.gethostname()) < 4
    assert str(Path.home()) not in told or str(Path.home()) == "/"


def test_json_has_its_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    result = invoke(monkeypatch, [row(1.0)], "--json", "--quick")
    document = json.loads(result.stdout)
    assert set(document) == {"bench", "machine", "rows"}
    assert document["bench"] == "secagg"
    assert document["machine"]["free_cores"] == 1.5
    (one,) = document["rows"]
    assert one["holds"] is True
    assert {"name", "value", "unit", "against", "bound", "holds"} <= set(one)


def test_check_fails_on_a_bar_that_does_not_hold_and_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(1.0), row(3.0)]
    assert invoke(monkeypatch, rows).exit_code == 0
    failed = invoke(monkeypatch, rows, "--check")
    assert failed.exit_code == 1
    assert "1 of 2 bars do not hold: speed" in failed.stderr
    assert "SHORT  speed" in failed.stdout
    assert invoke(monkeypatch, rows[:1], "--check").exit_code == 0


def test_check_fails_on_what_was_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = invoke(monkeypatch, [row(None)], "--check", "--json")
    assert failed.exit_code == 1
    assert json.loads(failed.stdout)["rows"][0]["value"] is None
    assert "not measured" in invoke(monkeypatch, [row(None)]).stdout
