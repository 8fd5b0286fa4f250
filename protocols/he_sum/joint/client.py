"""A member's side of the sum under a key that nobody holds, one frozen state per round.

Scheme: exact ring learning with errors (`silo.crypto.lattice`). Every member makes a part of the key for this round
only; the joint public key is the sum of the parts, and a sum is decrypted by all parts together, once. Parts of members
who are lost are rebuilt from Shamir shares by a quorum, and worth nothing afterwards: the next round has another key.

Adversary, for privacy, one of three: a malicious aggregator; up to `colluders` malicious members beside an aggregator
that follows the protocol; an aggregator and such members that follow the protocol and pool all they see. A malicious
aggregator *together with* a malicious member is not withstood: ciphertexts carry no proof of their form, and from the
decryption of a malformed one the member reads the key of the round, which opens what only the aggregator has.
The aggregator cannot have another combination decrypted than the sum: members check it by a linear fingerprint under a
key that it lacks, each signs the set and the sum, and decrypts one sum a round.
Threshold: `Parameters.fewest` at every step, `Parameters.threshold` shares for a missing part. A member gives shares of
at most n - fewest parts; with 2t > n + c fewer than all honest parts can then become known.
What each learns: members the survivors, the sum's ciphertext, and the sum if they receive it; the aggregator the
survivors and the ciphertexts. A member that lies about its part of the decryption spoils the sum and is not named.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from silo.crypto import shamir
from silo.crypto.errors import DecryptionFailed, ParameterError, refuse_pickle
from silo.crypto.keys import AgreementKey
from silo.crypto.masking import Plain
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret
from silo.protocols.cohort import Vote, Votes, count_votes, read_receipts
from silo.protocols.envelope import OVERHEAD, Buffer
from silo.protocols.errors import InconsistentSets, MalformedMessage, UnexpectedMessage
from silo.protocols.he_sum import agreed as cohort
from silo.protocols.he_sum import vector
from silo.protocols.he_sum.agreed import Agreed
from silo.protocols.he_sum.context import Context
from silo.protocols.he_sum.errors import NotDecrypted
from silo.protocols.he_sum.joint import board, shares
from silo.protocols.he_sum.joint.board import Own
from silo.protocols.he_sum.joint.key import JointSum
from silo.protocols.he_sum.joint.shares import Given
from silo.protocols.he_sum.messages import (
    Box,
    JointParts,
    Missing,
    Part,
    Partial,
    Parts,
    Recovery,
    Summed,
    Upload,
)
from silo.protocols.once import Once
from silo.protocols.total import Total

_SEED_BYTES = 32


@dataclass(frozen=True, repr=False, eq=False)
class Joint:
    """What the parts of the key gave: all by member, beside their directory and the key of the check."""

    parts: dict[str, bytes]
    held: dict[str, bytes]
    """Own shares, by whose seed they are of."""
    sealing: dict[str, Secret]
    """The keys under which members seal their decryptions, where this one receives."""
    directory: bytes
    checking: Secret

    def __repr__(self) -> str:
        return "Joint(<secret>)"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


@dataclass(frozen=True, repr=False, eq=False)
class Showing(Once):
    """Showed its part of the key; waits for the others' parts."""

    context: Context
    own: Own

    def encrypt(
        self, message: JointParts, plain: Plain, *, rng: Rng, threads: int = 1
    ) -> tuple[Uploading, Upload, bytes]:
        """Encrypt under the sum of the parts; returns the upload and the note for its header.

        Raises `ValueOutOfRange`, `ProtocolViolation`, `TooFewParties`.
        """
        self._fresh()
        context, own = self.context, self.own
        opened = context.open_all(message.parts, Part, limit=board.part_limit(context, own.lattice))
        for name, one in opened.items():
            try:
                own.lattice.check_part(one.message.part)
            except ParameterError as problem:
                raise MalformedMessage(
                    f"its part of the key is none: {problem}", culprits=(name,), round=context.round
                ) from None
        board.require(context, opened, "the parts of the joint key")
        if own.me not in opened or bytes(opened[own.me].message.part) != own.part.public:
            raise InconsistentSets(
                f"{own.me}'s own part is left out or changed",
                culprits=(context.aggregator,),
                round=context.round,
            )
        parts = {name: bytes(one.message.part) for name, one in opened.items()}
        held, given = {own.me: own.share}, {own.me: own.contribution}
        sealing = {own.me: own.sealing}
        for name, one in opened.items():
            if name != own.me:
                held[name], given[name], key = self._unbox(name, one.message)
                if key is not None:
                    sealing[name] = key
        directory = board.directory(context, {name: one.receipt.digest for name, one in opened.items()})
        checking = board.checking(context, directory, given)
        words = vector.encode(plain, context.parameters, rng=rng, threads=threads)
        payload = own.lattice.combine(parts).encrypt(words, rng=rng, threads=threads)
        note = board.seal_fingerprint(context, checking, own.me, payload, rng=rng)
        after = Uploading(context, own, Joint(parts, held, sealing, directory, checking))
        self._spend()
        return after, Upload(memoryview(payload)), note

    def _unbox(self, name: str, said: Part) -> tuple[bytes, bytes, Secret | None]:
        context, own = self.context, self.own
        receives = own.me in context.parameters.receivers
        raw = context.unbox(own.me, name, own.channel, said.boxes)
        if len(raw) != shamir.SHARE_BYTES + _SEED_BYTES * (1 + receives):
            raise MalformedMessage("its box for us is not as agreed", culprits=(name,), round=context.round)
        at, upto = shamir.SHARE_BYTES, shamir.SHARE_BYTES + _SEED_BYTES
        return raw[:at], raw[at:upto], Secret(raw[upto:]) if receives else None


