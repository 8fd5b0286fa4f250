"""The decoder takes what the encoder makes, and refuses everything else with one type of error."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silo.transport.errors import LinkViolation, MessageTooLarge, VersionMismatch
from silo.transport.wire import frames
from silo.transport.wire.assembly import Assembly
from silo.transport.wire.frames import Ack, Bye, Challenge, Data, Login, News, Refused, Welcome

WORD = b"0123456789abcdef"
LOGINS = [
    Challenge(WORD, WORD * 2, "relay"),
    Login("mercy", WORD * 2, WORD * 2, WORD, 7, WORD * 4),
    Welcome(WORD, True, 9, WORD * 4),
    Refused((1, 0), "charter"),
]
SAMPLES = [
    frames.data_head(1, 2, 0, 5, True, b"mercy") + b"chunk",
    frames.encode_news(2, "mercy", "gone", "SILO-303"),
    frames.encode_bye(3, ""),
    frames.encode_ack(4),
    *map(frames.encode_login, LOGINS),
]


@pytest.mark.parametrize("frame", LOGINS, ids=lambda frame: type(frame).__name__)
def test_login_frames_come_back(frame: frames.LoginFrame) -> None:
    assert frames.decode_login(frames.encode_login(frame)) == frame


def test_frames_come_back() -> None:
    data, news, bye, ack = map(frames.decode, SAMPLES[:4])
    assert isinstance(data, Data)
    assert (data.number, data.message, data.index, data.total, data.last, data.party) == (
        1,
        2,
        0,
        5,
        True,
        "mercy",
    )
    assert bytes(data.chunk) == b"chunk"
    assert data.chunk.readonly
    assert news == News(2, "mercy", "gone", "SILO-303")
    assert bye == Bye(3, "")
    assert ack == Ack(4)


def test_twenty_thousand_damaged_frames_raise_one_type_of_error() -> None:
    draw = random.Random(1)
    refused = 0
    for _ in range(20_000):
        raw = bytearray(draw.choice(SAMPLES))
        for _ in range(draw.randrange(1, 4)):
            match draw.randrange(4):
                case 0:
                    raw[draw.randrange(len(raw)) if raw else 0 : 0] = draw.randbytes(draw.randrange(4))
                case 1 if raw:
                    del raw[draw.randrange(len(raw)) :]
                case 2 if raw:
                    raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
                case _:
                    raw += draw.randbytes(draw.randrange(3))
        for decode in (frames.decode, frames.decode_login):
            try:
                decode(bytes(raw))
            except LinkViolation:
                refused += 1
            except VersionMismatch:
                assert decode is frames.decode_login
                assert raw[1:3] != b"\x00\x01"
    assert refused > 20_000


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_refused(raw: bytes) -> None:
    for decode in (frames.decode, frames.decode_login):
        with contextlib.suppress(LinkViolation, VersionMismatch):
            decode(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        "text",
        b"\x05",
        b"\x00" * 40,
        frames.encode_ack(1) + b"\x00",
        frames.encode_bye(1, "") + b"SILO-1",
        frames.encode_news(1, "mercy", "gone", "")[:-1],
        frames.encode_news(1, "", "gone", ""),
        frames.data_head(1, 1, 0, 4, True, b"mercy") + b"chunk",
        frames.data_head(1, 1, 0, 5, False, b"mercy"),
        frames.data_head(1, 1, 0, 5, True, b"") + b"chunk",
        frames.data_head(1, 1, 0, 5, True, b"a b") + b"chunk",
        frames.data_head(1, 1, 0, 1 << 30, False, b"mercy") + bytes(frames.CHUNK + 1),
        frames.encode_login(LOGINS[0]),
    ],
)
def test_what_no_peer_sends_is_refused(raw: bytes | str) -> None:
    with pytest.raises(LinkViolation):
        frames.decode(raw)


def chunk(index: int, total: int, last: bool, body: bytes, message: int = 1, party: str = "mercy") -> Data:
    return Data(1, message, index, total, last, party, memoryview(body))


@given(st.binary(max_size=300), st.integers(1, 64))
def test_chunks_become_the_message(payload: bytes, size: int) -> None:
    assembly = Assembly(300)
    parts = [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]
    done = [
        assembly.take(chunk(index, len(payload), index == len(parts) - 1, part))
        for index, part in enumerate(parts)
    ]
    assert done[:-1] == [None] * (len(parts) - 1)
    assert done[-1] is not None
    assert bytes(done[-1]) == payload
    assert done[-1].readonly


@pytest.mark.parametrize(
    "second",
    [
        chunk(2, 9, True, b"56789"),
        chunk(0, 9, True, b"56789"),
        chunk(1, 8, True, b"5678"),
        chunk(1, 9, True, b"5678"),
        chunk(1, 9, False, b"56789"),
        chunk(1, 9, True, b"567890"),
        chunk(1, 9, True, b"56789", message=2),
    ],
)
def test_chunks_that_do_not_belong_together_are_refused(second: Data) -> None:
    assembly = Assembly(100)
    assert assembly.take(chunk(0, 9, False, b"1234")) is None
    with pytest.raises(LinkViolation):
        assembly.take(second)


def test_a_message_above_the_limit_is_refused_with_its_first_chunk() -> None:
    with pytest.raises(MessageTooLarge):
        Assembly(100).take(chunk(0, 101, False, b"1"))


def test_senders_do_not_mix_and_can_be_forgotten() -> None:
    assembly = Assembly(100)
    assembly.take(chunk(0, 4, False, b"aa"))
    assembly.take(chunk(0, 4, False, b"bb", party="clinic"))
    assembly.forget("mercy")
    whole = assembly.take(chunk(1, 4, True, b"bb", party="clinic"))
    assert whole is not None
    assert bytes(whole) == b"bbbb"
    with pytest.raises(LinkViolation):
        assembly.take(chunk(1, 4, True, b"aa"))
