"""The root of every error that Silo raises, and those of the crypto floor.

Each class has a stable `code`; docs/errors has one page per code.
"""

from __future__ import annotations

from typing import ClassVar, NoReturn


class SiloError(Exception):
    """Anything that Silo refuses or cannot do. `str()` is one sentence for a person."""

    code: ClassVar[str] = "SILO-000"


class ParameterError(SiloError, ValueError):
    """A parameter, shape or value that cannot be used; nothing was changed."""

    code = "SILO-101"


class UsageError(SiloError):
    """The caller used the library in a way that is never right."""

    code = "SILO-102"


class StateReused(UsageError):
    """A protocol state, key or token that may be used once was used again."""

    code = "SILO-103"


class DecryptionFailed(SiloError):
    """An authenticated ciphertext did not open: wrong key, wrong context or tampered bytes."""

    code = "SILO-104"


class InvalidSignature(SiloError):
    """A signature does not verify under the pinned key."""

    code = "SILO-105"


def refuse_pickle(thing: object) -> NoReturn:
    """Body of `__reduce__` for everything that holds a secret."""
    raise TypeError(f"{type(thing).__name__} holds a secret and cannot be pickled or copied")
