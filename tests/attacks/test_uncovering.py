"""Attacks that uncover one member, or a small group, while everybody votes for one and the same set.

1. Equivocation about who shared (U2): the victim is told of a few only, and masks with those; they are then
   declared lost, and their keys open all that hides the victim.
2. The arc: in a k-regular graph two runs of the ring are declared lost, and the survivors between them share
   no mask with the rest.
"""

from __future__ import annotations

import numpy as np
import pytest

from silo.crypto.errors import ParameterError
from silo.protocols.cohort import Survivors, Votes
from silo.protocols.errors import InconsistentSets, TooFewParties
from silo.protocols.secagg import drawing, graph, survivors
from silo.protocols.secagg.messages import Delivery
from tests.attacks.relay_math import Spoils
from tests.attacks.scene import Scene, m
from tests.protocols.secagg.federation import RELAY, Federation, expected

VICTIM = "m0000"
FEW = m(1, 2)
REST = m(3, 4)


def _told_of_few() -> tuple[Scene, Survivors]:
    """2t = n + 1, no colluders: the only case in which enough are left after the few are declared lost."""
    s = Scene(Federation(5, threshold=3, length=5), "delivery")
    box = s.told[VICTIM].packages
    s.told[VICTIM] = Delivery(tuple(package for package in box if package.peer in FEW))
    for name in s.here:
        s.states[name], upload, note = s.call(name)
        s.post(name, upload, note, accept=False)
    s.stage = "survivors"
    return s, Survivors(s.receipts(VICTIM, *REST))


def test_a_victim_that_masked_with_few_is_not_uncovered_by_declaring_them_lost() -> None:
    s, told = _told_of_few()
    for name in (VICTIM, *REST):
        s.refuses(
            name, told, InconsistentSets, RELAY, VICTIM, match="did not mask with its surviving neighbour"
        )
    # Nor is any other set with the victim in it, and without it the victim's seed stays closed.
    for others in (FEW + REST, FEW[:1] + REST, FEW):
        everybody = Survivors(s.receipts(VICTIM, *others))
        for name in others if set(others) & set(REST) else ():
            s.refuses(name, everybody, InconsistentSets, RELAY, VICTIM)
    without = Survivors(s.receipts(*FEW, *REST))
    s.refuses(VICTIM, without, InconsistentSets, RELAY, match="m0000's upload is not among the survivors")
    for name in (*FEW, *REST):
        s.states[name], vote = s.call(name, without)
        s.post(name, vote, accept=False)
    s.stage = "votes"
    votes = Votes(tuple(bytes(s.sent[name].frame) for name in (*FEW, *REST)))
    for name in (*FEW, *REST):
        _, answer = s.call(name, votes)
        assert VICTIM not in {one.owner for one in answer.seed_shares}


def test_that_attack_uncovers_the_victim_where_the_check_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survivors, "_require_cover", lambda *_: None)
    s, told = _told_of_few()
    answers = _vote_and_answer(s, (VICTIM, *REST), told)
    s.collecting = _Directory(s)
    got = Spoils(s, answers).uncover([VICTIM])
    assert np.array_equal(got, expected(s.plains, [VICTIM]))


class _Directory:
    def __init__(self, s: Scene) -> None:
        self.directory = s.collecting.directory


def _vote_and_answer(s: Scene, names: tuple[str, ...], told: Survivors) -> dict[str, object]:
    s.stage = "survivors"
    for name in names:
        s.states[name], vote = s.call(name, told)
        s.post(name, vote, accept=False)
    s.stage = "votes"
    votes = Votes(tuple(bytes(s.sent[name].frame) for name in names))
    return {name: s.call(name, votes)[1] for name in names}


def test_a_victim_told_of_too_few_masks_nothing() -> None:
    s = Scene(Federation(5, threshold=3, length=5), "delivery")
    box = s.told[VICTIM].packages
    few = s.refuses(VICTIM, Delivery(box[:1]), TooFewParties)
    assert (few.required, few.present, few.missing) == (3, ("m0001", VICTIM), m(2, 3, 4))
    s.refuses(VICTIM, Delivery(()), TooFewParties)
    s.finish()


