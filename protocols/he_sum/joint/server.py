"""The aggregator's side of the sum under a joint key: a board on which members put what the others read."""

from __future__ import annotations

from dataclasses import dataclass, field

from silo.crypto.errors import ParameterError
from silo.protocols.cohort import Vote, Votes
from silo.protocols.collecting import Collecting
from silo.protocols.envelope import OVERHEAD, Opened
from silo.protocols.errors import InconsistentSets, MalformedMessage
from silo.protocols.he_sum.context import Context
from silo.protocols.he_sum.joint import board
from silo.protocols.he_sum.joint.key import JointSum, Lattice
from silo.protocols.he_sum.messages import (
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


@dataclass(frozen=True, repr=False, eq=False)
class CollectingCommits(Collecting[Context]):
    """Waits for the commitments to the parts of the key."""

    name = "the commitments to the joint key"
    kinds = (Commit,)

    def close_round(self) -> tuple[CollectingReveals, Commits]:
        """Publish them."""
        self._close()
        lattice = board.lattice_of(self.context)
        commits = {name: one.message.commitment for name, one in self.inbox.items()}
        state = CollectingReveals(self.context, frozenset(self.inbox), lattice=lattice, commits=commits)
        return state, Commits(self._frames)


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class CollectingReveals(Collecting[Context]):
    """Waits for the parts of the key."""

    lattice: Lattice
    commits: dict[str, bytes]

    name = "the parts of the joint key"
    kinds = (Reveal,)

    @property
    def limit(self) -> int:
        return board.reveal_limit(self.context, self.lattice)

    def check(self, opened: Opened[Reveal]) -> None:
        said, who = opened.message, opened.sender
        if self.commits[who] != board.commitment(self.context, who, said.nonce, said.part):
            raise InconsistentSets(
                "its part of the key is not the one it committed to",
                culprits=(who,),
                round=self.context.round,
            )
        try:
            self.lattice.check_part(said.part)
        except ParameterError as problem:
            raise MalformedMessage(str(problem), culprits=(who,), round=self.context.round) from None

    def close_round(self) -> tuple[CollectingPledges, Reveals]:
        """Publish them."""
        self._close()
        frames = tuple(memoryview(self.inbox[name].frame) for name in sorted(self.inbox))
        return CollectingPledges(self.context, frozenset(self.inbox), lattice=self.lattice), Reveals(frames)


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class CollectingPledges(Collecting[Context]):
    """Waits for the digests of the uploads to come."""

    lattice: Lattice

    name = "the pledges"
    kinds = (Pledge,)

    def close_round(self) -> tuple[CollectingUploads, Pledges]:
        """Publish them."""
        self._close()
        state = CollectingUploads(self.context, frozenset(self.inbox), total=self.lattice.sum())
        return state, Pledges(self._frames)


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class CollectingUploads(Collecting[Context]):
    """Waits for the ciphertexts; refuses what the members would refuse."""

    total: JointSum

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

    def close_round(self) -> tuple[CollectingVotes, Uploads]:
        """Publish them."""
        self._close()
        frames = tuple(memoryview(self.inbox[name].frame) for name in sorted(self.inbox))
        return CollectingVotes(self.context, frozenset(self.inbox)), Uploads(frames)


@dataclass(frozen=True, repr=False, eq=False)
class CollectingVotes(Collecting[Context]):
    """Waits for the signatures on the survivors."""

    name = "the vote on the survivors"
    kinds = (Vote,)

    def close_round(self) -> tuple[CollectingParts, Votes]:
        """Publish the votes."""
        self._close()
        state = CollectingParts(self.context, frozenset(self.inbox), survivors=self.expected)
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


def open_round(context: Context, present: frozenset[str]) -> CollectingCommits:
    """Begin a round with those of the roster who are there."""
    return CollectingCommits(context, present & frozenset(context.roster))
