"""The envelope around every message: what it belongs to, who says it to whom, and the signature.

Layout of a frame: `SILO` | version (1) | header length (2, big-endian) | header | signature (64) | body.
The Ed25519 signature covers the header's bytes and the SHA-256 of the body's bytes, both as sent, so that
(header, digest, signature), a `Receipt`, can be checked by somebody who never sees the body.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from silo.crypto import labels, signing
from silo.crypto.errors import InvalidSignature
from silo.crypto.signing import SigningKey
from silo.protocols import codec
from silo.protocols.codec import Bytes32, Bytes64, Count, Message, Name, Note, Short, Text
from silo.protocols.errors import BadSignature, MalformedMessage, ReplayedMessage, UnexpectedMessage

Buffer = bytes | bytearray | memoryview

VERSION: Final = 1
EVERYBODY: Final = "everybody"
_MAGIC: Final = b"SILO" + bytes([VERSION])
_SIGNATURE: Final = 64
_MAX_HEADER: Final = 1024
OVERHEAD: Final = len(_MAGIC) + 2 + _MAX_HEADER + _SIGNATURE

M = TypeVar("M", bound=Message)
M_co = TypeVar("M_co", bound=Message, covariant=True)


@dataclass(frozen=True, slots=True)
class Bearings:
    """Where a message belongs: protocol, digest of its parameters, session and round."""

    protocol: str
    parameters: bytes
    session: bytes
    round: int


class Header(Message, frozen=True):
    protocol: Text
    parameters: Bytes32
    session: Bytes32
    round: Count
    sender: Name
    recipient: Name
    kind: Text
    note: Note


class Receipt(Message, frozen=True):
    """A signed header and the digest of a body: proof that the sender sent just these bytes."""

    header: Short
    digest: Bytes32
    signature: Bytes64


@dataclass(frozen=True, slots=True)
class Opened(Generic[M_co]):
    """A message whose signature, bearings and form were checked."""

    sender: str
    message: M_co
    receipt: Receipt
    frame: Buffer


def seal(
    message: M,
    bearings: Bearings,
    *,
    sender: str,
    recipient: str,
    signer: SigningKey,
    note: bytes = b"",
) -> Opened[M]:
    """Encode and sign one message; the payload is copied once.

    `note` is up to 512 bytes that a `Receipt` shows to those who never see the body.
    """
    header = codec.encode(
        Header(
            bearings.protocol,
            bearings.parameters,
            bearings.session,
            bearings.round,
            sender,
            recipient,
            type(message).__name__,
            note,
        )
    )
    start = len(_MAGIC) + 2 + len(header) + _SIGNATURE
    frame = bytearray(start)
    codec.encode_into(message, frame, start)
    with memoryview(frame) as view:
        digest = hashlib.sha256(view[start:]).digest()
    signature = signer.sign(labels.ENVELOPE, header + digest)
    frame[:start] = _MAGIC + len(header).to_bytes(2, "big") + header + signature
    return Opened(sender, message, Receipt(header, digest, signature), frame)


def open_frame(
    frame: Buffer,
    *,
    bearings: Bearings,
    keys: Mapping[str, bytes],
    kinds: Mapping[str, type[M]],
    recipients: frozenset[str],
    limit: int,
    came_from: str = "",
) -> Opened[M]:
    """Check a frame from the outside in and decode its body.

    `came_from` is who handed it over, blamed for what no signature holds yet. `limit` bounds the whole frame
    in bytes. Raises a `ProtocolViolation` that names the culprit; nothing else.
    """
    here = bearings.round
    if len(frame) > limit:
        raise MalformedMessage(
            "a frame is too large",
            culprits=(came_from,),
            round=here,
            expected=f"<= {limit}",
            found=len(frame),
        )
    receipt, header, body = _split(frame, came_from, here)
    verify_receipt(receipt, bearings=bearings, keys=keys, header=header, came_from=came_from)
    if header.recipient not in recipients:
        raise UnexpectedMessage(
            "a message for somebody else",
            culprits=(came_from,),
            round=here,
            expected=sorted(recipients),
            found=header.recipient,
        )
    kind = kinds.get(header.kind)
    if kind is None:
        raise UnexpectedMessage(
            "a message of another kind",
            culprits=_either(came_from, header.sender),
            round=here,
            expected=sorted(kinds),
            found=header.kind,
        )
    message = codec.decode(kind, body, sender=header.sender, round=here)
    return Opened(header.sender, message, receipt, frame)


def claimed_protocol(frame: Buffer) -> str:
    """The protocol that a frame claims to belong to, "" if it is no frame; nothing of it is trusted."""
    view = memoryview(frame)
    start = len(_MAGIC) + 2
    if len(view) < start or bytes(view[: len(_MAGIC)]) != _MAGIC:
        return ""
    length = min(int.from_bytes(view[len(_MAGIC) : start], "big"), _MAX_HEADER)
    try:
        return codec.decode(Header, bytes(view[start : start + length]), sender="", round=0).protocol
    except MalformedMessage:
        return ""


def claimed_signature(frame: Buffer) -> bytes:
    """The signature that a frame claims, b"" if it is no frame; nothing of it is trusted."""
    view = memoryview(frame)
    fixed = len(_MAGIC) + 2
    if len(view) < fixed or bytes(view[: len(_MAGIC)]) != _MAGIC:
        return b""
    start = fixed + int.from_bytes(view[len(_MAGIC) : fixed], "big")
    return bytes(view[start : start + _SIGNATURE])


def read_header(receipt: Receipt, came_from: str, round: int) -> Header:
    """Decode the header of a receipt, without trusting it."""
    return codec.decode(Header, receipt.header, sender=came_from, round=round)


def verify_receipt(
    receipt: Receipt, *, bearings: Bearings, keys: Mapping[str, bytes], header: Header, came_from: str
) -> None:
    """Check that the header's sender signed it for these bearings. Raises `ProtocolViolation`."""
    key = keys.get(header.sender)
    if key is None:
        raise UnexpectedMessage(
            "a message from a party outside the roster",
            culprits=(came_from,),
            round=bearings.round,
            expected=", ".join(keys),
            found=header.sender,
        )
    try:
        signing.verify(key, labels.ENVELOPE, receipt.header + receipt.digest, receipt.signature)
    except InvalidSignature:
        raise BadSignature(
            f"the signature of a {header.kind} does not verify",
            culprits=_either(came_from, header.sender),
            round=bearings.round,
        ) from None
    if (header.session, header.round) != (bearings.session, bearings.round):
        raise ReplayedMessage(
            f"a {header.kind} of another session or round",
            culprits=(came_from or header.sender,),
            round=bearings.round,
            expected=f"round {bearings.round} of {bearings.session.hex()[:8]}",
            found=f"round {header.round} of {header.session.hex()[:8]}",
        )
    if (header.protocol, header.parameters) != (bearings.protocol, bearings.parameters):
        raise UnexpectedMessage(
            f"a {header.kind} under other parameters",
            culprits=_either(came_from, header.sender),
            round=bearings.round,
            expected=f"{bearings.protocol} {bearings.parameters.hex()[:8]}",
            found=f"{header.protocol} {header.parameters.hex()[:8]}",
        )


def _either(came_from: str, signer: str) -> tuple[str, ...]:
    """Who could have put a frame where it does not belong: whoever handed it over, or its signer."""
    return (signer,) if came_from in ("", signer) else (came_from, signer)


def _split(frame: Buffer, came_from: str, round: int) -> tuple[Receipt, Header, memoryview]:
    view = memoryview(frame).toreadonly()
    fixed = len(_MAGIC) + 2
    if len(view) < fixed or bytes(view[: len(_MAGIC)]) != _MAGIC:
        raise MalformedMessage("not a Silo frame of this version", culprits=(came_from,), round=round)
    length = int.from_bytes(view[len(_MAGIC) : fixed], "big")
    start = fixed + length + _SIGNATURE
    if length > _MAX_HEADER or len(view) < start:
        raise MalformedMessage(
            "a frame is shorter than its header says",
            culprits=(came_from,),
            round=round,
            expected=f">= {start}",
            found=len(view),
        )
    raw = bytes(view[fixed : fixed + length])
    signature = bytes(view[fixed + length : start])
    body = view[start:]
    receipt = Receipt(raw, hashlib.sha256(body).digest(), signature)
    return receipt, codec.decode(Header, raw, sender=came_from, round=round), body
