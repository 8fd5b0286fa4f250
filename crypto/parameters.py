"""Named parameter sets: what is used, how many bits of security it has, and where that figure comes from.

Bits are classical; against a quantum computer X25519 and Ed25519 have none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Parameters:
    """One scheme with its parameters fixed."""

    name: str
    security_bits: int
    source: str


PRG_AES128_CTR: Final = Parameters(
    "AES-128-CTR keystream, 32-byte seed (key and first counter block)",
    128,
    "FIPS 197, NIST SP 800-38A; SP 800-57 part 1 rev. 5, table 2; the random counter block also keeps "
    "one precomputation from serving many streams",
)
AGREEMENT_X25519: Final = Parameters(
    "X25519 with HKDF-SHA256", 128, "RFC 7748 section 7; RFC 5869; about 2^126 steps of Pollard's rho"
)
SIGNATURE_ED25519: Final = Parameters("Ed25519", 128, "RFC 8032 section 8.5; small-order keys refused")
AEAD_AES256_GCM: Final = Parameters(
    "AES-256-GCM, 96-bit nonce, 128-bit tag",
    128,
    "NIST SP 800-38D; 256-bit key; one try forges with at most 2^-128 per block of the message",
)
SHAMIR_P257: Final = Parameters(
    "Shamir over the field of 2^256 + 297 elements, 32-byte secrets",
    127,
    "CACM 22(11), 1979: perfect below the threshold, but each coefficient is up to 2^-127 off uniform",
)

ALL: Final = (PRG_AES128_CTR, AGREEMENT_X25519, SIGNATURE_ED25519, AEAD_AES256_GCM, SHAMIR_P257)
