"""The envelope: every frame says where it belongs, and one changed bit is found."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silo.crypto.rng import InsecureSeededRng
from silo.crypto.signing import SigningKey
from silo.protocols import envelope
from silo.protocols.codec import Message
from silo.protocols.cohort import Vote
from silo.protocols.control import Abort
from silo.protocols.envelope import EVERYBODY, Bearings, Header, Receipt, open_frame, seal
from silo.protocols.errors import (
    BadSignature,
    MalformedMessage,
    ProtocolViolation,
    ReplayedMessage,
    UnexpectedMessage,
)
from silo.protocols.secagg.messages import Upload

HERE = Bearings("masking", b"p" * 32, b"s" * 32, 7)
KEYS = {name: SigningKey.generate(rng=InsecureSeededRng(i)) for i, name in enumerate(("ann", "bob"))}
PUBLIC = {name: key.public for name, key in KEYS.items()}
VOTE = Vote(b"v" * 32)


def frame(message: Message = VOTE, where: Bearings = HERE, **options: Any) -> bytes:
    sender = options.pop("sender", "ann")
    settings_ = {"sender": sender, "recipient": EVERYBODY, "signer": KEYS["ann"]} | options
    return bytes(seal(message, where, **settings_).frame)


def opened(raw: Any, **options: Any) -> Any:
    settings_: dict[str, Any] = {
        "bearings": HERE,
        "keys": PUBLIC,
        "kinds": {"Vote": Vote},
        "recipients": frozenset({EVERYBODY, "bob"}),
        "limit": 4096,
        "came_from": "relay",
    }
    return open_frame(raw, **(settings_ | options))


def test_a_frame_opens_to_what_was_sealed() -> None:
    sent = seal(VOTE, HERE, sender="ann", recipient="bob", signer=KEYS["ann"], note=b"note")
    for raw in (sent.frame, bytes(sent.frame), memoryview(sent.frame)):
        got = opened(raw)
        assert (got.sender, got.message, got.receipt) == ("ann", VOTE, sent.receipt)
    header = envelope.read_header(sent.receipt, "relay", 7)
    assert header == Header("masking", b"p" * 32, b"s" * 32, 7, "ann", "bob", "Vote", b"note")


@pytest.mark.parametrize(
    ("where", "error", "culprit"),
    [
        (Bearings("masking", b"p" * 32, b"s" * 32, 8), ReplayedMessage, "relay"),
        (Bearings("masking", b"p" * 32, b"s" * 32, 0), ReplayedMessage, "relay"),
        (Bearings("masking", b"p" * 32, b"t" * 32, 7), ReplayedMessage, "relay"),
        (Bearings("masking", b"q" * 32, b"s" * 32, 7), UnexpectedMessage, "ann"),
        (Bearings("private", b"p" * 32, b"s" * 32, 7), UnexpectedMessage, "ann"),
    ],
)
def test_a_frame_belongs_to_one_protocol_agreement_session_and_round(
    where: Bearings, error: type[ProtocolViolation], culprit: str
) -> None:
    with pytest.raises(error) as caught:
        opened(frame(where=where))
    assert type(caught.value) is error
    assert culprit in caught.value.culprits
    assert caught.value.round == 7
    assert caught.value.expected != caught.value.found


def test_a_frame_for_somebody_else_of_another_kind_or_of_a_stranger() -> None:
    for raw, culprit, found in (
        (frame(recipient="eve"), "relay", "eve"),
        (frame(Upload(memoryview(b""))), "ann", "Upload"),
        (frame(sender="mallory"), "relay", "mallory"),
    ):
        with pytest.raises(UnexpectedMessage) as caught:
            opened(raw)
        assert culprit in caught.value.culprits
        assert caught.value.found == found


def test_whoever_misplaces_a_signed_frame_is_among_those_blamed() -> None:
    for raw in (frame(Upload(memoryview(b""))), frame(where=Bearings("private", b"p" * 32, b"s" * 32, 7))):
        with pytest.raises(UnexpectedMessage) as caught:
            opened(raw)
        assert set(caught.value.culprits) == {"relay", "ann"}


def test_a_signature_of_another_key_names_both_who_could_have_done_it() -> None:
    with pytest.raises(BadSignature) as caught:
        opened(frame(signer=KEYS["bob"]))
    assert caught.value.culprits == ("relay", "ann")
    with pytest.raises(BadSignature) as alone:
        opened(frame(signer=KEYS["bob"]), came_from="ann")
    assert alone.value.culprits == ("ann",)
    stranger = SigningKey.generate(rng=InsecureSeededRng(99))
    with pytest.raises(BadSignature):
        opened(frame(signer=stranger))


RAW = frame(note=b"n" * 40)


@settings(max_examples=400)
@given(st.integers(0, 8 * len(RAW) - 1))
def test_no_bit_of_a_frame_can_be_flipped(bit: int) -> None:
    bent = bytearray(RAW)
    bent[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ProtocolViolation) as caught:
        opened(bytes(bent))
    assert set(caught.value.culprits) <= {"relay", "ann", "bob"}
    assert caught.value.culprits


def test_every_bit_of_the_header_counts() -> None:
    start, length = 7, int.from_bytes(RAW[5:7], "big")
    for bit in range(8 * start, 8 * (start + length)):
        bent = bytearray(RAW)
        bent[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ProtocolViolation):
            opened(bytes(bent))


@given(st.binary(max_size=200), st.integers(0, len(RAW)), st.integers(0, len(RAW)))
def test_no_piece_can_be_cut_out_or_put_in(piece: bytes, low: int, high: int) -> None:
    bent = RAW[: min(low, high)] + piece + RAW[max(low, high) :]
    if bent != RAW:
        with pytest.raises(ProtocolViolation):
            opened(bent)


def test_every_truncation_and_every_trailing_byte_is_found() -> None:
    for end in range(len(RAW)):
        with pytest.raises(ProtocolViolation) as caught:
            opened(RAW[:end])
        assert "relay" in caught.value.culprits
    for more in (b"\0", b"\xc0", RAW):
        with pytest.raises(BadSignature):
            opened(RAW + more)


def test_a_trailing_byte_under_a_good_signature_is_malformed() -> None:
    # The sender itself signs a body with a tail.
    body = msgspec.msgpack.encode(VOTE) + b"\0"
    raw = _handmade(HERE, body)
    with pytest.raises(MalformedMessage) as caught:
        opened(raw)
    assert caught.value.culprits == ("ann",)


def _handmade(where: Bearings, body: bytes, kind: str = "Vote", header: bytes | None = None) -> bytes:
    """A frame whose body or header no honest encoder writes, with a good signature."""
    import hashlib

    from silo.crypto import labels

    if header is None:
        header = msgspec.msgpack.encode(
            Header(where.protocol, where.parameters, where.session, where.round, "ann", EVERYBODY, kind, b"")
        )
    signature = KEYS["ann"].sign(labels.ENVELOPE, header + hashlib.sha256(body).digest())
    return b"SILO\x01" + len(header).to_bytes(2, "big") + header + signature + body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc0",
        b"\x90",
        b"\x91\xc4\x1f" + b"v" * 31,
        b"\x91\xc4\x21" + b"v" * 33,
        b"\x91\xd9\x20" + b"v" * 32,
        b"\x92\xc4\x20" + b"v" * 32 + b"\xc0",
        b"\x81\xa9survivors\xc4\x20" + b"v" * 32,
        b"\x91\xc4\x20" + b"v" * 31,
        b"\x91\xc7\x20\x05" + b"v" * 32,
    ],
)
def test_a_body_that_is_no_vote_is_the_senders_fault(body: bytes) -> None:
    with pytest.raises(MalformedMessage) as caught:
        opened(_handmade(HERE, body))
    assert caught.value.culprits == ("ann",)
    assert "v" * 10 not in str(caught.value)


def _header(*fields: Any) -> bytes:
    return msgspec.msgpack.encode(fields)


GOOD_HEADER = ("masking", b"p" * 32, b"s" * 32, 7, "ann", EVERYBODY, "Vote", b"")


@pytest.mark.parametrize(
    "header",
    [
        _header(*GOOD_HEADER, 1),
        _header(*GOOD_HEADER[:-1]),
        _header(*GOOD_HEADER) + b"\0",
        _header("masking", b"p" * 31, *GOOD_HEADER[2:]),
        _header(*GOOD_HEADER[:3], -1, *GOOD_HEADER[4:]),
        _header(*GOOD_HEADER[:3], 2**62 + 1, *GOOD_HEADER[4:]),
        _header(*GOOD_HEADER[:3], 7.0, *GOOD_HEADER[4:]),
        _header(*GOOD_HEADER[:3], True, *GOOD_HEADER[4:]),
        _header(*GOOD_HEADER[:4], "Ann", *GOOD_HEADER[5:]),
        _header(*GOOD_HEADER[:4], "", *GOOD_HEADER[5:]),
        _header(*GOOD_HEADER[:4], "a" * 33, *GOOD_HEADER[5:]),
        _header(*GOOD_HEADER[:4], "-ann", *GOOD_HEADER[5:]),
        _header(*GOOD_HEADER[:4], "ann bob", *GOOD_HEADER[5:]),
        _header(*GOOD_HEADER[:-1], b"n" * 513),
        msgspec.msgpack.encode(dict(enumerate(GOOD_HEADER))),
        msgspec.msgpack.encode(dict(zip(Header.__struct_fields__, GOOD_HEADER, strict=True))),
        b"",
        b"\x98" * 200,
        b"\xdd\xff\xff\xff\xff",
    ],
)
def test_a_header_that_is_none_is_the_carriers_fault(header: bytes) -> None:
    with pytest.raises(MalformedMessage) as caught:
        opened(_handmade(HERE, msgspec.msgpack.encode(VOTE), header=header))
    assert caught.value.culprits == ("relay",)


def test_another_version_or_no_frame_at_all() -> None:
    for raw in (b"", b"SILO", b"SILO\x02" + RAW[5:], b"silo\x01" + RAW[5:], b"GET / HTTP/1.1\r\n\r\n"):
        with pytest.raises(MalformedMessage, match="not a Silo frame of this version") as caught:
            opened(raw)
        assert caught.value.culprits == ("relay",)


def test_a_header_beyond_its_bound_is_refused_before_it_is_read() -> None:
    for length in (1025, 65535):
        raw = b"SILO\x01" + length.to_bytes(2, "big") + bytes(70_000)
        with pytest.raises(MalformedMessage, match="shorter than its header says"):
            opened(raw, limit=10**6)


def test_a_frame_beyond_the_limit_is_refused_before_anything_is_allocated() -> None:
    huge = bytes(50_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(MalformedMessage, match="too large") as caught:
            opened(huge, limit=1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert caught.value.found == len(huge)
    assert caught.value.culprits == ("relay",)
    with pytest.raises(MalformedMessage, match="too large"):
        opened(RAW, limit=len(RAW) - 1)
    assert opened(RAW, limit=len(RAW)).message == VOTE


def test_a_claim_of_a_huge_body_allocates_nothing() -> None:
    bodies = [b"\x91" + head + b"\xff" * 4 for head in (b"\xc6", b"\xdb", b"\xdd", b"\xdf", b"\xc9")]
    raws = [_handmade(HERE, body, kind) for body in bodies for kind in ("Vote", "Upload", "Abort")]
    kinds = {"Vote": Vote, "Upload": Upload, "Abort": Abort}
    tracemalloc.start()
    try:
        for raw in raws:
            with pytest.raises(MalformedMessage):
                opened(raw, kinds=kinds)
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


def test_a_receipt_proves_a_body_that_it_does_not_hold() -> None:
    sent = seal(Upload(memoryview(bytes(10**5))), HERE, sender="ann", recipient="bob", signer=KEYS["ann"])
    receipt = sent.receipt
    assert len(msgspec.msgpack.encode(receipt)) < 400
    header = envelope.read_header(receipt, "relay", 7)
    check = {"bearings": HERE, "keys": PUBLIC, "came_from": "relay"}
    envelope.verify_receipt(receipt, header=header, **check)  # type: ignore[arg-type]
    for changed in (
        msgspec.structs.replace(receipt, digest=bytes(32)),
        msgspec.structs.replace(receipt, signature=bytes(64)),
        Receipt(receipt.header.replace(b"Upload", b"Uploat"), receipt.digest, receipt.signature),
    ):
        with pytest.raises(BadSignature):
            envelope.verify_receipt(changed, header=header, **check)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["\x1b[2Jgone", "two\nlines", "a\rb", "\u202eevil"])
def test_received_text_cannot_write_on_a_persons_terminal(kind: str) -> None:
    # Nobody has signed this: whoever can hand a frame over could write into another organisation's log.
    header = msgspec.msgpack.encode(("masking", b"p" * 32, b"s" * 32, 7, "ann", EVERYBODY, kind, b""))
    raw = bytearray(_handmade(HERE, msgspec.msgpack.encode(VOTE), header=header))
    raw[-1] ^= 1
    with pytest.raises(ProtocolViolation) as caught:
        opened(bytes(raw))
    assert kind not in str(caught.value)
