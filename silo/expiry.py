"""When agreements and certificates end, and how early a person hears of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

WARN_DAYS: Final = (7, 30, 60)


def utc_now() -> datetime:
    """The clock of the silo floor, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def warning(what: str, expires: datetime, now: datetime) -> str | None:
    """One sentence when `expires` is past or within 7, 30 or 60 days of `now`, else None."""
    if expires <= now:
        return f"{what} expired on {expires:%Y-%m-%d}"
    left = (expires - now).total_seconds() / 86400
    for days in WARN_DAYS:
        if left <= days:
            return f"{what} expires on {expires:%Y-%m-%d}, within {days} days: renew it before then"
    return None
