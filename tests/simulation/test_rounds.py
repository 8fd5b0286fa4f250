"""Whatever happens on the way, a round ends in the exact sum over its survivors or in a named problem.

Everybody sends a one at its own place, so that a 2 would be double counting, and a 0 of a survivor a loss.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from silo.protocols.errors import ProtocolViolation, TooFewParties
from tests.protocols.secagg.federation import RELAY
from tests.simulation.network import STEPS, Operation, Simulation, federation

FAULTS = ("drop", "delay", "duplicate", "corrupt", "replay", "reorder")
LIES = (*FAULTS, "lie", "lie", "twice")

fault = st.builds(
    Operation,
    st.sampled_from(FAULTS),
    st.sampled_from(STEPS[:-1]),
    st.integers(0, 8),
    st.just(True),
    st.integers(0, 2**14),
)
lie = st.builds(
    Operation,
    st.sampled_from(LIES),
    st.sampled_from(STEPS[1:]),
    st.integers(0, 8),
    st.just(False),
    st.integers(0, 2**14),
)


def check(simulation: Simulation, lying: bool) -> Simulation:
    fed = simulation.fed
    parties = {*fed.names, RELAY}
    fewest = fed.context.parameters.fewest
    for problem in [simulation.relay.problem, *(end.problem for end in simulation.ends.values())]:
        if isinstance(problem, ProtocolViolation):
            assert problem.culprits
            assert set(problem.culprits) <= parties
        elif problem is not None:
            assert isinstance(problem, TooFewParties)
            assert len(problem.present) < problem.required
    sums = simulation.sums()
    sets = {survivors for survivors, _ in sums.values()}
    assert len(sets) <= 1
    for survivors, got in sums.values():
        assert len(survivors) >= fewest
        assert set(survivors) <= set(fed.names)
        if lying:
            # The relay can change the sum it publishes (the canary holds its count, nothing more), never
            # count anybody twice: that shows as long as the result itself was not forged.
            assert len(got) == fed.n
        else:
            assert got.tolist() == [int(name in survivors) for name in fed.names]
    if simulation.relay.problem is not None:
        assert not sums
    return simulation


@settings(max_examples=80)
@given(st.lists(fault, max_size=8), st.sampled_from([0, 6]), st.booleans())
def test_faults_of_the_network(operations: list[Operation], degree: int, blinded: bool) -> None:
    fed = federation(degree, 1, blinded=blinded and not degree)
    simulation = check(Simulation(fed, operations).run(), lying=False)
    if not any(o.what in ("drop", "delay", "corrupt") for o in operations):
        assert len(simulation.sums()) == fed.n


@settings(max_examples=100)
@given(st.lists(lie, max_size=6), st.lists(fault, max_size=3), st.sampled_from([0, 6]), st.booleans())
@example([Operation("lie", "vote", 0, False, 1)], [], 0, False)
def test_a_relay_that_lies(
    lies: list[Operation], faults: list[Operation], degree: int, blinded: bool
) -> None:
    fed = federation(degree, 1, blinded=blinded and not degree)
    forged = any(o.what in ("lie", "corrupt") and o.step == "result" for o in lies)
    simulation = check(Simulation(fed, [*lies, *faults]).run(), lying=forged)
    if not forged:
        # In particular: nobody's answer to a lie took a mask off anything but the one sum.
        for survivors, got in simulation.sums().values():
            assert np.array_equal(got, [name in survivors for name in fed.names])


@pytest.mark.parametrize(
    ("step", "number"),
    [
        ("reveal", 2**16 - 1),
        ("reveal", 1),
        ("share", 2**16 - 1),
        ("share", 1),
        ("upload", 2**16 - 1),
        ("vote", 2**16 - 1),
        ("vote", 1),
        ("unmask", 2**16 - 1),
        ("result", 3),
    ],
)
@pytest.mark.parametrize("degree", [0, 6])
def test_a_lie_to_one_member_is_refused_by_it(step: str, number: int, degree: int) -> None:
    # All is left out, or only the first: the member itself; of the result a bit of the canary is flipped.
    if step == "share" and not degree:
        return
    simulation = Simulation(federation(degree, 1), [Operation("lie", step, 0, False, number)]).run()
    check(simulation, lying=step == "result")
    assert simulation.ends["m0000"].problem is not None
    others = [end for name, end in simulation.ends.items() if name != "m0000"]
    assert all(end.problem is None for end in others)


def test_an_honest_round_has_no_problem() -> None:
    for degree in (0, 6):
        simulation = check(Simulation(federation(degree, 1), ()).run(), lying=False)
        assert simulation.relay.problem is None
        assert all(end.problem is None for end in simulation.ends.values())
        assert len(simulation.sums()) == simulation.fed.n


@pytest.mark.slow
@pytest.mark.timeout(1500)
@settings(max_examples=1500)
@given(st.lists(lie, max_size=10), st.lists(fault, max_size=8), st.sampled_from([0, 6]), st.booleans())
def test_a_relay_that_lies_for_long(
    lies: list[Operation], faults: list[Operation], degree: int, blinded: bool
) -> None:
    fed = federation(degree, 1, blinded=blinded and not degree)
    forged = any(o.what in ("lie", "corrupt") and o.step == "result" for o in lies)
    check(Simulation(fed, [*lies, *faults]).run(), lying=forged)