@dataclass(frozen=True, repr=False, eq=False)
class Uploading(Once):
    """Uploaded; waits for the sum."""

    context: Context
    own: Own
    joint: Joint

    def agree(self, message: Summed, upload: bytes) -> tuple[Voting, Vote]:
        """Check that this is the sum of the uploads, and vote for it; `upload` is the digest of the own one as sent."""
        self._fresh()
        context, own, joint = self.context, self.own, self.joint
        found = read_receipts(context, message.uploads, Upload.__name__, context.aggregator)
        uploads = {name: one.digest for name, one in found.items()}
        strangers = sorted(uploads.keys() - joint.parts.keys())
        if strangers:
            raise InconsistentSets(
                f"{', '.join(strangers)} uploaded without a part of the key",
                culprits=(context.aggregator, *strangers),
                round=context.round,
            )
        agreed = board.agreed(context, joint.directory, uploads, message.payload)
        cohort.require_own(context, agreed, own.me, upload)
        board.check_sum(
            context, joint.checking, {name: one.note for name, one in found.items()}, message.payload
        )
        try:
            total = own.lattice.read_sum(message.payload, summands=len(uploads))
        except ParameterError as problem:
            raise MalformedMessage(
                f"the sum is no ciphertext: {problem}", culprits=(context.aggregator,), round=context.round
            ) from None
        self._spend()
        return Voting(context, own, joint, total, agreed), Vote(agreed.digest)


@dataclass(frozen=True, repr=False, eq=False)
class Voting(Once):
    """Voted; waits for a quorum of the same votes."""

    context: Context
    own: Own
    joint: Joint
    total: JointSum
    agreed: Agreed

    def decrypt(self, message: Votes, *, rng: Rng) -> tuple[Finishing, Partial]:
        """Give the own part of the decryption of this sum, and shares of the parts of who did not upload."""
        self._fresh()
        context, own, joint = self.context, self.own, self.joint
        count_votes(context, self.agreed.digest, self.agreed.names, message)
        lost = frozenset(joint.parts) - self.agreed.names
        board.require_few(context, lost)
        given = Given(memoryview(own.part.partial(self.total, rng=rng)), board.shares(joint.held, lost))
        sealed = shares.seal(
            own.sealing, given, board.associated(context, self.agreed, own.me, "part"), rng=rng
        )
        self._spend()
        after = Finishing(context, own, joint, self.total, self.agreed, lost)
        return after, Partial(sealed)


