"""Who takes part in one round: names in a fixed order, each with the pinned signing key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from silo.crypto import labels
from silo.crypto.errors import ParameterError


@dataclass(frozen=True, slots=True)
class Roster:
    """Members sorted by name; the key of each is the one pinned by the charter."""

    keys: Mapping[str, bytes]

    @classmethod
    def of(cls, keys: Mapping[str, bytes]) -> Roster:
        """Sort the members and refuse a key that two of them share."""
        if len(set(keys.values())) != len(keys):
            raise ParameterError("two members of the roster have the same signing key")
        return cls(dict(sorted(keys.items())))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.keys)

    def point(self, name: str) -> int:
        """The Shamir x-coordinate of a member: its place in the roster, from 1."""
        return self.names.index(name) + 1

    def only(self, names: Iterable[str]) -> Roster:
        """The same roster without those who are not named."""
        kept = set(names)
        return Roster({name: key for name, key in self.keys.items() if name in kept})

    def digest(self) -> bytes:
        parts: list[bytes | str] = []
        for name, key in self.keys.items():
            parts += [name, key]
        return hashlib.sha256(labels.bind(labels.ROSTER, *parts)).digest()

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys)

    def __contains__(self, name: object) -> bool:
        return name in self.keys
