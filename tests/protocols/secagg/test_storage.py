"""States that are put away between every two steps, as an engine does that starts a process per message."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from silo.crypto.errors import DecryptionFailed, StateReused
from silo.crypto.rng import InsecureSeededRng
from silo.crypto.secret import Secret
from silo.protocols.secagg import client, storage
from tests.protocols.secagg.federation import Federation, expected

KEY = Secret(b"k" * 32)


@pytest.mark.parametrize(
    "fed",
    [
        Federation(4, length=9),
        Federation(5, length=9, blinded=True),
        Federation(12, length=12, threshold=3, degree=6, cohort=4),
    ],
    ids=["complete", "blinded", "regular"],
)
def test_a_round_in_which_every_state_is_stored(fed: Federation) -> None:
    plains = fed.plains(fed.one_hot())
    seen = set()

    def between(state: Any, name: str) -> Any:
        stored = storage.store(state, key=KEY, rng=fed.rngs[name])
        for secret in _secrets(state):
            assert secret not in stored
        seen.add(type(state).__name__)
        with pytest.raises(StateReused):
            storage.store(state, key=KEY, rng=fed.rngs[name])
        return storage.restore(stored, fed.context, name, key=KEY)

    outcome = fed.run(plains, {fed.names[1]: "vote"}, between=between)
    for total in outcome.totals.values():
        assert np.array_equal(plains[fed.names[0]].encoder.decode(total.words), expected(plains, fed.names))
    assert len(seen) == (6 if fed.degree else 5)


def test_a_stored_state_opens_for_its_own_round_member_and_key_only() -> None:
    fed = Federation(3)
    state, _ = client.advertise(fed.context, "m0000", rng=fed.rngs["m0000"])
    stored = storage.store(state, key=KEY, rng=InsecureSeededRng(1))
    other_round = Federation(3, round=2)
    for context, me, key in (
        (other_round.context, "m0000", KEY),
        (fed.context, "m0001", KEY),
        (fed.context, "m0000", Secret(b"x" * 32)),
    ):
        with pytest.raises(DecryptionFailed):
            storage.restore(stored, context, me, key=key)
    for place in itertools.chain(range(0, len(stored), 7)):
        bent = bytearray(stored)
        bent[place] ^= 1
        with pytest.raises(DecryptionFailed):
            storage.restore(bytes(bent), fed.context, "m0000", key=KEY)


def _secrets(state: Any) -> list[bytes]:
    found = [v.reveal() for v in vars(state).values() if isinstance(v, Secret) and len(v)]
    found += [v.secret.reveal() for v in vars(state).values() if hasattr(v, "secret")]
    return found
