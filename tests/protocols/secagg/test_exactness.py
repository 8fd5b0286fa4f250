"""The unmasked sum equals the sum of the encodings, for every pattern of loss that the threshold allows."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silo.crypto.masking import Plain
from silo.crypto.prg import Keystream
from silo.crypto.ring import FixedPoint, Ring
from silo.crypto.rng import InsecureSeededRng
from silo.crypto.secret import Secret
from silo.protocols.errors import TooFewParties
from silo.protocols.secagg import client, directory, drawing, survivors
from tests.protocols.secagg.federation import STEPS, Federation, expected

LOSING = [s for s in STEPS if s != "reveal"]


def left_at(drops: dict[str, str], names: list[str], step: str) -> int:
    return sum(1 for n in names if n not in drops or STEPS.index(drops[n]) > STEPS.index(step))


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("bits", [16, 32])
def test_every_pattern_of_one_or_two_losses(n: int, bits: int) -> None:
    names = [f"m{i:04d}" for i in range(n)]
    patterns: list[dict[str, str]] = [{}]
    patterns += [{a: s} for a in names for s in LOSING]
    patterns += [{a: s, b: t} for a, b in itertools.combinations(names, 2) for s in LOSING for t in LOSING]
    for number, drops in enumerate(patterns):
        fed = Federation(n, bits=bits, length=n, seed=number + 1)
        plains = fed.plains(fed.one_hot())
        if left_at(drops, names, "unmask") < fed.threshold:
            with pytest.raises(TooFewParties) as caught:
                fed.run(plains, drops)
            assert caught.value.required == fed.context.parameters.fewest
            continue
        outcome = fed.run(plains, drops)
        want = [
            name for name in names if left_at({name: drops[name]} if name in drops else {}, [name], "upload")
        ]
        assert outcome.survivors == tuple(want)
        for total in outcome.totals.values():
            assert np.array_equal(plains[names[0]].encoder.decode(total.words), expected(plains, want))
            assert total.survivors == tuple(want)


@pytest.mark.parametrize(
    "n", [3, 4, pytest.param(5, marks=pytest.mark.slow), pytest.param(6, marks=pytest.mark.slow)]
)
def test_every_pattern_of_every_member(n: int) -> None:
    names = [f"m{i:04d}" for i in range(n)]
    # Of six, every choice of steps in every order would be 46,656: each multiset stands once, in a shuffled
    # order.
    patterns: Any = itertools.product([None, *LOSING], repeat=n)
    if n == 6:
        shuffle = random.Random(6)
        chosen = itertools.combinations_with_replacement([None, *LOSING], n)
        patterns = (shuffle.sample(steps, n) for steps in chosen for _ in range(4))
    for number, steps in enumerate(patterns):
        drops = {name: step for name, step in zip(names, steps, strict=True) if step}
        fed = Federation(n, length=n, seed=number + 1)
        plains = fed.plains(fed.one_hot())
        if left_at(drops, names, "unmask") < fed.threshold:
            with pytest.raises(TooFewParties):
                fed.run(plains, drops)
            continue
        outcome = fed.run(plains, drops)
        for total in outcome.totals.values():
            assert np.array_equal(
                plains[names[0]].encoder.decode(total.words), expected(plains, outcome.survivors)
            )


@settings(max_examples=10, deadline=None)
@given(st.data())
def test_random_federations(data: st.DataObject) -> None:
    n = data.draw(st.integers(7, 50))
    bits = data.draw(st.sampled_from([16, 24, 32, 40]))
    fed = Federation(
        n, bits=bits, length=data.draw(st.integers(0, 70)), seed=data.draw(st.integers(1, 2**40))
    )
    limit = fed.plains({"m0000": np.zeros(0, np.int64)})["m0000"].encoder.limit
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    plains = fed.plains({name: rng.integers(-limit, limit + 1, fed.length) for name in fed.names})
    most = n - fed.threshold
    gone = data.draw(st.lists(st.sampled_from(fed.names), max_size=most, unique=True))
    drops = {name: data.draw(st.sampled_from(LOSING)) for name in gone}
    outcome = fed.run(plains, drops)
    for total in outcome.totals.values():
        got = plains[fed.names[0]].encoder.decode(total.words)
        assert np.array_equal(got, expected(plains, outcome.survivors))


@pytest.mark.parametrize("bits", [16, 24, 32, 40])
def test_the_ring_words_are_the_sum_of_the_encodings_bit_for_bit(bits: int) -> None:
    fed = Federation(5, bits=bits, length=1000)
    encoder = FixedPoint(Ring.of(bits), 2.0, 5, 3.0)
    values = {name: np.random.default_rng(i).uniform(-2, 2, 1000) for i, name in enumerate(fed.names)}
    plains = {
        name: Plain((values[name][:300], values[name][300:]), encoder, weight=1.5) for name in fed.names
    }
    rounding = {name: InsecureSeededRng(77 + i) for i, name in enumerate(fed.names)}
    words = np.zeros(1000, fed.context.parameters.ring.dtype)
    for i, name in enumerate(fed.names):
        own = np.empty_like(words)
        encoder.encode(
            values[name],
            own,
            Keystream(Secret(InsecureSeededRng(77 + i).bytes(32))),
            saturate=False,
            weight=1.5,
        )
        words += own
    fed.rngs = rounding
    original = Federation(5, bits=bits, length=1000)
    fed_run = _with_rounding(fed, original.rngs, plains)
    words &= words.dtype.type(encoder.ring.mask)
    for total in fed_run.totals.values():
        assert np.array_equal(total.words, words)
        assert total.weight == 7.5


def _with_rounding(fed: Federation, others: dict, plains: dict):  # type: ignore[no-untyped-def, type-arg]
    """Use `fed.rngs` for the upload only, so that its first draw is the rounding seed."""
    rounding = fed.rngs
    fed.rngs = others
    step = {"name": ""}

    def between(state, name):  # type: ignore[no-untyped-def]
        if type(state).__name__ == "Sharing":
            fed.rngs[name] = rounding[name]
        return state

    step["name"] = "upload"
    return fed.run(plains, between=between)


@pytest.mark.parametrize("n", [3, 5])
def test_blinded(n: int) -> None:
    fed = Federation(n, blinded=True, length=n)
    plains = fed.plains(fed.one_hot())
    outcome = fed.run(plains, {fed.names[1]: "upload"} if n > 3 else {})
    want = expected(plains, outcome.survivors)
    for total in outcome.totals.values():
        assert np.array_equal(plains[fed.names[0]].encoder.decode(total.words), want)
    blind = np.frombuffer(outcome.payload[24:], "<u4")
    assert not np.array_equal(plains[fed.names[0]].encoder.decode(blind.copy()), want)
    assert int.from_bytes(outcome.payload[:8], "little") != len(outcome.survivors)


@pytest.mark.parametrize("step", STEPS)
def test_the_regular_graph(step: str) -> None:
    fed = Federation(40, threshold=6, degree=16, length=40, colluders=2, cohort=20)
    plains = fed.plains(fed.one_hot())
    drops = dict.fromkeys(fed.names[3:40:9], step)
    if step in ("reveal",):
        with pytest.raises(TooFewParties, match="draw of the graph"):
            fed.run(plains, drops)
        return
    outcome = fed.run(plains, drops)
    assert len(outcome.survivors) == (40 if step in ("vote", "unmask") else 35)
    for total in outcome.totals.values():
        assert np.array_equal(
            plains[fed.names[0]].encoder.decode(total.words), expected(plains, outcome.survivors)
        )


def _once_a_message(function: Any) -> Any:
    """Remember what a pure check of one message object gave; the message is the last argument."""
    known: dict[int, Any] = {}

    def check(*arguments: Any) -> Any:
        message = arguments[-1]
        if id(message) not in known:
            known[id(message)] = (message, function(*arguments))
        return known[id(message)][1]

    return check


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_thousand_parties_of_which_three_in_ten_disappear(monkeypatch: pytest.MonkeyPatch) -> None:
    # All thousand are told the same, and check it alike; in one process that is done once, and kept once.
    for module, name in (
        (directory, "read"),
        (drawing, "draw"),
        (survivors, "read"),
        (client, "count_votes"),
    ):
        monkeypatch.setattr(module, name, _once_a_message(getattr(module, name)))
    fed = Federation(1000, threshold=42, degree=106, length=10_000, colluders=100, cohort=600)
    rng = np.random.default_rng(5)
    plains = fed.plains({name: rng.integers(-1000, 1001, 10_000) for name in fed.names})
    gone = rng.permutation(fed.names)[:300]
    drops = {str(name): LOSING[1 + i % 4] for i, name in enumerate(gone)}
    outcome = fed.run(plains, drops, receivers_finish=False)
    payload = np.frombuffer(outcome.payload[24:], "<u4").copy()
    assert len(outcome.survivors) == sum(1 for n in fed.names if drops.get(n) not in ("share", "upload"))
    assert np.array_equal(plains[fed.names[0]].encoder.decode(payload), expected(plains, outcome.survivors))
