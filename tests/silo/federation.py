"""Identities and charters for the tests of the trust layer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from silo.charter import Charter, Relay, SumTerms, Task
from silo.crypto.rng import InsecureSeededRng
from silo.identity import Identity

NOW = datetime.now(UTC).replace(microsecond=0)
YEAR = timedelta(days=365)
MEMBERS = ("clinic", "mercy", "northside")


def identity(home: Path, name: str, **options: Any) -> Identity:
    seed = int.from_bytes(name.encode()[:8], "big")
    settings = {"passphrase": None, "rng": InsecureSeededRng(seed), "now": NOW} | options
    return Identity.create(name, home / name, **settings)


def identities(home: Path, *names: str) -> dict[str, Identity]:
    return {name: identity(home, name) for name in names or (*MEMBERS, "relay")}


def task(**options: Any) -> Task:
    settings: dict[str, Any] = {"name": "main", "rounds": 10, "rows": 1000, "bytes": 10**6}
    settings["expires"] = NOW + YEAR
    return Task(**(settings | options))


def charter(people: dict[str, Identity], **options: Any) -> Charter:
    members = [one.card for name, one in people.items() if name != "relay"]
    settings: dict[str, Any] = {
        "relay": Relay(people["relay"].card, "wss://localhost:8443"),
        "members": members,
        "tasks": [task()],
        "now": NOW,
        "expires": NOW + YEAR,
    }
    return Charter.new("Sepsis study", **(settings | options))


def terms(count: int = 3, **options: Any) -> SumTerms:
    return SumTerms.for_members(count, **options)


def signed(agreement: Charter, people: dict[str, Identity]) -> Charter:
    for name in agreement.names:
        agreement = agreement.sign(people[name])
    return agreement
