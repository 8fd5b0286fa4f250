"""The benchmarks of vertical models and of split learning: their own parts, and one small run of each member."""

from __future__ import annotations

import hashlib
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from silo.bench import Settings, vertical_cost
from silo.bench.measure import Run, Side, Timing
from silo.bench.processes import Measured
from silo.cli.bench import bench
from silo.crypto import labels
from silo.crypto.rng import SystemRng
from silo.crypto.signing import SigningKey
from silo.errors import InvalidSignature, ParameterError

SMALL = Settings(rows=10_000)


def swept(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Costs that grow with the rows, by a made-up clock; returns what was measured."""
    asked: list[tuple[str, int]] = []

    def fit(
        model: str, scheme: str, *, rows: int, columns: int, most: int, members: int
    ) -> tuple[Any, float]:
        asked.append((model, rows * columns * members))
        return None, rows * columns * members / 1e6 + 0.01

    monkeypatch.setattr(vertical_cost, "fit", fit)
    return asked


def test_a_sweep_varies_one_thing_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, lines = swept(monkeypatch), []
    found = vertical_cost.sweep(SMALL, lines.append)
    assert list(found) == ["rows", "columns", "members"]
    assert list(found["rows"]["linear"]) == [1000, 10_000]
    assert len(asked) == 2 * (2 + 5 + 4)
    assert len(lines) == 1 + 2 + 5 + 4


def test_a_slope_is_the_power_of_the_last_two_points() -> None:
    assert vertical_cost.slope({10: 1.0, 100: 5.0, 1000: 50.0}) == pytest.approx(1.0)
    assert vertical_cost.slope({1000: 400.0, 100: 4.0}) == pytest.approx(2.0)


def test_the_command_draws_and_tells(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    swept(monkeypatch)
    path = tmp_path / "cost.svg"
    done = CliRunner().invoke(bench, ["vertical", "--quick", "--plot", str(path), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert told["cost"]["rows"]["linear"]["slope"] == pytest.approx(1.0, abs=0.03)
    assert "<svg" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "file", "said"),
    [
        ("psi", "cost.svg", "--plot is for"),
        ("vertical", "cost.txt", "--plot takes"),
        ("vertical", "no/cost.svg", ""),
    ],
)
def test_a_picture_that_cannot_be_is_refused_first(name: str, file: str, said: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(bench, [name, "--plot", str(tmp_path / file)])
    assert isinstance(done.exception, ParameterError)
    assert said in str(done.exception)


def test_a_picture_checks_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    swept(monkeypatch)
    done = CliRunner().invoke(bench, ["vertical", "--plot", "cost.svg", "--check"])
    assert isinstance(done.exception, ParameterError)
    assert "--plot measures no bar" in str(done.exception)


def test_the_bytes_of_a_row_are_planned_by_the_formula() -> None:
    pytest.importorskip("torch")
    from silo.bench import split
    from silo.protocols.split.terms import FRAME

    assert split.batches(24_000) == 47
    assert split.planned(24_000, "small") == pytest.approx(64 + 47 * FRAME / 24_000)
    assert split.planned(24_000, "wide") == pytest.approx(256 + 47 * FRAME / 24_000)


def test_an_echo_goes_through_a_third_process_and_is_told_for_many() -> None:
    from silo.bench.echo import echoed

    often = echoed(1000, 1000)()
    # A thousand turns of some tenths of a millisecond; a machine that is busy takes some times as long.
    assert 0.05 < often.wall < 60
    assert 0.01 < often.cpu < 60


def test_an_echo_checks_what_comes() -> None:
    from silo.bench import echo

    own, body = SigningKey.generate(rng=SystemRng()), b"rows"
    here, there = socket.socketpair()
    with here:
        signature = own.sign(labels.ENVELOPE, hashlib.sha256(body).digest())
        there.sendall(signature + body + signature + b"ROWS")
        assert echo.heard(here, len(body), own.public) == body
        with pytest.raises(InvalidSignature):
            echo.heard(here, len(body), own.public)
        there.close()
        with pytest.raises(ParameterError, match="other end"):
            echo.heard(here, len(body), own.public)


def test_an_epoch_stands_beside_the_same_messages_over_bare_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from silo.bench import split

    asked: list[tuple[int, int]] = []
    told = Measured({0: (0.0, 1.0)}, {}, {"member-0": 1, "member-1": 1})

    def echoed(size: int, times: int) -> Side:
        asked.append((size, times))
        return lambda: Run(0.5 * times * 1e-3, 0.0)

    def alternate(sides: Any, *, repeats: int, warm_up: int) -> Any:
        walls = [split.batches(600) * seconds for seconds in (1e-3, 4e-3, 5e-3)]
        for side in sides[1:3]:
            side()
        return (*(Timing((Run(wall, wall),)) for wall in walls), Timing((sides[3](),)))

    monkeypatch.setattr(split, "echoed", echoed)
    monkeypatch.setattr(split, "federation", lambda *given, **options: told)
    monkeypatch.setattr(split, "alternate", alternate)
    first, *_ = split.epochs(Settings(split=600))
    assert asked[0] == (4 * 512 * 16, 2)
    assert first.value == pytest.approx(4)
    assert first.note.endswith(
        "add 3.00 ms to a batch, where the bar leaves 0.50, and bare sockets with two signatures take 0.50"
    )


@pytest.mark.parametrize("what", ["small-plain/1", "small-noised/2"])
def test_members_train_a_split_network_in_processes(what: str) -> None:
    pytest.importorskip("torch")
    from silo.bench.processes import FIT, federation

    told = federation(2, 600, 2, protocol=f"{FIT}:split:{what}:3")
    assert told.done == 2
    assert told.cpu > 0
    assert min(told.sent.values()) > 600 * 2 * 64
