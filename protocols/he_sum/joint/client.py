"""A member's side of the sum under a key that nobody holds, one frozen state per round.

Scheme: exact ring learning with errors (`silo.crypto.lattice`). Every member makes a part of the key for this round
only; the joint public key is the sum of the parts, and a sum is decrypted by all parts together, once. Parts of members
who are lost are rebuilt from Shamir shares by a quorum, and worth nothing afterwards: the next round has another key.

Adversary: a malicious aggregator together with `colluders` malicious members, for privacy. It learns no more than the
one sum over the agreed set: every member adds up all uploads itself, signs the set, and decrypts this sum, once a
round. A member pledges its upload before it sees another's, so that none can be made from an honest one. A part of the
key is committed to before others are seen, so that none can be chosen to cancel them.
Threshold: `Parameters.fewest` at every step, `Parameters.threshold` shares for a missing part. A member gives shares of
at most n - fewest parts; with 2t > n + c fewer than all honest parts can then become known.
What each learns: members the survivors and all ciphertexts, and the sum if they receive it; the aggregator the
survivors and the ciphertexts. A member that lies about its part of the decryption spoils the sum and is not named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from silo.crypto import labels, shamir
from silo.crypto.errors import DecryptionFailed, ParameterError
from silo.crypto.keys import AgreementKey
from silo.crypto.masking import Plain
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret
from silo.protocols.cohort import Vote, Votes, count_votes
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
    Commit,
    Commits,
    Missing,
    Partial,
    Parts,
    Pledge,
    Pledges,
    Recovery,
    Reveal,
    Reveals,
    Upload,
    Uploads,
)
from silo.protocols.once import Once
from silo.protocols.private import Private
from silo.protocols.rounds import by_name
from silo.protocols.total import Total

_SEED_BYTES = 32


@dataclass(frozen=True, repr=False, eq=False)
class Committing(Once):
    """Committed to its part; waits for the others' commitments."""

    context: Context
    own: Own

    def reveal(self, message: Commits, *, rng: Rng) -> tuple[Revealing, Reveal]:
        """Show the part, and give each other member a share of its seed."""
        self._fresh()
        context, own = self.context, self.own
        opened = context.open_all(message.commits, Commit)
        commits = {name: one.message.commitment for name, one in opened.items()}
        board.require(context, commits, "the commitments to the joint key")
        if commits.get(own.me) != board.commitment(context, own.me, own.nonce, own.part.public):
            raise InconsistentSets(
                f"the commitments do not show {own.me}'s own",
                culprits=(context.aggregator,),
                round=context.round,
            )
        names = list(commits)
        held = shamir.share(
            own.seed,
            threshold=context.parameters.threshold,
            points=[context.roster.point(name) for name in names],
            rng=rng,
        )
        boxes = []
        for name, share in zip(names, held, strict=True):
            if name != own.me:
                sealing = own.sealing.reveal() if name in context.parameters.receivers else b""
                plain = share.to_bytes() + sealing
                sealed = context.pair(own.me, name, own.channel).seal(plain, rng=rng).ciphertext
                boxes.append(Box(name, bytes(sealed)))
        mine = held[names.index(own.me)].to_bytes()
        self._spend()
        return (
            Revealing(context, own, commits, mine),
            Reveal(own.nonce, memoryview(own.part.public), tuple(boxes)),
        )


