"""The aggregator's side of the sum under a joint key: it passes on what members sign, and adds what nobody can read."""

from __future__ import annotations

from dataclasses import dataclass, field

from silo.crypto.errors import ParameterError
from silo.protocols.cohort import Vote, Votes
from silo.protocols.collecting import Collecting
from silo.protocols.envelope import OVERHEAD, Opened
from silo.protocols.errors import InconsistentSets, MalformedMessage
from silo.protocols.he_sum.agreed import Agreed
from silo.protocols.he_sum.context import Context
from silo.protocols.he_sum.joint import board
from silo.protocols.he_sum.joint.key import JointSum, Lattice
from silo.protocols.he_sum.messages import (
    JointParts,
    Missing,
    Part,
    Partial,
    Parts,
    Recovery,
    Summed,
    Upload,
)


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class CollectingKey(Collecting[Context]):
    """Waits for the parts of the key."""

    lattice: Lattice

    name = "the parts of the joint key"
    kinds = (Part,)

    @property
    def limit(self) -> int:
        return board.part_limit(self.context, self.lattice)

    def check(self, opened: Opened[Part]) -> None:
        try:
            self.lattice.check_part(opened.message.part)
        except ParameterError as problem:
            raise MalformedMessage(
                str(problem), culprits=(opened.sender,), round=self.context.round
            ) from None

    def close_round(self) -> tuple[CollectingUploads, JointParts]:
        """Publish them, now that all are here: nobody has chosen its own by the others'."""
        self._close()
        frames = tuple(memoryview(self.inbox[name].frame) for name in sorted(self.inbox))
        digests = {name: one.receipt.digest for name, one in self.inbox.items()}
        state = CollectingUploads(
            self.context,
            frozenset(self.inbox),
            total=self.lattice.sum(),
            directory=board.directory(self.context, digests),
        )
        return state, JointParts(frames)


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class CollectingUploads(Collecting[Context]):
    """Waits for the ciphertexts and adds them as they come."""

    total: JointSum
    directory: bytes

    name = "the upload"
    kinds = (Upload,)

    @property
    def limit(self) -> int:
        return OVERHEAD + 64 + self.total.payload_bytes

    def check(self, opened: Opened[Upload]) -> None:
        try:
            self.total.check(opened.message.payload)
        except ParameterError as problem:
            raise MalformedMessage(
                f"an upload is no ciphertext: {problem}", culprits=(opened.sender,), round=self.context.round
            ) from None

    def accept(self, opened: Opened[Upload]) -> None:
        super().accept(opened)
        self.total.add(opened.message.payload)
        # Only the receipt is kept: the payload is in the sum.
        self.inbox[opened.sender] = Opened(opened.sender, Upload(memoryview(b"")), opened.receipt, b"")

    def close_round(self) -> tuple[CollectingVotes, Summed]:
        """Publish the sum, and the receipts of what is in it."""
        self._close()
        uploads = {name: one.receipt.digest for name, one in self.inbox.items()}
        receipts = tuple(self.inbox[name].receipt for name in sorted(self.inbox))
        message = Summed(receipts, memoryview(self.total.payload()))
        agreed = board.agreed(self.context, self.directory, uploads, message.payload)
        return CollectingVotes(self.context, agreed.names, agreed=agreed), message


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class CollectingVotes(Collecting[Context]):
    """Waits for the signatures on the survivors and their sum."""

    agreed: Agreed

    name = "the vote on the survivors"
    kinds = (Vote,)

    def check(self, opened: Opened[Vote]) -> None:
        if opened.message.survivors != self.agreed.digest:
            raise InconsistentSets(
                "a vote on other survivors", culprits=(opened.sender,), round=self.context.round
            )

    def close_round(self) -> tuple[CollectingParts, Votes]:
        """Publish the votes."""
        self._close()
        state = CollectingParts(self.context, frozenset(self.inbox), survivors=self.agreed.names)
        return state, Votes(self._frames)


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class CollectingParts(Collecting[Context]):
    """Waits for the parts of the decryption."""

    survivors: frozenset[str]

    name = "the decryption"
    kinds = (Partial,)

    @property
    def limit(self) -> int:
        terms = self.context.parameters
        return OVERHEAD + 4096 + 64 * terms.parties + board.lattice_of(self.context).partial_bytes

    def close_round(self) -> tuple[CollectingRecoveries, Missing]:
        """Ask for what is missing; with nobody missing there is nothing to wait for."""
        self._close()
        frames = tuple(memoryview(self.inbox[name].frame) for name in sorted(self.inbox))
        missing = tuple(sorted(self.survivors - self.inbox.keys()))
        there = frozenset(self.inbox)
        return CollectingRecoveries(self.context, there, partials=frames, missing=missing), Missing(missing)


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class CollectingRecoveries(Collecting[Context]):
    """Waits for shares of the keys of those who left after they had voted."""

    partials: tuple[memoryview, ...]
    missing: tuple[str, ...]
    inbox: dict[str, Opened[Recovery]] = field(default_factory=dict)

    name = "the recovery of a missing part of the key"
    kinds = (Recovery,)

    @property
    def enough(self) -> int:
        return self.context.parameters.threshold if self.missing else 0

    @property
    def limit(self) -> int:
        return OVERHEAD + 4096 + 64 * self.context.parameters.parties

    def close_round(self) -> Parts:
        """Everything that a receiver needs."""
        self._close()
        frames = tuple(memoryview(self.inbox[name].frame) for name in sorted(self.inbox))
        return Parts(self.partials, frames)


def open_round(context: Context, present: frozenset[str]) -> CollectingKey:
    """Begin a round with those of the roster who are there."""
    return CollectingKey(context, present & frozenset(context.roster), lattice=board.lattice_of(context))
