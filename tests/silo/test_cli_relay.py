"""What the relay says of each round, for people."""

from __future__ import annotations

import pytest

from silo.aggregator import Finished
from silo.cli.relay import line
from silo.protocols.errors import TooFewParties, UnlikeTerms


@pytest.mark.parametrize(
    ("finished", "said"),
    [
        (
            Finished(3, "train/round", ("ann", "bob"), {"eve": "SILO-302"}, (), None, 0.123),
            "round 3 train/round: a sum of 2 members, without eve; 0.12 s",
        ),
        (
            Finished(3, "sum", ("ann",), {}, ("bob",), None, 0.5),
            "round 3 sum: a sum of 1 member, wrong shares from bob; 0.50 s",
        ),
        (
            Finished(1, "intersect", (), {}, (), None, 0.001),
            "round 1 intersect: the members were called and go on by themselves, with nothing to add up here; 0.00 s",
        ),
        (
            Finished(1, "fit", (), {}, (), UnlikeTerms("the members disagree about width of the cut"), 0.001),
            "round 1 fit: the members were called and go on by themselves, with nothing to add up here; 0.00 s",
        ),
    ],
)
def test_a_round_is_told_in_words(finished: Finished, said: str) -> None:
    assert line(finished) == said


def test_a_round_without_a_sum_counts_nobody() -> None:
    problem = TooFewParties(3, ["ann"], "the roll call", ["bob", "eve"])
    said = line(Finished(2, "sum", (), {"bob": "SILO-303"}, (), problem, 0.1))
    assert said == f"round 2 sum: no sum, without bob; [{problem.code}] {problem}"
    assert "0 members" not in said
