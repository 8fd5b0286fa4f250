"""Frames of the link: one binary WebSocket message each, a fixed head by `struct`, decoded strictly.

    login       CHALLENGE (relay)  LOGIN (member)  WELCOME or REFUSED (relay)
    numbered    DATA  PRESENCE  BYE     kept by the sender until acknowledged, sent again after a reconnect
    not         ACK                     grants room: everything up to its number was taken

The four login frames begin with kind, major and minor version, in every version there will be, so that two
sides that do not understand each other still learn why.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from silo.transport.base import Buffer, State
from silo.transport.errors import LinkViolation, VersionMismatch

VERSION: Final = (1, 0)
CHUNK: Final = 1 << 20
"""Most payload bytes of one DATA frame."""
MAX_FRAME: Final = CHUNK + 256
NONCE: Final = 32
TOKEN: Final = 16

Reason = Literal["version", "charter", "name", "key", "certificate", "expired", "taken-over", "violation"]
_REASONS: Final[tuple[Reason, ...]] = get_args(Reason)
_STATES: Final[tuple[State, ...]] = ("awaited", "present", "away", "gone")
_NAME: Final = re.compile(rb"[!-~]{1,64}")
_CODE: Final = re.compile(rb"(SILO-[0-9]{3})?")

_CHALLENGE, _LOGIN, _WELCOME, _REFUSED, _DATA, _PRESENCE, _BYE, _ACK = range(1, 9)
_VERSION_HEAD: Final = struct.Struct("!BHH")
_CHALLENGE_HEAD: Final = struct.Struct("!BHH16s32sB")
_LOGIN_HEAD: Final = struct.Struct("!BHH32s32s16sQ64sB")
_WELCOME_HEAD: Final = struct.Struct("!BHH16s?Q64s")
_REFUSED_HEAD: Final = struct.Struct("!BHHB")
_DATA_HEAD: Final = struct.Struct("!BBBxQQIQ")
_PRESENCE_HEAD: Final = struct.Struct("!BBBBQ")
_BYE_HEAD: Final = struct.Struct("!BBxxQ")
_ACK_HEAD: Final = struct.Struct("!BxxxQ")


@dataclass(frozen=True, slots=True)
class Challenge:
    """The relay's first word: its instance, a nonce, its name."""

    epoch: bytes
    nonce: bytes
    relay: str


@dataclass(frozen=True, slots=True)
class Login:
    """A member's answer; `token` is zero for a new process, else that of the link it resumes."""

    name: str
    charter: bytes
    nonce: bytes
    token: bytes
    received: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class Welcome:
    """The relay's proof, and the last number that it has of a resumed link."""

    token: bytes
    resumed: bool
    received: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """The relay closes; a word, never the text of an exception, which could carry a record."""

    version: tuple[int, int]
    reason: Reason


@dataclass(frozen=True, slots=True)
class Data:
    """Chunk `index` of message `message` (of `total` bytes) to, or from, `party`."""

    number: int
    message: int
    index: int
    total: int
    last: bool
    party: str
    chunk: memoryview


@dataclass(frozen=True, slots=True)
class News:
    """A party's new state."""

    number: int
    party: str
    state: State
    code: str


@dataclass(frozen=True, slots=True)
class Bye:
    """The other side leaves for good."""

    number: int
    code: str


@dataclass(frozen=True, slots=True)
class Ack:
    """Everything up to `number` was taken."""

    number: int


LoginFrame = Challenge | Login | Welcome | Refused
Numbered = Data | News | Bye


def encode_login(frame: LoginFrame) -> bytes:
    """The bytes of a login frame in this version."""
    match frame:
        case Challenge():
            name = frame.relay.encode()
            return _CHALLENGE_HEAD.pack(_CHALLENGE, *VERSION, frame.epoch, frame.nonce, len(name)) + name
        case Login():
            name = frame.name.encode()
            head = _LOGIN_HEAD.pack(
                _LOGIN,
                *VERSION,
                frame.charter,
                frame.nonce,
                frame.token,
                frame.received,
                frame.signature,
                len(name),
            )
            return head + name
        case Welcome():
            return _WELCOME_HEAD.pack(
                _WELCOME, *VERSION, frame.token, frame.resumed, frame.received, frame.signature
            )
        case Refused():
            return _REFUSED_HEAD.pack(_REFUSED, *VERSION, _REASONS.index(frame.reason))


def data_head(number: int, message: int, index: int, total: int, last: bool, party: bytes) -> bytes:
    """The head of a DATA frame; the chunk follows it."""
    return _DATA_HEAD.pack(_DATA, last, len(party), number, message, index, total) + party


