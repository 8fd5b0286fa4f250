"""Messages are decoded strictly: one spelling of the struct, bounded in every direction."""

from __future__ import annotations

import inspect
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silo.protocols import codec, cohort, control, envelope, private, rollcall
from silo.protocols.codec import MAX_PARTIES, Message
from silo.protocols.cohort import Vote
from silo.protocols.errors import MalformedMessage
from silo.protocols.secagg import messages
from silo.protocols.secagg.messages import Directory, Revealed, Sealed, Shares, Unmasking, Upload

pack = msgspec.msgpack.encode


def every_kind() -> list[type[Message]]:
    modules = (messages, cohort, control, envelope, private, rollcall)
    found = {
        kind
        for module in modules
        for kind in vars(module).values()
        if inspect.isclass(kind) and issubclass(kind, Message) and kind is not Message
    }
    return sorted(found, key=lambda kind: kind.__name__)


def decode(kind: type[Message], raw: bytes) -> Any:
    return codec.decode(kind, raw, sender="ann", round=3)


def refused(kind: type[Message], raw: bytes) -> MalformedMessage:
    with pytest.raises(MalformedMessage) as caught:
        decode(kind, raw)
    assert caught.value.culprits == ("ann",)
    assert caught.value.round == 3
    assert caught.value.__suppress_context__
    return caught.value


@pytest.mark.parametrize("kind", every_kind(), ids=lambda kind: kind.__name__)
def test_every_message_is_a_frozen_array_without_defaults(kind: type[Message]) -> None:
    config = kind.__struct_config__
    assert (config.frozen, config.array_like, config.forbid_unknown_fields) == (True, True, True)
    assert kind.__struct_defaults__ == ()
    refused(kind, b"\x90")
    refused(kind, b"\x80")
    refused(kind, b"\xc0")
    refused(kind, b"")


def unbounded(kind: Any, path: str) -> list[str]:
    """Names of fields whose size nothing bounds."""
    info = msgspec.inspect.type_info(kind)
    return _unbounded(info, path)


def _unbounded(info: Any, path: str) -> list[str]:
    found: list[str] = []
    if isinstance(info, msgspec.inspect.StructType):
        for field in info.fields:
            found += _unbounded(field.type, f"{path}.{field.name}")
    elif isinstance(info, msgspec.inspect.VarTupleType):
        found += [path] if info.max_length is None else []
        found += _unbounded(info.item_type, path + "[]")
    elif isinstance(info, (msgspec.inspect.StrType, msgspec.inspect.BytesType)):
        found += [path] if info.max_length is None else []
    elif isinstance(info, msgspec.inspect.IntType):
        found += [path] if info.le is None or info.ge is None else []
    else:
        found.append(path)
    return found


def test_every_field_is_bounded_but_those_that_the_frames_limit_bounds() -> None:
    open_ = {path for kind in every_kind() for path in unbounded(kind, kind.__name__)}
    assert open_ == {
        "Begin.presents[]",
        "Directory.advertisements[]",
        "Private.ciphertext",
        "Result.payload",
        "Reveals.reveals[]",
        "Upload.payload",
        "Votes.votes[]",
    }


def test_more_elements_than_parties_are_refused_before_they_are_read() -> None:
    assert len(decode(Directory, pack([[b""] * MAX_PARTIES])).advertisements) == MAX_PARTIES
    refused(Directory, pack([[b""] * (MAX_PARTIES + 1)]))
    one = ["ann", b"c"]
    assert len(decode(Shares, pack([[one] * MAX_PARTIES])).packages) == MAX_PARTIES
    refused(Shares, pack([[one] * (MAX_PARTIES + 1)]))
    tracemalloc.start()
    try:
        for claim in (b"\xdd\xff\xff\xff\xff", b"\xdd\x7f\xff\xff\xff", b"\xdc\xff\xff", b"\xdc\x10\x00"):
            for kind in (Directory, Shares, Unmasking):
                refused(kind, b"\x91" + claim)
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Vote, [b"v" * 31]),
        (Vote, [b"v" * 33]),
        (Vote, ["v" * 32]),
        (Vote, ["dmR2" * 11]),
        (Vote, [None]),
        (Vote, [[1] * 32]),
        (Vote, [b"v" * 32, b"v" * 32]),
        (Vote, [[b"v" * 32]]),
        (Vote, {"survivors": b"v" * 32}),
        (Vote, {0: b"v" * 32}),
        (Sealed, ["ann", b"c" * 1025]),
        (Sealed, ["ann"]),
        (Sealed, ["ANN", b"c"]),
        (Sealed, ["a" * 33, b"c"]),
        (Sealed, ["än", b"c"]),
        (Sealed, ["../etc", b"c"]),
        (Revealed, ["ann", b"s" * 32]),
        (Revealed, ["ann", b"s" * 34]),
        (Upload, ["text"]),
        (Upload, [[1, 2]]),
        (Upload, [None]),
        (rollcall.Begin, [1.0, []]),
        (rollcall.Begin, ["1", []]),
        (rollcall.Begin, [True, []]),
        (rollcall.Begin, [-1, []]),
        (rollcall.Begin, [2**62 + 1, []]),
        (rollcall.Begin, [2**63, []]),
        (control.Lost, ["ann", "SILO-1"]),
        (control.Lost, ["ann", "silo-101"]),
        (control.Lost, ["ann", "SILO-1012"]),
    ],
)
def test_other_types_lengths_and_spellings_are_refused(kind: type[Message], value: Any) -> None:
    refused(kind, pack(value))


@pytest.mark.parametrize("value", [["ann\n", ""], ["ann", "\n"], ["ann", "SILO-101\n"]])
def test_no_line_feed_hides_at_the_end_of_a_name_or_code(value: list[str]) -> None:
    refused(control.Lost, pack(value))


@pytest.mark.parametrize(
    "raw",
    [
        b"\x91\xc4\x20" + b"v" * 32 + b"\0",
        b"\x91\xc4\x20" + b"v" * 31,
        b"\x91\xa2\xff\xfe",
        b"\x92\xa3an\xff\xc4\x01c",
        b"\x91" * 100_000,
        b"\x91" + b"\x81\xa1a" * 50_000,
        b"\xd9\x02\xff\xff",
        b"\xc1",
        b"\xd6\xff\0\0\0\0",
        b"\x91\xd6\xff\0\0\0\0",
        b"\x82\xa9survivors\xc4\x20" + b"v" * 32 + b"\xa9survivors\xc4\x20" + b"w" * 32,
    ],
)
def test_broken_deep_and_foreign_bytes_are_malformed_and_nothing_else(raw: bytes) -> None:
    for kind in every_kind():
        refused(kind, raw)


def test_what_was_received_is_not_quoted() -> None:
    secret = "patient-4711"
    for kind in every_kind():
        problem = refused(kind, pack([secret, secret, secret]))
        assert secret not in str(problem) + repr(problem) + repr(vars(problem))


@given(st.binary(max_size=80))
def test_any_bytes_decode_or_are_malformed(raw: bytes) -> None:
    for kind in every_kind():
        try:
            got = decode(kind, raw)
        except MalformedMessage:
            continue
        assert decode(kind, codec.encode(got)) == got


def test_a_payload_is_not_copied_and_encoding_goes_on_behind_a_header() -> None:
    body = bytearray(pack([b"p" * 100]))
    got = decode(Upload, body)
    body[-1] = 0
    assert got.payload[-1] == 0
    buffer = bytearray(b"head")
    codec.encode_into(Vote(b"v" * 32), buffer, 4)
    assert bytes(buffer) == b"head" + codec.encode(Vote(b"v" * 32))
