"""The aggregator's side of the sum under one holder's key: it adds what it cannot read."""

from __future__ import annotations

from dataclasses import dataclass

from silo.crypto.errors import ParameterError
from silo.protocols.cohort import Survivors, Vote
from silo.protocols.collecting import Collecting
from silo.protocols.envelope import OVERHEAD, Opened
from silo.protocols.errors import InconsistentSets, MalformedMessage, UnexpectedMessage
from silo.protocols.he_sum import agreed as cohort
from silo.protocols.he_sum import schemes
from silo.protocols.he_sum.agreed import Agreed
from silo.protocols.he_sum.context import Context
from silo.protocols.he_sum.holder.client import release_limit
from silo.protocols.he_sum.messages import Ciphertext, HolderKey, KeyFrame, Release, Released, Upload
from silo.protocols.he_sum.schemes import KEY_LIMIT, Encryption, Sum


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class CollectingKey(Collecting[Context]):
    """Waits for the holder's key."""

    present: frozenset[str]

    name = "the holder's key"
    kinds = (HolderKey,)

    @property
    def enough(self) -> int:
        return 1

    @property
    def limit(self) -> int:
        return KEY_LIMIT

    def check(self, opened: Opened[HolderKey]) -> None:
        terms = self.context.parameters
        if schemes.fingerprint(terms.protocol, opened.message.public) != terms.key:
            raise UnexpectedMessage(
                "the key is not the one that the charter names",
                culprits=(opened.sender,),
                round=self.context.round,
            )

    def close_round(self) -> tuple[CollectingUploads, KeyFrame]:
        """Pass the key on."""
        self._close()
        terms = self.context.parameters
        opened = self.inbox[terms.holder]
        try:
            scheme = schemes.encryption(
                terms.protocol, opened.message.public, count=terms.count, bits=terms.bits
            )
        except ParameterError as problem:
            raise UnexpectedMessage(
                f"the key cannot be used: {problem}", culprits=(terms.holder,), round=self.context.round
            ) from None
        state = CollectingUploads(self.context, self.present, scheme=scheme, total=scheme.sum())
        return state, KeyFrame(memoryview(opened.frame))


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class CollectingUploads(Collecting[Context]):
    """Waits for the encrypted vectors and adds them as they come."""

    scheme: Encryption
    total: Sum

    name = "the upload"
    kinds = (Upload,)

    @property
    def limit(self) -> int:
        return OVERHEAD + 64 + self.scheme.payload_bytes

    def check(self, opened: Opened[Upload]) -> None:
        try:
            self.total.check(opened.message.payload)
        except ParameterError as problem:
            raise MalformedMessage(
                f"an upload is no ciphertext under the holder's key: {problem}",
                culprits=(opened.sender,),
                round=self.context.round,
            ) from None

    def accept(self, opened: Opened[Upload]) -> None:
        super().accept(opened)
        self.total.add(opened.message.payload)
        # Only the receipt is kept: the payload is in the sum.
        self.inbox[opened.sender] = Opened(opened.sender, Upload(memoryview(b"")), opened.receipt, b"")

    def close_round(self) -> tuple[CollectingVotes, Survivors]:
        """Propose the survivors."""
        self._close()
        message = Survivors(tuple(self.inbox[name].receipt for name in sorted(self.inbox)))
        agreed = cohort.read(self.context, message)
        return CollectingVotes(self.context, agreed.names, total=self.total, agreed=agreed), message


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class CollectingVotes(Collecting[Context]):
    """Waits for the signatures on the survivors."""

    total: Sum
    agreed: Agreed

    name = "the vote on the survivors"
    kinds = (Vote,)

    def check(self, opened: Opened[Vote]) -> None:
        if opened.message.survivors != self.agreed.digest:
            raise InconsistentSets(
                "a vote on other survivors", culprits=(opened.sender,), round=self.context.round
            )

    def close_round(self) -> tuple[CollectingRelease, Ciphertext]:
        """Hand the encrypted sum to the holder."""
        self._close()
        message = Ciphertext(self._frames, memoryview(self.total.payload()))
        holder = frozenset({self.context.parameters.holder})
        state = CollectingRelease(
            self.context, holder, agreed=self.agreed, told=frozenset(self.inbox) - holder
        )
        return state, message


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class CollectingRelease(Collecting[Context]):
    """Waits for the holder's release."""

    agreed: Agreed
    told: frozenset[str]

    name = "the holder's decryption"
    kinds = (Release,)

    @property
    def enough(self) -> int:
        return 1

    @property
    def limit(self) -> int:
        return release_limit(self.context)

    def close_round(self) -> Released:
        """Pass the release on."""
        self._close()
        return Released(memoryview(self.inbox[self.context.parameters.holder].frame))


def open_round(context: Context, present: frozenset[str]) -> CollectingKey:
    """Begin a round with those of the roster who are there."""
    here = present & frozenset(context.roster)
    return CollectingKey(context, frozenset({context.parameters.holder}), present=here)
