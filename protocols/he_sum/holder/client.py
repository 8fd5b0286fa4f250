"""A member's side of the sum under one holder's key, one frozen state per round.

Schemes: Paillier in the form of Damgård, Jurik and Nielsen (`silo.crypto.paillier`), CKKS (`silo.crypto.ckks`).

Adversary: a malicious aggregator, or malicious members, that do not collude with each other nor with the key holder.
The aggregator sees ciphertexts only, not even the sum. The holder follows the protocol: it decrypts one sum a round,
over the set that a quorum signed, and releases it if its tag is that of just these inputs: the members and the holder
share the tags' key. An aggregator without it that forms another sum is refused always, and learns nothing from that;
with a member's help it could have one released. (Where that is to be feared take the masked sum.)
Threshold: `Parameters.fewest` at every step. What each learns: members the survivors, and the sum if they receive it;
the holder both; the aggregator the survivors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from silo.crypto import aead, labels
from silo.crypto.errors import DecryptionFailed, ParameterError
from silo.crypto.keys import AgreementKey
from silo.crypto.masking import Plain
from silo.crypto.packing import pack, unpack
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret
from silo.protocols.cohort import Survivors, Vote, Votes, count_votes
from silo.protocols.envelope import Buffer
from silo.protocols.errors import MalformedMessage, ProtocolViolation, UnexpectedMessage
from silo.protocols.he_sum import agreed as cohort
from silo.protocols.he_sum import schemes, vector
from silo.protocols.he_sum.agreed import Agreed
from silo.protocols.he_sum.context import Context
from silo.protocols.he_sum.errors import NotDecrypted
from silo.protocols.he_sum.messages import Box, Ciphertext, HolderKey, KeyFrame, Release, Released, Upload
from silo.protocols.he_sum.schemes import KEY_LIMIT, Decryption
from silo.protocols.once import Once
from silo.protocols.total import WEIGHT_UNIT, Total

_KEY_BYTES = 32
_FIELDS = 8


@dataclass(frozen=True, repr=False, eq=False)
class Waiting(Once):
    """Waits for the holder's key; the holder has made the key of the tags."""

    context: Context
    me: str
    tags: Secret | None

    def encrypt(
        self, message: KeyFrame, plain: Plain, own: AgreementKey, *, rng: Rng, threads: int = 1
    ) -> tuple[Uploading, Upload]:
        """Check the key against the charter's fingerprint, and encrypt.

        Raises `ValueOutOfRange` for what cannot be encoded, `ProtocolViolation`.
        """
        self._fresh()
        context, terms = self.context, self.context.parameters
        opened = context.open_public(message.frame, HolderKey, limit=KEY_LIMIT)
        public = opened.message.public
        if opened.sender != terms.holder or schemes.fingerprint(terms.protocol, public) != terms.key:
            raise UnexpectedMessage(
                "the key is not the one that the charter names",
                culprits=(opened.sender,),
                round=context.round,
                expected=terms.key.hex()[:16],
                found=schemes.fingerprint(terms.protocol, public).hex()[:16],
            )
        try:
            scheme = schemes.encryption(terms.protocol, public, count=terms.count, bits=terms.bits)
        except ParameterError as problem:
            raise UnexpectedMessage(
                f"the key cannot be used: {problem}", culprits=(terms.holder,), round=context.round
            ) from None
        tags = self.tags or Secret(context.unbox(self.me, terms.holder, own, opened.message.boxes))
        if len(tags) != _KEY_BYTES:
            raise MalformedMessage(
                "its box for us is not as agreed", culprits=(terms.holder,), round=context.round
            )
        words = vector.encode(plain, terms, rng=rng, threads=threads, key=tags, me=self.me)
        payload = scheme.encrypt(words, rng=rng, threads=threads)
        self._spend()
        return Uploading(context, self.me, tags), Upload(memoryview(payload))


@dataclass(frozen=True, repr=False, eq=False)
class Uploading(Once):
    """Uploaded; waits for the proposed survivors."""

    context: Context
    me: str
    tags: Secret

    def agree(self, message: Survivors, upload: bytes) -> tuple[Voting, Vote]:
        """Check the survivors and vote for them; `upload` is the digest of the own upload as it was sent."""
        self._fresh()
        agreed = cohort.read(self.context, message)
        cohort.require_own(self.context, agreed, self.me, upload)
        self._spend()
        return Voting(self.context, self.me, agreed, self.tags), Vote(agreed.digest)


