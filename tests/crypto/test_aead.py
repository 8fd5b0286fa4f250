from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silo.crypto.aead import OVERHEAD, TAG_BYTES, OpeningChannel, SealingChannel, seal, unseal
from silo.crypto.errors import DecryptionFailed, ParameterError, UsageError
from silo.crypto.rng import InsecureSeededRng
from silo.crypto.secret import Secret
from tests.crypto.published import cases

RNG = InsecureSeededRng(1)
KEY = Secret.random(32, rng=RNG)
BYTES = st.binary(max_size=80)


class Fixed:
    """Gives the bytes of a vector as the nonce."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def bytes(self, count: int, /) -> bytes:
        assert count == len(self.raw)
        return self.raw


def usable(path: str) -> list[dict[str, str]]:
    return [c for c in cases(path) if (c["IVLEN"], c["TAGLEN"]) == ("96", "128")][::5]


def test_published_encryptions() -> None:
    found = usable("ciphers/AES/GCM/gcmEncryptExtIV256.rsp")
    assert len(found) > 50
    for case in found:
        key, nonce, plain, associated = (bytes.fromhex(case[k]) for k in ("KEY", "IV", "PT", "AAD"))
        sealed = seal(Secret(key), plain, associated, rng=Fixed(nonce))
        assert sealed.hex() == case["IV"] + case["CT"] + case["TAG"]


def test_published_decryptions_good_and_bad() -> None:
    found = usable("ciphers/AES/GCM/gcmDecrypt256.rsp")
    outcomes = set()
    for case in found:
        sealed = bytes.fromhex(case["IV"] + case["CT"] + case["TAG"])
        key, associated = Secret(bytes.fromhex(case["KEY"])), bytes.fromhex(case["AAD"])
        outcomes.add("FAIL" in case)
        if "FAIL" in case:
            with pytest.raises(DecryptionFailed):
                unseal(key, sealed, associated)
        else:
            assert unseal(key, sealed, associated).hex() == case["PT"]
    assert outcomes == {True, False}


@given(BYTES, BYTES, st.data())
def test_what_is_sealed_opens_and_nothing_else_does(
    plain: bytes, associated: bytes, data: st.DataObject
) -> None:
    sealed = seal(KEY, plain, associated, rng=RNG)
    assert len(sealed) == len(plain) + OVERHEAD
    assert unseal(KEY, sealed, associated) == plain
    changed = bytearray(sealed)
    changed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    cut = sealed[: data.draw(st.integers(0, len(sealed) - 1))]
    for key, text, context in (
        (KEY, bytes(changed), associated),
        (KEY, cut, associated),
        (KEY, sealed + b"\0", associated),
        (KEY, sealed, associated + b"\0"),
        (Secret(bytes(32)), sealed, associated),
    ):
        with pytest.raises(DecryptionFailed):
            unseal(key, text, context)


def test_the_same_text_is_never_sealed_alike() -> None:
    assert len({seal(KEY, b"text", b"", rng=RNG) for _ in range(50)}) == 50


def test_a_channel_opens_in_order_only() -> None:
    sending, receiving = SealingChannel(KEY), OpeningChannel(KEY)
    sent = [sending.seal(text, b"a") for text in (b"0", b"1", b"2")]
    assert [len(one) for one in sent] == [1 + TAG_BYTES] * 3
    assert receiving.unseal(sent[0], b"a") == b"0"
    for wrong in (sent[0], sent[2], b"", sent[1][:-1], sent[1] + b"\0"):  # replayed, reordered, cut
        with pytest.raises(DecryptionFailed):
            receiving.unseal(wrong, b"a")
    with pytest.raises(DecryptionFailed):
        receiving.unseal(sent[1], b"b")
    # What was refused changed nothing: the stream goes on with the message that was due.
    assert [receiving.unseal(one, b"a") for one in sent[1:]] == [b"1", b"2"]


def test_a_dropped_message_is_noticed() -> None:
    sending, receiving = SealingChannel(KEY), OpeningChannel(KEY)
    sending.seal(b"lost", b"")
    with pytest.raises(DecryptionFailed):
        receiving.unseal(sending.seal(b"next", b""), b"")


def test_a_nonce_is_never_used_twice_at_the_end() -> None:
    sending = SealingChannel(KEY)
    sending._count = 2**64 - 1
    sending.seal(b"the last", b"")
    with pytest.raises(UsageError, match="nonces"):
        sending.seal(b"one too many", b"")


def test_wrong_keys_are_refused_and_channels_stay_here() -> None:
    for call in (lambda k: seal(k, b"", b"", rng=RNG), lambda k: unseal(k, bytes(40), b""), SealingChannel):
        with pytest.raises(ParameterError, match="32 bytes, not 16"):
            call(Secret(bytes(16)))
    for channel in (SealingChannel(KEY), OpeningChannel(KEY)):
        assert KEY.reveal().hex() not in repr(channel)
        with pytest.raises(TypeError, match="secret"):
            pickle.dumps(channel)
