"""The rules that members hold, whatever an aggregator or a charter proposes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from silo.crypto.errors import ParameterError
from silo.protocols.codec import MAX_PARTIES
from silo.protocols.cohort import Survivors, Votes
from silo.protocols.errors import TooFewParties
from silo.protocols.roster import Roster
from silo.protocols.secagg import client
from silo.protocols.secagg.context import Context, bitmap, named
from silo.protocols.secagg.messages import Directory
from silo.protocols.secagg.parameters import Parameters
from tests.attacks.scene import Scene, m
from tests.protocols.secagg.federation import Federation

GOOD: dict[str, Any] = {
    "parties": 5,
    "threshold": 4,
    "minimum_cohort": 3,
    "colluders": 1,
    "bits": 32,
    "length": 5,
    "blinded": False,
    "degree": 0,
    "binding": bytes(32),
}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"parties": 1, "threshold": 1, "minimum_cohort": 1}, "2 to 4096 parties"),
        ({"parties": MAX_PARTIES + 1}, "2 to 4096 parties"),
        ({"colluders": 5}, "colluders"),
        ({"colluders": -1}, "colluders"),
        ({"minimum_cohort": 1}, "minimum cohort of 1"),
        ({"minimum_cohort": 6}, "minimum cohort of 6"),
        ({"threshold": 3}, "2t > n"),
        ({"threshold": 6}, "2t > n"),
        ({"threshold": 1, "colluders": 0}, "2t > n"),
        ({"threshold": 4, "colluders": 3}, "2t > n"),
        ({"length": -1}, "length"),
        ({"binding": bytes(31)}, "binding"),
        ({"bits": 33}, "ring"),
        ({"degree": 3, "threshold": 2}, "degree 3"),
        ({"degree": 6, "threshold": 2}, "degree 6"),
        ({"degree": -2, "threshold": 2}, "degree -2"),
        ({"degree": 4, "threshold": 5}, "threshold 5"),
        ({"degree": 4, "threshold": 1}, "threshold 1"),
        ({"degree": 4, "threshold": 3, "blinded": True}, "blinded sum needs the complete graph"),
    ],
)
def test_unsound_parameters_are_refused(change: dict[str, Any], match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        Parameters(**(GOOD | change))


@pytest.mark.parametrize("n", range(2, 13))
def test_no_two_disjoint_sets_of_honest_answers_can_both_reach_the_threshold(n: int) -> None:
    for colluders in range(n):
        for threshold in range(n + 2):
            sound = 2 <= threshold <= n and 2 * (threshold - colluders) > n - colluders
            fields = GOOD | {
                "parties": n,
                "threshold": threshold,
                "colluders": colluders,
                "minimum_cohort": 2,
            }
            if not sound:
                with pytest.raises(ParameterError):
                    Parameters(**fields)
                continue
            parameters = Parameters(**fields)
            # Two quorums share an honest signer, and nobody unmasks without one.
            assert 2 * (parameters.quorum - colluders) > n - colluders
            assert parameters.fewest >= max(parameters.quorum, parameters.threshold) > colluders


@pytest.mark.parametrize("n", range(3, 13))
def test_the_quorum_of_a_regular_graph_is_as_strict(n: int) -> None:
    for colluders in range(n):
        parameters = Parameters(
            **(GOOD | {"parties": n, "degree": 2, "threshold": 2, "colluders": colluders})
        )
        assert 2 * (parameters.quorum - colluders) > n - colluders
        assert parameters.quorum <= n


def test_every_parameter_changes_the_digest() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"parties": 6},
        {"threshold": 5},
        {"minimum_cohort": 4},
        {"colluders": 2},
        {"bits": 24},
        {"length": 6},
        {"blinded": True},
        {"degree": 4, "threshold": 4, "colluders": 0},
        {"binding": b"\1" * 32},
    ]
    digests = {Parameters(**(GOOD | change)).digest() for change in changes if change != {"colluders": 2}}
    assert len(digests) == len(changes) - 1


def test_the_cohort_is_held_by_the_members_at_every_step() -> None:
    for stage in ("directory", "survivors", "votes"):
        s = Scene(Federation(5, threshold=3, cohort=5, length=5), stage)
        told = s.told["m0000"]
        field = told.__struct_fields__[0]
        fewer = {"directory": Directory, "survivors": Survivors, "votes": Votes}[stage](
            getattr(told, field)[:4]
        )
        few = s.refuses("m0000", fewer, TooFewParties)
        assert (few.required, len(few.present)) == (5, 4)
        s.finish()


def test_two_members_sum_only_together() -> None:
    s = Scene(Federation(2, length=2), "delivery")
    assert s.context.parameters.fewest == 2
    s.refuses("m0000", type(s.told["m0000"])(()), TooFewParties)
    s.advance()
    s.refuses("m0000", Survivors(s.receipts("m0000")), TooFewParties)
    s.finish()
    for total in s.totals.values():
        assert np.array_equal(total.words, [1, 1])


def test_the_roster_of_a_context_is_that_of_its_parameters() -> None:
    fed = Federation(5)
    fewer = fed.context.roster.only(m(0, 1, 2))
    assert fewer.names == m(0, 1, 2)
    with pytest.raises(ParameterError, match="the roster has 3 parties, the parameters 5"):
        Context(fed.session, 1, fewer, "relay", fed.context.parameters)
    with pytest.raises(ParameterError, match="not in the roster"):
        client.advertise(fed.context, "mallory", rng=fed.rngs["m0000"])


def test_a_roster_has_one_key_for_each_and_a_place_for_each() -> None:
    with pytest.raises(ParameterError, match="same signing key"):
        Roster.of({"a": b"k" * 32, "b": b"k" * 32})
    one, two = Roster.of({"b": b"2" * 32, "a": b"1" * 32}), Roster.of({"a": b"1" * 32, "b": b"2" * 32})
    assert one.digest() == two.digest()
    assert one.names == ("a", "b")
    assert [one.point(name) for name in one] == [1, 2]
    digests = {one.digest(), Roster.of({"a": b"2" * 32, "b": b"1" * 32}).digest()}
    digests |= {Roster.of({"a": b"1" * 32}).digest(), Roster.of({"ab": b"1" * 32}).digest()}
    assert len(digests) == 4


@pytest.mark.parametrize("n", [2, 7, 8, 9, 17])
def test_bitmaps_name_members_one_to_one(n: int) -> None:
    roster = Federation(n).context.roster
    for names in (
        frozenset(),
        frozenset(roster.names),
        frozenset(roster.names[::2]),
        frozenset(roster.names[-1:]),
    ):
        assert named(roster, bitmap(roster, names)) == names
    full = bitmap(roster, frozenset(roster.names))
    for wrong in (b"", full + b"\0", full[:-1] + bytes([full[-1]]) + b"\1"):
        with pytest.raises(ParameterError, match="does not fit"):
            named(roster, wrong)
    if n % 8:
        with pytest.raises(ParameterError, match="does not fit"):
            named(roster, b"\xff" * len(full))