@dataclass(frozen=True, repr=False, eq=False)
class Revealing(Once):
    """Shown; waits for the others' parts."""

    context: Context
    own: Own
    commits: dict[str, bytes]
    mine: bytes

    def pledge(
        self, message: Reveals, plain: Plain, *, rng: Rng, threads: int = 1
    ) -> tuple[Pledging, Pledge]:
        """Check every part against its commitment, encrypt under their sum, and pledge the ciphertext.

        Raises `ValueOutOfRange`, `ProtocolViolation`, `TooFewParties`.
        """
        self._fresh()
        context, own = self.context, self.own
        limit = board.reveal_limit(context, own.lattice)
        opened = context.open_all(message.reveals, Reveal, limit=limit)
        for name, one in opened.items():
            said = one.message
            if self.commits.get(name) != board.commitment(context, name, said.nonce, said.part):
                raise InconsistentSets(
                    f"{name}'s part of the key is not the one it committed to",
                    culprits=(name,),
                    round=context.round,
                )
            try:
                own.lattice.check_part(said.part)
            except ParameterError as problem:
                raise MalformedMessage(
                    f"its part of the key is none: {problem}", culprits=(name,), round=context.round
                ) from None
        board.require(context, opened, "the parts of the joint key")
        if own.me not in opened:
            raise InconsistentSets(
                f"{own.me}'s own part is left out", culprits=(context.aggregator,), round=context.round
            )
        parts = {name: bytes(one.message.part) for name, one in opened.items()}
        held, sealing = {own.me: {own.me: self.mine}}, {own.me: own.sealing}
        for name, one in opened.items():
            if name != own.me:
                share, key = self._unbox(name, one.message)
                held[name] = {own.me: share}
                if key is not None:
                    sealing[name] = key
        joint = own.lattice.combine(parts)
        words = vector.encode(plain, context.parameters, rng=rng, threads=threads)
        payload = joint.encrypt(words, rng=rng, threads=threads)
        digests = {name: one.receipt.digest for name, one in opened.items()}
        directory = hashlib.sha256(context.info(labels.ROSTER, *by_name(digests))).digest()
        state = Pledging(
            context,
            own,
            parts,
            {name: one[own.me] for name, one in held.items()},
            sealing,
            directory,
            Upload(memoryview(payload)),
        )
        self._spend()
        return state, Pledge(board.pledged(context, directory, own.me, payload))

    def _unbox(self, name: str, said: Reveal) -> tuple[bytes, Secret | None]:
        context, own = self.context, self.own
        mine = [box.ciphertext for box in said.boxes if box.peer == own.me]
        receives = own.me in context.parameters.receivers
        size = shamir.SHARE_BYTES + (_SEED_BYTES if receives else 0)
        raw = b""
        if len(mine) == 1:
            raw = context.pair(own.me, name, own.channel).unseal(Private(memoryview(mine[0])))
        if len(raw) != size:
            raise MalformedMessage("its box for us is not as agreed", culprits=(name,), round=context.round)
        key = Secret(raw[shamir.SHARE_BYTES :]) if receives else None
        return raw[: shamir.SHARE_BYTES], key


@dataclass(frozen=True, repr=False, eq=False)
class Pledging(Once):
    """Pledged its ciphertext; waits for the others' pledges."""

    context: Context
    own: Own
    parts: dict[str, bytes]
    held: dict[str, bytes]
    """Own shares, by whose seed they are of."""
    sealing: dict[str, Secret]
    directory: bytes
    upload: Upload

    def send(self, message: Pledges) -> tuple[Uploading, Upload]:
        """Upload, now that nobody can make a ciphertext from this one."""
        self._fresh()
        context, own = self.context, self.own
        opened = context.open_all(message.pledges, Pledge)
        pledges = {name: one.message.digest for name, one in opened.items()}
        board.require(context, pledges, "the pledges")
        mine = board.pledged(context, self.directory, own.me, self.upload.payload)
        if pledges.get(own.me) != mine:
            raise InconsistentSets(
                f"the pledges do not show {own.me}'s own", culprits=(context.aggregator,), round=context.round
            )
        self._spend()
        after = Uploading(context, own, self.parts, self.held, self.sealing, self.directory, pledges)
        return after, self.upload