def encode_news(number: int, party: str, state: State, code: str) -> bytes:
    """A PRESENCE frame."""
    name = party.encode()
    head = _PRESENCE_HEAD.pack(_PRESENCE, _STATES.index(state), len(name), len(code), number)
    return head + name + code.encode()


def encode_bye(number: int, code: str) -> bytes:
    """A BYE frame."""
    return _BYE_HEAD.pack(_BYE, len(code), number) + code.encode()


def encode_ack(number: int) -> bytes:
    """An ACK frame."""
    return _ACK_HEAD.pack(_ACK, number)


def decode_login(raw: Buffer | str) -> LoginFrame:
    """Read one frame of the login. Raises `LinkViolation` or `VersionMismatch`, nothing else."""
    view = _view(raw)
    kind, *theirs = _unpack(_VERSION_HEAD, view)
    if theirs[0] != VERSION[0]:
        raise VersionMismatch(VERSION, (theirs[0], theirs[1]))
    if kind == _CHALLENGE:
        *_, epoch, nonce, length = _unpack(_CHALLENGE_HEAD, view)
        return Challenge(epoch, nonce, _name(_rest(view, _CHALLENGE_HEAD, length)))
    if kind == _LOGIN:
        *_, charter, nonce, token, received, signature, length = _unpack(_LOGIN_HEAD, view)
        name = _name(_rest(view, _LOGIN_HEAD, length))
        return Login(name, charter, nonce, token, received, signature)
    if kind == _WELCOME:
        _rest(view, _WELCOME_HEAD, 0)
        *_, token, resumed, received, signature = _unpack(_WELCOME_HEAD, view)
        return Welcome(token, resumed, received, signature)
    if kind == _REFUSED:
        _rest(view, _REFUSED_HEAD, 0)
        reason = _unpack(_REFUSED_HEAD, view)[3]
        if reason < len(_REASONS):
            return Refused((theirs[0], theirs[1]), _REASONS[reason])
    raise LinkViolation("a frame of no kind that belongs to a login")


def decode(raw: Buffer | str) -> Numbered | Ack | Refused:
    """Read one frame after the login. Raises `LinkViolation` and nothing else."""
    view = _view(raw)
    kind = view[0]
    if kind == _DATA:
        return _decode_data(view)
    if kind == _ACK:
        _rest(view, _ACK_HEAD, 0)
        return Ack(_unpack(_ACK_HEAD, view)[1])
    if kind == _PRESENCE:
        _, state, length, coded, number = _unpack(_PRESENCE_HEAD, view)
        rest = _rest(view, _PRESENCE_HEAD, length + coded)
        if state < len(_STATES):
            return News(number, _name(rest[:length]), _STATES[state], _code(rest[length:]))
    if kind == _BYE:
        _, length, number = _unpack(_BYE_HEAD, view)
        return Bye(number, _code(_rest(view, _BYE_HEAD, length)))
    if kind == _REFUSED:
        try:
            frame = decode_login(view)
        except VersionMismatch:
            raise LinkViolation("a frame of another version after the login") from None
        if isinstance(frame, Refused):
            return frame
    raise LinkViolation("a frame of no known kind")


def _decode_data(view: memoryview) -> Data:
    _, last, length, number, message, index, total = _unpack(_DATA_HEAD, view)
    start = _DATA_HEAD.size + length
    name = _name(bytes(view[_DATA_HEAD.size : start]))
    chunk = view[start:]
    if last > 1 or len(chunk) > CHUNK or len(chunk) > total or (total and not chunk):
        raise LinkViolation("a chunk does not fit its message")
    return Data(number, message, index, total, bool(last), name, chunk)


def _view(raw: Buffer | str) -> memoryview:
    if isinstance(raw, str) or not 1 <= len(raw) <= MAX_FRAME:
        raise LinkViolation("a frame is empty, too long or text")
    return memoryview(raw).toreadonly()


def _unpack(head: struct.Struct, view: memoryview) -> tuple[Any, ...]:
    try:
        return head.unpack_from(view)
    except struct.error:
        raise LinkViolation("a frame is shorter than its head") from None


def _rest(view: memoryview, head: struct.Struct, length: int) -> bytes:
    if len(view) != head.size + length:
        raise LinkViolation("a frame is shorter or longer than its head says")
    return bytes(view[head.size :])


def _name(raw: bytes) -> str:
    if not _NAME.fullmatch(raw):
        raise LinkViolation("a frame names no party")
    return raw.decode("ascii")


def _code(raw: bytes) -> str:
    if not _CODE.fullmatch(raw):
        raise LinkViolation("a frame has no valid code")
    return raw.decode("ascii")
