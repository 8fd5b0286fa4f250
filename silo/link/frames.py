"""Frames of the link: one binary WebSocket message each, strictly decoded.

Numbered frames (DATA, PRESENCE, BYE) carry a sequence number per direction and are kept until they are
acknowledged; ACK and ALIVE carry none. A message travels as DATA frames of at most `CHUNK` bytes.

    DATA      1 | seq 8 | message size 8 | name length 1 | name | bytes      (to whom / from whom)
    PRESENCE  2 | seq 8 | state 1 | name length 1 | name | code
    BYE       3 | seq 8 | code
    ACK       4 | seq 8                                                      (all up to seq have come)
    ALIVE     5
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Final

from silo.transport.base import Buffer, State
from silo.transport.errors import LinkViolation

CHUNK: Final = 256 * 1024
MAX_FRAME: Final = CHUNK + 512
_STATES: Final[tuple[State, ...]] = ("awaited", "present", "away", "gone")
_NAME: Final = re.compile(rb"[a-z0-9][a-z0-9-]{0,31}")
_CODE: Final = re.compile(rb"(SILO-[0-9]{3})?")
_DATA, _PRESENCE, _BYE, _ACK, _ALIVE = 1, 2, 3, 4, 5
_HEAD: Final = struct.Struct(">BQQB")
_SEQ: Final = struct.Struct(">BQ")


@dataclass(frozen=True, slots=True)
class Data:
    """A piece of a message of `size` bytes to (or from) `name`."""

    seq: int
    size: int
    name: str
    piece: memoryview


@dataclass(frozen=True, slots=True)
class News:
    """A party's new state."""

    seq: int
    name: str
    state: State
    code: str


@dataclass(frozen=True, slots=True)
class Bye:
    """The other end leaves for good."""

    seq: int
    code: str


@dataclass(frozen=True, slots=True)
class Ack:
    """Every numbered frame up to `seq` has come."""

    seq: int


@dataclass(frozen=True, slots=True)
class Alive:
    """Nothing to say, but there."""


Frame = Data | News | Bye | Ack | Alive


def data(seq: int, size: int, name: str, piece: Buffer) -> bytes:
    """One piece of a message."""
    raw = name.encode()
    return b"".join((_HEAD.pack(_DATA, seq, size, len(raw)), raw, piece))


def news(seq: int, name: str, state: State, code: str) -> bytes:
    """A party's new state."""
    raw = name.encode()
    return _SEQ.pack(_PRESENCE, seq) + bytes([_STATES.index(state), len(raw)]) + raw + code.encode()


def bye(seq: int, code: str) -> bytes:
    """Leaving for good."""
    return _SEQ.pack(_BYE, seq) + code.encode()


def ack(seq: int) -> bytes:
    """All up to `seq` has come."""
    return _SEQ.pack(_ACK, seq)


ALIVE: Final = bytes([_ALIVE])


def decode(raw: bytes) -> Frame:
    """Read one frame. Raises `LinkViolation` and nothing else."""
    if not isinstance(raw, bytes) or not 1 <= len(raw) <= MAX_FRAME:
        raise LinkViolation("a link frame is empty, too large or no bytes")
    kind = raw[0]
    if kind == _DATA:
        return _decode_data(raw)
    if kind == _ALIVE and len(raw) == 1:
        return Alive()
    if len(raw) < _SEQ.size:
        raise LinkViolation("a link frame is shorter than its head")
    seq: int = _SEQ.unpack_from(raw)[1]
    rest = raw[_SEQ.size :]
    if kind == _ACK and not rest:
        return Ack(seq)
    if kind == _BYE:
        return Bye(seq, _code(rest))
    if kind == _PRESENCE and len(rest) >= 2 and rest[0] < len(_STATES):
        end = 2 + rest[1]
        return News(seq, _name(rest[2:end], rest[1]), _STATES[rest[0]], _code(rest[end:]))
    raise LinkViolation("a link frame of no known kind")


def _decode_data(raw: bytes) -> Data:
    if len(raw) < _HEAD.size:
        raise LinkViolation("a link frame is shorter than its head")
    _, seq, size, length = _HEAD.unpack_from(raw)
    start = _HEAD.size + length
    name = _name(raw[_HEAD.size : start], length)
    piece = memoryview(raw)[start:]
    if len(piece) > min(CHUNK, size) or (size and not len(piece)):
        raise LinkViolation("a piece of a message has a length that cannot be")
    return Data(seq, size, name, piece)


def _name(raw: bytes, length: int) -> str:
    if len(raw) != length or not _NAME.fullmatch(raw):
        raise LinkViolation("a link frame names no party")
    return raw.decode()


def _code(raw: bytes) -> str:
    if not _CODE.fullmatch(raw):
        raise LinkViolation("a link frame has a malformed code")
    return raw.decode()
