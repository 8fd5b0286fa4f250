"""The audits find what is injected, and nothing in correct code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

from silo.audit import noise, size  # noqa: E402
from silo.cli import cli  # noqa: E402
from silo.crypto.rng import InsecureSeededRng, SystemRng  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rng() -> InsecureSeededRng:
    return InsecureSeededRng(11)


def test_one_run_catches_a_quarter_of_the_noise_and_nothing_in_correct_code() -> None:
    honest, faulty = noise.canaries(rng=rng()), noise.canaries(rng=rng(), weaken=0.25)
    assert honest.claimed_epsilon <= 1.2
    assert 0 < honest.lower_bound < honest.claimed_epsilon
    assert not honest.caught
    assert faulty.caught


def test_more_noise_than_claimed_proves_less() -> None:
    assert noise.canaries(rng=rng(), weaken=4.0).lower_bound < noise.canaries(rng=rng()).lower_bound


def test_two_worlds_see_a_difference_at_all() -> None:
    quick = noise.worlds(rng=rng(), runs=1500, weaken=0.2)
    assert quick.claimed_epsilon <= 1.2
    assert quick.caught


@pytest.mark.slow
def test_two_worlds_catch_four_fifths_of_the_noise() -> None:
    honest, faulty = noise.worlds(rng=rng()), noise.worlds(rng=rng(), weaken=0.8)
    assert honest.claimed_epsilon <= 1.2
    assert not honest.caught
    assert honest.lower_bound > 0.7 * honest.claimed_epsilon
    assert faulty.caught


@pytest.mark.slow
def test_correct_code_raises_no_false_alarm() -> None:
    """Of 100 audits with fresh noise each, at most 5 may accuse correct code."""
    alarms = sum(noise.canaries(rng=SystemRng()).caught for _ in range(100))
    # Where two worlds have fewer runs the bound is lower, and false alarms as rare: they are by the confidence.
    alarms += sum(noise.worlds(rng=SystemRng(), runs=1000).caught for _ in range(100))
    assert alarms <= 5


@pytest.mark.parametrize(("trials", "theirs"), [(200, 40), pytest.param(1000, 200, marks=pytest.mark.slow)])
def test_the_size_does_not_show_and_the_attack_sees(trials: int, theirs: int) -> None:
    found = size.compare(rng=rng(), trials=trials, opacus_trials=theirs)
    assert found.opacus_accuracy >= 0.95
    # Guessing 200 times by a coin passes .60 with probability .998; 1,000 times .55 with .9992.
    assert found.silo_accuracy <= (0.55 if trials == 1000 else 0.6)
    assert found.sees


@pytest.mark.parametrize(("trials", "limit"), [(100, 0.658), (250, 0.6), (1000, 0.55), (100_000, 0.55)])
def test_a_coin_is_hardly_ever_taken_for_a_fault(trials: int, limit: float) -> None:
    found = size.Found(limit - 0.005, trials, 1.0, 20, 0.1)
    assert found.limit == pytest.approx(limit, abs=0.001)
    assert not found.caught
    assert size.Found(limit + 0.005, trials, 1.0, 20, 0.1).caught


def run(*arguments: str, code: int) -> Any:
    found = CliRunner().invoke(cli, ["audit", *arguments])
    assert found.exit_code == code, found.output
    return found


def test_the_commands_say_what_they_found() -> None:
    document = json.loads(run("noise", "--one-run", "--json", code=0).stdout)
    assert not document["caught"]
    assert document["audits"][0]["lower_bound"] < document["audits"][0]["claimed_epsilon"]
    assert "a fault" in run("noise", "--one-run", "--inject", "0.2", code=1).stdout
    said = run("size", "--trials", "100", code=0).stdout
    assert "the same attack on plain Opacus: 100.0% of 20" in said


@pytest.mark.parametrize(
    "arguments", [("noise", "--inject", "0"), ("noise", "--inject", "-1"), ("size", "--trials", "3")]
)
def test_mistakes_are_one_sentence(arguments: tuple[str, ...]) -> None:
    assert "SILO-101" in run(*arguments, code=2).stderr
