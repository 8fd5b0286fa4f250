"""States are used once, show nothing, and are not copied."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from silo.crypto.errors import StateReused
from silo.crypto.keys import AgreementKey
from silo.crypto.rng import InsecureSeededRng
from silo.crypto.secret import Secret
from silo.crypto.shamir import Share
from silo.protocols.private import Pair, bearings
from silo.protocols.secagg.messages import Package
from tests.attacks.scene import STAGES, Scene
from tests.protocols.secagg.federation import Federation


def scene(until: str, degree: int = 0) -> Scene:
    if degree:
        return Scene(Federation(9, threshold=3, degree=degree, length=9), until)
    return Scene(Federation(4, length=4, blinded=True), until)


def every_state() -> Iterator[tuple[Scene, Any]]:
    for degree in (0, 6):
        for stage in STAGES[:-1]:
            if stage == "reveals" and not degree:
                continue
            s = scene(stage, degree)
            yield s, s.states["m0000"]
            yield s, s.collecting


def secrets_in(thing: Any, depth: int = 0) -> Iterator[bytes]:
    if isinstance(thing, Secret):
        if len(thing):
            yield thing.reveal()
    elif isinstance(thing, AgreementKey):
        yield thing.secret.reveal()
    elif isinstance(thing, Share):
        yield thing.to_bytes()
    elif isinstance(thing, dict):
        for value in thing.values():
            yield from secrets_in(value, depth)
    elif isinstance(thing, (tuple, list)):
        for value in thing:
            yield from secrets_in(value, depth)
    elif hasattr(thing, "__dict__") and depth < 3:
        for value in vars(thing).values():
            yield from secrets_in(value, depth + 1)


def shows(text: str, secret: bytes) -> bool:
    return (
        secret.hex() in text.lower()
        or str(secret)[2:-1] in text
        or str(int.from_bytes(secret, "big")) in text
        or ", ".join(map(str, secret)) in text
    )


def test_every_method_of_every_state_works_once() -> None:
    for degree in (0, 6):
        for stage in STAGES[:-1]:
            if stage == "reveals" and not degree:
                continue
            s = scene(stage, degree)
            s.call("m0000")
            with pytest.raises(StateReused, match=type(s.states["m0000"]).__name__):
                s.call("m0000")


def test_every_state_of_the_aggregator_closes_once_and_takes_nothing_after() -> None:
    for degree in (0, 6):
        for stage in STAGES[:-2]:
            if stage == "reveals" and not degree:
                continue
            s = scene(stage, degree)
            state = s.collecting
            s.advance()
            with pytest.raises(StateReused):
                state.close_round()
            with pytest.raises(StateReused):
                state.accept(s.sent["m0000"])


def test_states_show_no_secret() -> None:
    found = 0
    for s, state in every_state():
        text = repr(state) + str(state) + f"{state!s:>10}"
        for secret in secrets_in(state):
            found += 1
            assert not shows(text, secret)
        assert len(text) < 1000
        assert "withheld" in text
        assert s.stage in STAGES
    assert found > 50


def test_states_are_neither_pickled_nor_copied() -> None:
    for _, state in every_state():
        for copied in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot be pickled or copied"):
                copied(state)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError):
                pickle.dumps(state, protocol)


def test_states_do_not_change_under_assignment() -> None:
    for _, state in every_state():
        with pytest.raises(AttributeError):
            state.context = None


def test_secrets_keys_shares_and_pairs_show_nothing_and_are_not_copied() -> None:
    s = scene("delivery")
    state = s.states["m0000"]
    pair = Pair(bearings(bytes(32), bytes(32), 1), "m0000", "m0001", state.share_key, bytes(32))
    things = [state.seed, state.blind, state.mask_key, state.own_share, pair, s.fed.keys["m0000"]]
    for thing in things:
        secrets = list(secrets_in(thing)) or [state.share_key.secret.reveal()]
        if thing is s.fed.keys["m0000"]:
            secrets = [s.fed.keys["m0000"].secret.reveal()]
        for secret in secrets:
            assert not shows(repr(thing) + str(thing), secret)
        for copied in (copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="holds a secret"):
                copied(thing)


def test_what_a_package_holds_is_not_shown() -> None:
    package = Package(b"s" * 33, b"k" * 33, b"b" * 32)
    assert not any(shows(repr(package), part) for part in (b"s" * 33, b"k" * 33, b"b" * 32))
    with pytest.raises(TypeError):
        pickle.dumps(package)


def test_errors_of_a_round_show_no_secret() -> None:
    s = scene("delivery")
    told = s.told["m0000"]
    bent = type(told)((*told.packages[1:], type(told.packages[0])("m0001", bytes(64))))
    with pytest.raises(Exception, match="does not open") as caught:
        s.call("m0000", bent)
    text = repr(caught.value) + str(caught.value) + repr(vars(caught.value))
    for secret in secrets_in(s.states["m0000"]):
        assert not shows(text, secret)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_spent_state_keeps_no_second_answer() -> None:
    s = scene("votes")
    finishing, _ = s.states["m0000"].unmask(s.told["m0000"])
    assert set(vars(finishing)) == {"context", "me", "blind", "agreed"}
    assert not [secret for secret in secrets_in(finishing) if secret != finishing.blind.reveal()]


def test_randomness_has_no_default() -> None:
    s = scene("directory")
    with pytest.raises(TypeError, match="rng"):
        s.states["m0000"].share(s.told["m0000"])
    assert InsecureSeededRng(1).bytes(4) == InsecureSeededRng(1).bytes(4)
