"""The errors of the trust layer, next to those of the crypto floor.

Each class has a stable code and a page docs/errors/<code>.md, which `silo explain <code>` prints.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from silo.crypto.errors import (
    DecryptionFailed,
    InvalidSignature,
    ParameterError,
    SiloError,
    StateReused,
    UsageError,
)

__all__ = [
    "ChangedAfterSigning",
    "CharterError",
    "CohortChanged",
    "DecryptionFailed",
    "Expired",
    "FilesTooOpen",
    "IdentityError",
    "InvalidSignature",
    "JournalError",
    "NotAllowed",
    "NotSigned",
    "OutboxCorrupt",
    "ParameterError",
    "QueriesSpent",
    "RoundReplayed",
    "SiloError",
    "StateReused",
    "UpdateReused",
    "UsageError",
    "WrongPassphrase",
]


class CharterError(SiloError):
    """The charter, or a card, is not one that may be used: its form or its figures are wrong."""

    code = "SILO-401"


class NotSigned(CharterError):
    """Members have not signed the charter yet."""

    code = "SILO-402"

    def __init__(self, missing: Iterable[str], path: str = "charter.toml") -> None:
        self.missing = tuple(missing)
        first = self.missing[0] if self.missing else "NAME"
        super().__init__(
            f"the charter is not signed by {', '.join(self.missing)}: "
            f"there, run `silo charter sign {path} --identity keys/{first}` and use the file that it writes"
        )


class NotAllowed(CharterError):
    """The charter does not allow what was asked; a job cannot override it."""

    code = "SILO-403"

    def __init__(self, what: str, cap: object, asked: object) -> None:
        self.what = what
        self.cap = cap
        self.asked = asked
        super().__init__(
            f"the charter does not allow this: {what} (agreed {cap}, asked {asked}); "
            "run what was agreed, or have a new charter signed"
        )


class Expired(CharterError):
    """The charter, one of its tasks or a certificate is past its date."""

    code = "SILO-404"

    def __init__(self, what: str, expired: datetime, remedy: str) -> None:
        self.what = what
        self.expired = expired
        super().__init__(f"{what} expired on {expired:%Y-%m-%d %H:%M} UTC: {remedy}")


class ChangedAfterSigning(CharterError):
    """A signature does not fit the charter's contents."""

    code = "SILO-405"

    def __init__(self, members: Iterable[str]) -> None:
        self.members = tuple(members)
        super().__init__(
            f"the charter is not the one that {', '.join(self.members)} signed: it was changed afterwards; "
            "ask for the original, or have the changed one signed by everybody"
        )


class IdentityError(SiloError):
    """The files of an identity cannot be read, written or used."""

    code = "SILO-411"


class WrongPassphrase(IdentityError):
    """The identity is under a passphrase, and the one given is missing or wrong."""

    code = "SILO-412"


class FilesTooOpen(IdentityError):
    """Somebody else on this computer may read a private file."""

    code = "SILO-413"


class OutboxCorrupt(SiloError):
    """The chain of the outbox is broken: `what` is edited, missing, reordered, truncated or unreadable."""

    code = "SILO-421"

    def __init__(self, sequence: int, what: str, path: str = "") -> None:
        self.sequence = sequence
        self.what = what
        where = f" of {path}" if path else ""
        super().__init__(
            f"entry {sequence}{where} is {what}: the outbox was changed after it was written; "
            "keep the file as evidence and compare it with a backup"
        )


class JournalError(SiloError):
    """The journal cannot be opened or written, so nothing may be sent."""

    code = "SILO-430"


class UpdateReused(UsageError):
    """An update that already left this site in a round that did not finish is never sent again."""

    code = "SILO-431"


class CohortChanged(UsageError):
    """The same update was already summed over other members; the difference would show somebody's input."""

    code = "SILO-432"


class QueriesSpent(NotAllowed):
    """This member has answered as many intersections, or taken part in as many fits or scorings, as agreed."""

    code = "SILO-406"

    def __init__(self, what: str, spent: int, most: int) -> None:
        super().__init__(f"{spent} {what} were answered", f"{most} under this charter", spent + 1)


class RoundReplayed(UsageError):
    """A round that this site already began in this session, or one before it."""

    code = "SILO-433"
