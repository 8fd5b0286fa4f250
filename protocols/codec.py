"""Strict, bounded encoding of messages: the only module that knows msgspec.

A message is a frozen struct, written as a MessagePack array. Unknown fields, trailing bytes, wrong types
and lengths beyond the declared bounds are `MalformedMessage`; the size of the whole is bounded by the caller
before this module sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from silo.protocols.errors import MalformedMessage


class Message(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base of everything that travels."""


MAX_PARTIES = 4096
Name = Annotated[str, Meta(min_length=1, max_length=32, pattern=r"\A[a-z0-9][a-z0-9-]*\Z")]
Bytes32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Bytes33 = Annotated[bytes, Meta(min_length=33, max_length=33)]
Bytes64 = Annotated[bytes, Meta(min_length=64, max_length=64)]
Short = Annotated[bytes, Meta(max_length=1024)]
Note = Annotated[bytes, Meta(max_length=512)]
# Received text is shown to people: no control characters, and none that hide or turn what follows.
_SHOWN = r"\A[^\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]*\Z"
Text = Annotated[str, Meta(max_length=512, pattern=_SHOWN)]
Count = Annotated[int, Meta(ge=0, le=2**62)]
Code = Annotated[str, Meta(max_length=16, pattern=r"\A(SILO-[0-9]{3})?\Z")]
AtMostParties = Meta(max_length=MAX_PARTIES)
AtMostTerms = Meta(max_length=4096)
Frames = Annotated[tuple[bytes, ...], AtMostParties]
"""Signed frames that the aggregator passes on as they were sent."""

M = TypeVar("M", bound=Message)
_encoder = msgspec.msgpack.Encoder()


def encode(message: Message) -> bytes:
    """Write a message."""
    return _encoder.encode(message)


def encode_into(message: Message, buffer: bytearray, offset: int) -> None:
    """Write a message behind the first `offset` bytes of `buffer`, without another copy of its payload."""
    _encoder.encode_into(message, buffer, offset)


def decode(kind: type[M], body: bytes | bytearray | memoryview, *, sender: str, round: int) -> M:
    """Read one message of exactly this kind.

    A field typed `memoryview` refers to `body` and is not copied. Raises `MalformedMessage`.
    """
    try:
        return msgspec.msgpack.decode(body, type=kind, strict=True)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError) as problem:
        # The library's sentence can quote received bytes, so only its class travels on.
        raise MalformedMessage(
            f"a {kind.__name__} does not decode ({type(problem).__name__})", culprits=(sender,), round=round
        ) from None


def dump(value: Any, hook: Callable[[Any], bytes]) -> bytes:
    """Write an own state, never a message; `hook` writes what is not plain data."""
    return msgspec.msgpack.encode(value, enc_hook=hook)


def load(raw: bytes, kind: type[Any], hook: Callable[[type[Any], Any], Any]) -> Any:
    """Read what `dump` wrote and an AEAD kept unchanged."""
    return msgspec.msgpack.decode(raw, type=kind, dec_hook=hook)
