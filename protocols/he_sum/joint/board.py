"""What every party of a round under a joint key computes alike: commitments, pledges, bounds, associated data."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

from silo.crypto import labels
from silo.crypto.keys import AgreementKey
from silo.crypto.secret import Secret
from silo.protocols.envelope import OVERHEAD, Buffer
from silo.protocols.errors import InconsistentSets, TooFewParties
from silo.protocols.he_sum.agreed import Agreed
from silo.protocols.he_sum.context import Context
from silo.protocols.he_sum.joint.key import KeyPart, Lattice
from silo.protocols.he_sum.joint.shares import Shared


@dataclass(frozen=True, repr=False, eq=False)
class Own:
    """What a member keeps through a round: its part of the key, and the key under which it seals its decryption."""

    me: str
    channel: AgreementKey
    lattice: Lattice
    seed: Secret
    nonce: bytes
    part: KeyPart
    sealing: Secret


def lattice_of(context: Context) -> Lattice:
    """The scheme of this round; its common polynomial is a hash of where the round stands."""
    terms = context.parameters
    common = hashlib.sha256(context.info(labels.JOINT_SEED)).digest()
    return Lattice(common, count=terms.count, bits=terms.bits, parties=terms.parties)


def commitment(context: Context, name: str, nonce: bytes, part: Buffer) -> bytes:
    """Bind a part of the key before it is shown; 32 bytes."""
    return hashlib.sha256(context.info(labels.JOINT_COMMITMENT, name, nonce, bytes(part))).digest()


def pledged(context: Context, directory: bytes, name: str, payload: Buffer) -> bytes:
    """Bind an upload to its sender and to the joint key; 32 bytes."""
    inner = hashlib.sha256(payload).digest()
    return hashlib.sha256(context.info(labels.JOINT_PLEDGE, directory, name, inner)).digest()


def reveal_limit(context: Context, lattice: Lattice) -> int:
    """Bytes of the largest reveal in its envelope."""
    return OVERHEAD + 4096 + 512 * len(context.roster) + lattice.part_bytes


def require(context: Context, there: Collection[str], step: str) -> None:
    if len(there) < context.fewest:
        missing = [name for name in context.roster if name not in there]
        raise TooFewParties(context.fewest, sorted(there), step, missing)


def require_few(context: Context, lost: Collection[str]) -> None:
    """No member helps to rebuild more parts than may be lost: some honest part stays unknown."""
    if len(lost) > len(context.roster) - context.fewest:
        raise InconsistentSets(
            "shares of too many parts of the key were asked for",
            culprits=(context.aggregator,),
            round=context.round,
            expected=f"<= {len(context.roster) - context.fewest}",
            found=len(lost),
        )


def shares(held: dict[str, bytes], names: Collection[str]) -> tuple[Shared, ...]:
    return tuple(Shared(name, held[name]) for name in sorted(names))


def associated(context: Context, agreed: Agreed, name: str, step: str) -> bytes:
    return context.info(labels.JOINT_PART, agreed.digest, name, step)
