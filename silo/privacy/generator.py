"""What a ledger says of the generator that noise was drawn from."""

from __future__ import annotations

from silo.crypto.rng import Rng, SystemRng


def described(rng: Rng) -> str:
    """One line: whether anybody can know the noise."""
    if isinstance(rng, SystemRng):
        return "AES-128-CTR, seeded by the operating system"
    return f"AES-128-CTR, seeded by {type(rng).__name__}: whoever knows its seed knows the noise"