@pytest.mark.parametrize("n", range(3, 12))
def test_the_attack_has_a_chance_at_the_least_threshold_only(n: int) -> None:
    # The victim takes threshold - 1 peers, of which the colluders need not be declared lost.
    for colluders in range(n - 1):
        for threshold in range((n + colluders) // 2 + 1, n + 1):
            fed = Federation(n, threshold=threshold, colluders=colluders)
            left = n - (threshold - 1 - colluders)
            assert (left >= fed.context.parameters.fewest) == (2 * threshold == n + colluders + 1)


@pytest.fixture(scope="module")
def ring() -> Scene:
    """Members that refuse do not change, so that one round serves all arcs."""
    return _regular()


def _regular() -> Scene:
    fed = Federation(40, threshold=3, degree=6, length=40, colluders=2, cohort=4)
    return Scene(fed, "survivors")


def _arc(s: Scene, inside: int) -> tuple[list[str], list[str]]:
    """The members of an arc of the ring, and the two runs that cut it off."""
    state = s.states["m0000"]
    order = graph.ring(state.graph.seed, s.context.roster.names)
    half = s.fed.degree // 2
    start = order.index(VICTIM) - inside // 2
    place = [order[(start + i) % len(order)] for i in range(-half, inside + half)]
    return place[half:-half], place[:half] + place[-half:]


@pytest.mark.parametrize("inside", [1, 4, 5, 9, 17])
@pytest.mark.parametrize("left", [0, 1, 2])
def test_no_arc_is_cut_off_the_ring(ring: Scene, inside: int, left: int) -> None:
    # Up to threshold - 1 survivors in the two runs could be colluders, who help nobody.
    s = ring
    arc, runs = _arc(s, inside)
    alive = [name for name in s.here if name not in runs[left:]]
    assert len(alive) >= s.context.parameters.fewest
    told = Survivors(s.receipts(*alive))
    for name in (arc[0], *runs[:left], next(n for n in alive if n not in arc)):
        few = s.refuses(name, told, TooFewParties, match="the weakest place of the mask graph")
        assert (few.required, len(few.present)) == (3, left)
    enough = Survivors(s.receipts(*[name for name in s.here if name not in runs[3:]]))
    state = s.states[arc[0]]
    assert survivors.read(s.context, state.directory, state.graph, enough).names == {
        name for name in s.here if name not in runs[3:]
    }


def test_that_cut_uncovers_the_arc_where_the_check_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing.MaskGraph, "require_cover", lambda *_: None)
    s = _regular()
    arc, runs = _arc(s, 4)
    alive = tuple(name for name in s.here if name not in runs)
    s.collecting = _Directory(s)
    answers = _vote_and_answer(s, alive, Survivors(s.receipts(*alive)))
    got = Spoils(s, answers).uncover(arc)
    assert np.array_equal(got, expected(s.plains, arc))


def test_in_a_regular_graph_told_of_few_the_victim_is_not_uncovered_either() -> None:
    fed = Federation(40, threshold=3, degree=6, length=40, colluders=2, cohort=4)
    s = Scene(fed, "delivery")
    few = s.told[VICTIM].packages[:2]
    s.told[VICTIM] = Delivery(few)
    for name in s.here:
        s.states[name], upload, note = s.call(name)
        s.post(name, upload, note, accept=False)
    s.stage = "survivors"
    lost = {package.peer for package in few}
    alive = [name for name in s.here if name not in lost]
    for name in (VICTIM, alive[5]):
        s.refuses(name, Survivors(s.receipts(*alive)), InconsistentSets, RELAY, VICTIM)


def test_a_ring_without_those_who_are_absent_is_not_drawn() -> None:
    fed = Federation(40, threshold=3, degree=6, length=40, colluders=2, cohort=4)
    s = Scene(fed, "survivors", silent=fed.names[38:])
    seed = s.states[VICTIM].graph.seed
    assert set(graph.ring(seed, s.context.roster.names)) == set(fed.names)
    assert any(len(s.states[name].graph[name]) < 6 for name in s.here)
    with pytest.raises(ParameterError, match="not a member"):
        graph.thinnest(seed, fed.names[:38], 6, fed.names)
    s.finish()