@dataclass(frozen=True, repr=False, eq=False)
class Uploading(Once):
    """Uploaded; waits for all uploads."""

    context: Context
    own: Own
    parts: dict[str, bytes]
    held: dict[str, bytes]
    sealing: dict[str, Secret]
    directory: bytes
    pledges: dict[str, bytes]

    def agree(self, message: Uploads, upload: bytes) -> tuple[Voting, Vote]:
        """Add up what was uploaded, and vote for this set; `upload` is the digest of the own one as it was sent."""
        self._fresh()
        context, own = self.context, self.own
        limit = OVERHEAD + 64 + own.lattice.payload_bytes
        total = own.lattice.sum()
        digests: dict[str, bytes] = {}
        for frame in message.uploads:
            opened = context.open_public(frame, Upload, limit=limit)
            name, payload = opened.sender, opened.message.payload
            if name in digests:
                raise UnexpectedMessage(
                    f"two uploads of {name}", culprits=(context.aggregator, name), round=context.round
                )
            if name not in self.parts or self.pledges.get(name) != board.pledged(
                context, self.directory, name, payload
            ):
                raise InconsistentSets(
                    f"{name} uploaded what it did not pledge", culprits=(name,), round=context.round
                )
            try:
                total.check(payload)
                total.add(payload)
            except ParameterError as problem:
                raise MalformedMessage(
                    f"an upload is no ciphertext: {problem}", culprits=(name,), round=context.round
                ) from None
            digests[name] = opened.receipt.digest
        board.require(context, digests, "the upload")
        agreed = Agreed(dict(sorted(digests.items())), context.cohort(digests, self.directory))
        cohort.require_own(context, agreed, own.me, upload)
        self._spend()
        return Voting(context, own, self.parts, self.held, self.sealing, total, agreed), Vote(agreed.digest)


@dataclass(frozen=True, repr=False, eq=False)
class Voting(Once):
    """Voted; waits for a quorum of the same votes."""

    context: Context
    own: Own
    parts: dict[str, bytes]
    held: dict[str, bytes]
    sealing: dict[str, Secret]
    total: JointSum
    agreed: Agreed

    def decrypt(self, message: Votes, *, rng: Rng) -> tuple[Finishing, Partial]:
        """Give the own part of the decryption of this sum, and shares of the parts of who did not upload."""
        self._fresh()
        context, own = self.context, self.own
        count_votes(context, self.agreed.digest, self.agreed.names, message)
        lost = frozenset(self.parts) - self.agreed.names
        board.require_few(context, lost)
        given = Given(memoryview(own.part.partial(self.total, rng=rng)), board.shares(self.held, lost))
        sealed = shares.seal(
            own.sealing, given, board.associated(context, self.agreed, own.me, "part"), rng=rng
        )
        self._spend()
        after = Finishing(context, own, self.parts, self.held, self.sealing, self.total, self.agreed, lost)
        return after, Partial(sealed)


@dataclass(frozen=True, repr=False, eq=False)
class Finishing(Once):
    """Gave its part; waits for the others' parts, or is asked once for shares of who is missing."""

    context: Context
    own: Own
    parts: dict[str, bytes]
    held: dict[str, bytes]
    sealing: dict[str, Secret]
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
        given = Given(memoryview(b""), board.shares(self.held, names))
        sealed = shares.seal(
            own.sealing, given, board.associated(context, self.agreed, own.me, "recovery"), rng=rng
        )
        self._spend()
        after = Finishing(
            context, own, self.parts, self.held, self.sealing, self.total, self.agreed, self.lost, asked=True
        )
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
        for name in sorted(frozenset(self.parts) - partials.keys()):
            part = shares.rebuild(context, lattice, name, self.parts[name], found.get(name, {}))
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
            if name not in self.agreed.names or name not in self.sealing:
                raise UnexpectedMessage(
                    "a part of who is not among the survivors", culprits=(name,), round=context.round
                )
            associated = board.associated(context, self.agreed, name, step)
            one = shares.unseal(context, name, self.sealing[name], opened.message.sealed, associated)
            if len(one.partial) != size:
                raise MalformedMessage(
                    f"its part of the decryption has {len(one.partial)} bytes, not {size}",
                    culprits=(name,),
                    round=context.round,
                )
            given[name] = one
        return given


def begin(context: Context, me: str, channel: AgreementKey, *, rng: Rng) -> tuple[Committing, Commit]:
    """Begin a round: a fresh part of the key, and a commitment to it. Raises `ParameterError`."""
    if me not in context.roster:
        raise ParameterError(f"{me} is not in the roster of this round")
    lattice = board.lattice_of(context)
    seed, sealing = Secret.random(_SEED_BYTES, rng=rng), Secret.random(_SEED_BYTES, rng=rng)
    nonce = rng.bytes(_SEED_BYTES)
    part = lattice.part(seed)
    own = Own(me, channel, lattice, seed, nonce, part, sealing)
    return Committing(context, own), Commit(board.commitment(context, me, nonce, part.public))