@dataclass(frozen=True, repr=False, eq=False)
class Finishing(Once):
    """Gave its part; waits for the others' parts, or is asked once for shares of who is missing."""

    context: Context
    own: Own
    joint: Joint
    total: JointSum
    agreed: Agreed
    lost: frozenset[str]
    asked: bool = False

    def recover(self, message: Missing, *, rng: Rng) -> tuple[Finishing, Recovery]:
        """Give shares of the parts of those who voted and then left. Raises `ProtocolViolation`."""
        self._fresh()
        context, own = self.context, self.own
        names = frozenset(message.names)
        if self.asked or not names or own.me in names or not names <= self.agreed.names:
            raise InconsistentSets(
                "shares were asked for twice, or of who is not missing",
                culprits=(context.aggregator,),
                round=context.round,
                found=sorted(names),
            )
        board.require_few(context, self.lost | names)
        given = Given(memoryview(b""), board.shares(self.joint.held, names))
        sealed = shares.seal(
            own.sealing, given, board.associated(context, self.agreed, own.me, "recovery"), rng=rng
        )
        self._spend()
        after = Finishing(context, own, self.joint, self.total, self.agreed, self.lost, asked=True)
        return after, Recovery(sealed)

    def finish(self, message: Parts, *, receives: bool = True, rng: Rng) -> Total | None:
        """Put the parts together; None where the charter gives this member no results.

        Raises `ProtocolViolation`, `TooFewParties`, `NotDecrypted`.
        """
        self._fresh()
        if not receives:
            self._spend()
            return None
        context, lattice = self.context, self.own.lattice
        given = self._open(message.partials, Partial, "part", lattice.partial_bytes)
        found: dict[str, dict[str, bytes]] = {}
        again = self._open(message.recoveries, Recovery, "recovery", 0)
        for holder, one in (*given.items(), *again.items()):
            for share in one.shares:
                found.setdefault(share.owner, {})[holder] = share.share
        partials = {name: bytes(one.partial) for name, one in given.items()}
        for name in sorted(frozenset(self.joint.parts) - partials.keys()):
            part = shares.rebuild(context, lattice, name, self.joint.parts[name], found.get(name, {}))
            partials[name] = part.partial(self.total, rng=rng)
        try:
            words = lattice.fuse(self.total, partials, summands=len(self.agreed.names))
            total = vector.decode(words, context.parameters, self.agreed.names)
        except (DecryptionFailed, ParameterError) as problem:
            raise NotDecrypted(
                f"the parts do not give a sum over {len(self.agreed.names)} honest inputs ({problem}): a member did "
                "not follow the protocol; begin another round"
            ) from None
        self._spend()
        return total

    def _open(
        self, frames: Iterable[Buffer], kind: type[Partial] | type[Recovery], step: str, size: int
    ) -> dict[str, Given]:
        context = self.context
        limit = OVERHEAD + 4096 + 64 * len(context.roster) + self.own.lattice.partial_bytes
        given: dict[str, Given] = {}
        for name, opened in context.open_all(frames, kind, limit=limit).items():
            if name not in self.agreed.names or name not in self.joint.sealing:
                raise UnexpectedMessage(
                    "a part of who is not among the survivors", culprits=(name,), round=context.round
                )
            associated = board.associated(context, self.agreed, name, step)
            one = shares.unseal(context, name, self.joint.sealing[name], opened.message.sealed, associated)
            if len(one.partial) != size:
                raise MalformedMessage(
                    f"its part of the decryption has {len(one.partial)} bytes, not {size}",
                    culprits=(name,),
                    round=context.round,
                )
            given[name] = one
        return given


def begin(context: Context, me: str, channel: AgreementKey, *, rng: Rng) -> tuple[Showing, Part]:
    """Begin a round: a fresh part of the key, and a share of it for each who is here. Raises `ParameterError`."""
    if me not in context.roster or me not in context.channels:
        raise ParameterError(f"{me} is not in the roster of this round")
    lattice = board.lattice_of(context)
    seed, sealing = Secret.random(_SEED_BYTES, rng=rng), Secret.random(_SEED_BYTES, rng=rng)
    contribution, names = rng.bytes(_SEED_BYTES), sorted(context.channels)
    dealt = shamir.share(
        seed,
        threshold=context.parameters.threshold,
        points=[context.roster.point(name) for name in names],
        rng=rng,
    )
    boxes: tuple[Box, ...] = ()
    mine = b""
    for name, share in zip(names, dealt, strict=True):
        if name == me:
            mine = share.to_bytes()
            continue
        key = sealing.reveal() if name in context.parameters.receivers else b""
        boxes += context.box(me, name, channel, share.to_bytes() + contribution + key, rng=rng)
    own = Own(me, channel, lattice, lattice.part(seed), mine, contribution, sealing)
    return Showing(context, own), Part(memoryview(own.part.public), boxes)
