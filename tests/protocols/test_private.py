"""Messages between two members that a malicious relay carries."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silo.crypto.keys import AgreementKey
from silo.crypto.rng import InsecureSeededRng
from silo.protocols import private
from silo.protocols.errors import MalformedMessage, ProtocolViolation
from silo.protocols.private import Pair, Private

KEYS = {name: AgreementKey.generate(rng=InsecureSeededRng(i)) for i, name in enumerate(("ann", "bob", "eve"))}
TEXT = b"a model of the last round"


def pair(me: str, peer: str, **change: Any) -> Pair:
    where = {"charter": b"c" * 32, "session": b"s" * 32, "round": 4} | change
    return Pair(private.bearings(**where), me, peer, KEYS[me], KEYS[peer].public)


def sealed(me: str = "ann", peer: str = "bob", seed: int = 1, **change: Any) -> Private:
    return pair(me, peer, **change).seal(TEXT, rng=InsecureSeededRng(seed))


def refused(reader: Pair, message: Private) -> None:
    with pytest.raises(MalformedMessage, match="does not open") as caught:
        reader.unseal(message)
    assert caught.value.culprits == (reader.peer,)
    assert caught.value.round == reader.bearings.round


def test_the_peer_reads_what_was_sent_and_the_relay_only_its_length() -> None:
    message = sealed()
    assert pair("bob", "ann").unseal(message) == TEXT
    assert TEXT not in bytes(message.ciphertext)
    assert len(message.ciphertext) <= len(TEXT) + private.EXTRA
    assert bytes(sealed(seed=2).ciphertext) != bytes(message.ciphertext)
    empty = pair("ann", "bob").seal(b"", rng=InsecureSeededRng(1))
    assert pair("bob", "ann").unseal(empty) == b""


@pytest.mark.parametrize(
    "change", [{"charter": b"d" * 32}, {"session": b"t" * 32}, {"round": 5}], ids=lambda c: next(iter(c))
)
def test_a_message_of_another_round_session_or_charter_does_not_open(change: dict[str, Any]) -> None:
    refused(pair("bob", "ann"), sealed(**change))
    assert pair("bob", "ann", **change).unseal(sealed(**change)) == TEXT


def test_a_message_opens_for_its_recipient_in_its_direction_only() -> None:
    message = sealed()
    refused(pair("ann", "bob"), message)  # reflected to its sender
    refused(pair("eve", "ann"), message)
    refused(pair("bob", "eve"), message)
    refused(pair("bob", "ann"), sealed(peer="eve"))
    # The relay shows bob another key under ann's name: nothing of ann's opens, and nothing to her either.
    fooled = Pair(pair("bob", "ann").bearings, "bob", "ann", KEYS["bob"], KEYS["eve"].public)
    refused(fooled, message)
    refused(pair("ann", "bob"), fooled.seal(TEXT, rng=InsecureSeededRng(3)))


@settings(max_examples=60)
@given(st.data())
def test_a_changed_message_does_not_open(data: st.DataObject) -> None:
    raw = bytearray(sealed().ciphertext)
    if data.draw(st.booleans()):
        bit = data.draw(st.integers(0, 8 * len(raw) - 1))
        raw[bit // 8] ^= 1 << bit % 8
    else:
        raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
    refused(pair("bob", "ann"), Private(memoryview(bytes(raw))))


@pytest.mark.parametrize("point", [bytes(32), bytes([1]) + bytes(31)])
def test_a_channel_key_of_small_order_names_its_owner(point: bytes) -> None:
    bad = Pair(pair("bob", "ann").bearings, "bob", "ann", KEYS["bob"], point)
    with pytest.raises(ProtocolViolation) as caught:
        bad.unseal(sealed())
    assert caught.value.culprits == ("ann",)


def test_a_pair_shows_no_key() -> None:
    shown = repr(pair("ann", "bob"))
    secret = KEYS["ann"].secret.reveal()
    assert secret.hex() not in shown
    assert repr(secret)[2:-1] not in shown
