"""One record of the ledger: canonical text, chained by hash, signed by the owner.

    hash      = SHA-256(label, ledger id, sequence, previous hash, body)
    signature = Ed25519(label, ledger id, sequence, hash)

The body is JSON with sorted keys; every figure in it is text, the exact decimal of its value, so that no reader
rounds. As each hash covers the one before, the signature of the newest record covers the whole chain.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from silo.crypto import labels, signing
from silo.errors import InvalidSignature
from silo.privacy.errors import LedgerCorrupt

SCHEMA: Final = 1
MAX_BODY: Final = 1 << 20
KINDS: Final = (
    "ledger",
    "open",
    "reserve",
    "commit",
    "close",
    "refuse",
    "release",
    "adjust",
    "freeze",
    "witness",
    "cover",
)


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it lies in the file."""

    sequence: int
    previous: bytes
    body: str
    hash: bytes
    signature: bytes

    def fields(self) -> dict[str, Any]:
        """The body as a dict. Raises `LedgerCorrupt`."""
        try:
            found = json.loads(self.body) if len(self.body) <= MAX_BODY else None
            # NaN and the like are no JSON, and say so here.
            again = canonical(found) if isinstance(found, dict) else None
        except (ValueError, RecursionError):
            found = again = None
        if not isinstance(found, dict) or again != self.body:
            raise LedgerCorrupt(self.sequence, "is not in the ledger's form")
        if found.get("schema") != str(SCHEMA) or found.get("kind") not in KINDS:
            raise LedgerCorrupt(self.sequence, "is of a kind or version that this Silo does not know")
        if not _printable(found):
            # It could move the cursor of whoever reads it on a screen.
            raise LedgerCorrupt(self.sequence, "holds control characters")
        return found

    def check(self, ledger: bytes, previous: bytes) -> None:
        """Check number and chain, not the signature. Raises `LedgerCorrupt`."""
        if self.hash != digest(ledger, self.sequence, self.previous, self.body):
            raise LedgerCorrupt(self.sequence, "was edited")
        if self.previous != previous:
            raise LedgerCorrupt(self.sequence, "does not follow the one before it")

    def check_signature(self, key: bytes, ledger: bytes) -> None:
        """Check that the owner of this ledger signed. Raises `LedgerCorrupt`."""
        try:
            signing.verify(
                key, labels.LEDGER_SIGNATURE, signed(ledger, self.sequence, self.hash), self.signature
            )
        except InvalidSignature:
            raise LedgerCorrupt(self.sequence, "is not signed by the ledger's owner") from None


def _printable(thing: object) -> bool:
    if isinstance(thing, dict):
        return all(_printable(part) for pair in thing.items() for part in pair)
    if isinstance(thing, list):
        return all(map(_printable, thing))
    return not isinstance(thing, str) or thing.isprintable()


def canonical(body: Mapping[str, Any]) -> str:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(ledger: bytes, sequence: int, previous: bytes, body: str) -> bytes:
    """The hash of a record; 32 bytes."""
    return hashlib.sha256(labels.bind(labels.LEDGER_RECORD, ledger, sequence, previous, body)).digest()


def signed(ledger: bytes, sequence: int, digest: bytes) -> bytes:
    """What the owner signs: the hash alone could be shown beside another number, as if there were two ledgers."""
    return labels.bind(labels.LEDGER_HEAD, ledger, sequence, digest)


def genesis(ledger: bytes) -> bytes:
    """What the first record follows; 32 bytes."""
    return hashlib.sha256(labels.bind(labels.LEDGER_RECORD, ledger)).digest()


def timestamp(moment: datetime) -> str:
    """A record's time, to the minute: how long a step took would tell what was in it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")


def moment(text: str) -> datetime:
    """Read `timestamp` again. Raises `ValueError`."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a time without zone")
    return found