@dataclass(frozen=True, repr=False, eq=False)
class Voting(Once):
    """Voted; waits for the release, or, as the holder, for what is to be decrypted."""

    context: Context
    me: str
    agreed: Agreed
    tags: Secret

    def decrypt(
        self, message: Ciphertext, key: Decryption, own: AgreementKey, *, rng: Rng, threads: int = 1
    ) -> tuple[Total, Release]:
        """As the holder: count the votes, decrypt, and seal the sum for the receivers.

        Raises `NotDecrypted`, `ProtocolViolation`, `TooFewParties`.
        """
        self._fresh()
        context, terms = self.context, self.context.parameters
        count_votes(context, self.agreed.digest, self.agreed.names, Votes(message.votes))
        self._spend()  # one decryption a round, whatever comes of it
        try:
            sums = key.decrypt(message.payload, summands=len(self.agreed.names), threads=threads)
            total = vector.decode(sums, terms, self.agreed.names, key=self.tags)
        except (DecryptionFailed, ParameterError) as problem:
            raise NotDecrypted(
                f"what the aggregator gave is no sum over {len(self.agreed.names)} honest inputs ({problem}): a member "
                "or the aggregator did not follow the protocol, and nothing was released"
            ) from None
        return total, self._release(total, own, rng)

    def _release(self, total: Total, own: AgreementKey, rng: Rng) -> Release:
        context = self.context
        key = Secret.random(_KEY_BYTES, rng=rng)
        boxes = tuple(
            box
            for peer in sorted(set(context.parameters.receivers) & set(context.channels) - {self.me})
            for box in context.box(self.me, peer, own, key.reveal(), rng=rng)
        )
        head = round(total.weight * WEIGHT_UNIT).to_bytes(_FIELDS, "little")
        head += total.saturated.to_bytes(_FIELDS, "little")
        raw = head + bytes(pack(total.words.copy(), context.parameters.ring))
        sealed = aead.seal(key, raw, context.info(labels.SUM_RELEASE, self.agreed.digest), rng=rng)
        return Release("", boxes, memoryview(sealed))

    def finish(self, message: Released, own: AgreementKey, *, receives: bool = True) -> Total | None:
        """Read the sum; None where the charter gives this member none. Raises `ProtocolViolation`, `NotDecrypted`."""
        self._fresh()
        context, holder = self.context, self.context.parameters.holder
        if not receives:
            self._spend()
            return None
        opened = context.open_public(message.frame, Release, limit=release_limit(context))
        release = opened.message
        if opened.sender != holder:
            raise UnexpectedMessage(
                "a release that is not the holder's", culprits=(opened.sender,), round=context.round
            )
        if release.problem:
            raise NotDecrypted(
                f"{holder} could not decrypt the sum [{release.problem}]: a member or the aggregator did not follow "
                "the protocol, and nothing was released"
            )
        self._spend()
        return self._open(release, own)

    def _open(self, release: Release, own: AgreementKey) -> Total:
        context, holder = self.context, self.context.parameters.holder
        key = Secret(context.unbox(self.me, holder, own, release.boxes))
        try:
            raw = aead.unseal(
                key, bytes(release.sealed), context.info(labels.SUM_RELEASE, self.agreed.digest)
            )
            ring = context.parameters.ring
            words = unpack(memoryview(raw)[2 * _FIELDS :], ring, context.parameters.length)
        except (DecryptionFailed, ParameterError) as problem:
            raise ProtocolViolation(
                f"the release is no sum over the survivors that were agreed: {problem}",
                culprits=(holder,),
                round=context.round,
            ) from None
        weight = int.from_bytes(raw[:_FIELDS], "little") / WEIGHT_UNIT
        saturated = int.from_bytes(raw[_FIELDS : 2 * _FIELDS], "little")
        return Total(words, weight, saturated, tuple(sorted(self.agreed.names)))


def refusal(problem: NotDecrypted) -> Release:
    """What the holder tells the others when there is nothing to release."""
    boxes: Sequence[Box] = ()
    return Release(problem.code, tuple(boxes), memoryview(b""))


def release_limit(context: Context) -> int:
    """Bytes of the largest release in its envelope."""
    terms = context.parameters
    return 8192 + 256 * terms.parties + terms.length * terms.ring.wire_bytes


def begin(context: Context, me: str) -> Waiting:
    """Begin a round. Raises `ParameterError` for who is not in it."""
    if me not in context.roster:
        raise ParameterError(f"{me} is not in the roster of this round")
    return Waiting(context, me, None)


def hold(
    context: Context, me: str, public: Buffer, own: AgreementKey, *, rng: Rng
) -> tuple[Waiting, HolderKey]:
    """Begin a round as the holder: its public key, and a fresh key for the tags to each member."""
    begin(context, me)
    tags = Secret.random(_KEY_BYTES, rng=rng)
    boxes = tuple(
        box
        for peer in sorted(set(context.channels) - {me})
        for box in context.box(me, peer, own, tags.reveal(), rng=rng)
    )
    return Waiting(context, me, tags), HolderKey(memoryview(public), boxes)
