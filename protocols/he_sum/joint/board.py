"""What every party of a round under a joint key computes alike: what is voted on, the check of the sum, bounds."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from silo.crypto import aead, labels
from silo.crypto.errors import DecryptionFailed, ParameterError
from silo.crypto.keys import AgreementKey, derive
from silo.crypto.lattice import fingerprint
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret
from silo.protocols.envelope import OVERHEAD, Buffer
from silo.protocols.errors import InconsistentSets, MalformedMessage, TooFewParties
from silo.protocols.he_sum.agreed import Agreed
from silo.protocols.he_sum.context import Context
from silo.protocols.he_sum.joint.key import KeyPart, Lattice
from silo.protocols.he_sum.joint.shares import Shared
from silo.protocols.rounds import by_name


@dataclass(frozen=True, repr=False, eq=False)
class Own:
    """What a member keeps through a round: its part of the key, and the key under which it seals its decryption."""

    me: str
    channel: AgreementKey
    lattice: Lattice
    part: KeyPart
    share: bytes
    """Its own share of its own seed."""
    contribution: bytes
    sealing: Secret


def lattice_of(context: Context) -> Lattice:
    """The scheme of this round; its common polynomial is a hash of where the round stands."""
    terms = context.parameters
    common = hashlib.sha256(context.info(labels.JOINT_SEED)).digest()
    return Lattice(common, count=terms.count, bits=terms.bits, parties=terms.parties)


def directory(context: Context, digests: Mapping[str, bytes]) -> bytes:
    """Bind the parts of the key as they were signed; 32 bytes."""
    return hashlib.sha256(context.info(labels.ROSTER, *by_name(digests))).digest()


def agreed(context: Context, parts: bytes, uploads: Mapping[str, bytes], payload: Buffer) -> Agreed:
    """What is voted on: the directory of the parts, who uploaded what, and the sum that is to be decrypted."""
    total = hashlib.sha256(payload).digest()
    return Agreed(dict(sorted(uploads.items())), context.cohort(uploads, parts, total))


def part_limit(context: Context, lattice: Lattice) -> int:
    """Bytes of the largest part in its envelope."""
    return OVERHEAD + 4096 + 512 * len(context.roster) + lattice.part_bytes


def checking(context: Context, parts: bytes, contributions: Mapping[str, bytes]) -> Secret:
    """The key of the check: every member has put something in, and the aggregator has none of it."""
    return Secret(hashlib.sha256(context.info(labels.JOINT_CHECK, parts, *by_name(contributions))).digest())


def seal_fingerprint(context: Context, key: Secret, name: str, payload: Buffer, *, rng: Rng) -> bytes:
    """The note of an upload: its fingerprint, for members only."""
    raw = fingerprint.write(fingerprint.of(payload, _derived(context, key, "factors")))
    return aead.seal(_derived(context, key, "note"), raw, context.info(labels.JOINT_NOTE, name), rng=rng)


def check_sum(context: Context, key: Secret, notes: Mapping[str, bytes], payload: Buffer) -> None:
    """Refuse a payload that is not the sum of these uploads. Raises `ProtocolViolation`."""
    total = fingerprint.read(bytes(fingerprint.BYTES))
    for name, note in notes.items():
        try:
            raw = aead.unseal(_derived(context, key, "note"), note, context.info(labels.JOINT_NOTE, name))
            total = fingerprint.added(total, fingerprint.read(raw))
        except (DecryptionFailed, ParameterError):
            raise MalformedMessage(
                "the fingerprint of its upload does not open", culprits=(name,), round=context.round
            ) from None
    try:
        same = hmac.compare_digest(
            fingerprint.write(total),
            fingerprint.write(fingerprint.of(payload, _derived(context, key, "factors"))),
        )
    except ParameterError as problem:
        raise MalformedMessage(
            f"the sum is no ciphertext: {problem}", culprits=(context.aggregator,), round=context.round
        ) from None
    if not same:
        raise InconsistentSets(
            "what is to be decrypted is not the sum of the uploads: nothing was decrypted",
            culprits=(context.aggregator, *notes),
            round=context.round,
        )


def _derived(context: Context, key: Secret, use: str) -> Secret:
    return derive(key, context.info(labels.JOINT_CHECK, use))


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


def associated(context: Context, on: Agreed, name: str, step: str) -> bytes:
    """What a sealed part of a decryption is bound to."""
    return context.info(labels.JOINT_PART, on.digest, name, step)
