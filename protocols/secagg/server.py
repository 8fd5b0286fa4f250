"""The aggregator's side of the masked sum, one frozen state per round.

Every state names what it waits for; `accept` checks one message and takes it in, or raises a
`ProtocolViolation` and changes nothing; `close_round` goes on with those who answered, or raises
`TooFewParties`. The aggregator is trusted with nothing: what it could do wrong, the members check.

The running sum is the one thing that is not frozen: uploads are added as they come, so that memory does not
grow with the number of parties; it belongs to `CollectingUploads` and moves on with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from silo.crypto.errors import ParameterError
from silo.protocols.cohort import Closed, Survivors, Vote, Votes
from silo.protocols.collecting import SMALL, Collecting
from silo.protocols.envelope import OVERHEAD, Opened, read_header
from silo.protocols.errors import (
    InconsistentSets,
    MalformedMessage,
    UnexpectedMessage,
)
from silo.protocols.secagg import directory as keys
from silo.protocols.secagg import drawing, recovery
from silo.protocols.secagg import survivors as survival
from silo.protocols.secagg.context import Context, named
from silo.protocols.secagg.directory import Advertised
from silo.protocols.secagg.drawing import MaskGraph
from silo.protocols.secagg.messages import (
    Advertise,
    Delivery,
    Directory,
    Result,
    Reveal,
    Reveals,
    Sealed,
    Shares,
    Unmasking,
    Upload,
)
from silo.protocols.secagg.survivors import Agreed
from silo.protocols.secagg.vector import Accumulator

_PACKAGE = 512


@dataclass(frozen=True, repr=False, eq=False)
class CollectingKeys(Collecting[Context]):
    """Waits for the advertisements (U1)."""

    name = "the key directory"
    kinds = (Advertise,)

    def check(self, opened: Opened[Advertise]) -> None:
        keys.check(self.context, opened.sender, opened.message)
        mine = {opened.message.mask_key, opened.message.share_key}
        others = [one.message for one in self.inbox.values()]
        if len(mine) < 2 or mine & {key for one in others for key in (one.mask_key, one.share_key)}:
            raise UnexpectedMessage(
                "an ephemeral key appears twice", culprits=(opened.sender,), round=self.context.round
            )

    def close_round(self) -> tuple[CollectingReveals | CollectingShares, Directory]:
        """Publish the directory."""
        self._close()
        message = Directory(self._frames)
        directory = keys.read(self.context, message)
        if self.context.parameters.degree:
            return CollectingReveals(self.context, directory.names, directory=directory), message
        graph = drawing.complete(directory)
        return CollectingShares(self.context, directory.names, directory=directory, graph=graph), message


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class CollectingReveals(Collecting[Context]):
    """k-regular graph: waits for every opening; one that is missing ends the round before any upload."""

    directory: Advertised

    name = "the draw of the graph"
    kinds = (Reveal,)

    @property
    def enough(self) -> int:
        return len(self.expected)

    def check(self, opened: Opened[Reveal]) -> None:
        drawing.check(self.context, self.directory, opened.sender, opened.message)

    def close_round(self) -> tuple[CollectingShares, Reveals]:
        """Publish the openings."""
        self._close()
        message = Reveals(self._frames)
        graph = drawing.draw(self.context, self.directory, message)
        return CollectingShares(self.context, self.expected, directory=self.directory, graph=graph), message


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class CollectingShares(Collecting[Context]):
    """Waits for the share packages (U2)."""

    directory: Advertised
    graph: MaskGraph

    name = "the sharing of keys"
    kinds = (Shares,)

    @property
    def limit(self) -> int:
        return SMALL + _PACKAGE * len(self.expected)

    def check(self, opened: Opened[Shares]) -> None:
        peers = [package.peer for package in opened.message.packages]
        if len(set(peers)) != len(peers) or set(peers) != self.graph[opened.sender]:
            raise UnexpectedMessage(
                "one package for each neighbour was asked for",
                culprits=(opened.sender,),
                round=self.context.round,
                expected=len(self.graph[opened.sender]),
                found=len(peers),
            )

    def close_round(self) -> tuple[CollectingUploads, dict[str, Delivery]]:
        """Pass the packages on to their holders."""
        self._close()
        alive = frozenset(self.inbox)
        boxes: dict[str, list[Sealed]] = {name: [] for name in alive}
        for sender in sorted(alive):
            for package in self.inbox[sender].message.packages:
                if package.peer in alive:
                    boxes[package.peer].append(Sealed(sender, package.ciphertext))
        state = CollectingUploads(
            self.context,
            alive,
            directory=self.directory,
            graph=self.graph,
            total=Accumulator(self.context.parameters),
        )
        return state, {name: Delivery(tuple(box)) for name, box in boxes.items()}


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class CollectingUploads(Collecting[Context]):
    """Waits for the masked vectors (U3) and adds them as they come."""

    directory: Advertised
    graph: MaskGraph
    total: Accumulator

    name = "the upload"
    kinds = (Upload,)

    @property
    def limit(self) -> int:
        return OVERHEAD + 64 + self.context.parameters.payload_bytes

    def check(self, opened: Opened[Upload]) -> None:
        who, here = opened.sender, self.context.round
        try:
            peers = named(self.context.roster, read_header(opened.receipt, who, here).note)
            self.total.check(opened.message.payload)
        except ParameterError as problem:
            raise MalformedMessage(
                f"an upload does not fit: {problem}", culprits=(who,), round=here
            ) from None
        if peers != self.graph[who] & self.expected:
            raise InconsistentSets(
                "an upload is masked with other members than were told",
                culprits=(who,),
                round=here,
                expected=sorted(self.graph[who] & self.expected),
                found=sorted(peers),
            )

    def accept(self, opened: Opened[Any]) -> None:
        super().accept(opened)
        self.total.add(opened.message.payload)
        # Only the receipt is kept: the payload is in the sum.
        self.inbox[opened.sender] = Opened(opened.sender, Upload(memoryview(b"")), opened.receipt, b"")

    def close_round(self) -> tuple[CollectingVotes, Survivors]:
        """Propose the survivors."""
        self._close()
        message = Survivors(tuple(self.inbox[name].receipt for name in sorted(self.inbox)))
        agreed = survival.read(self.context, self.directory, self.graph, message)
        state = CollectingVotes(
            self.context,
            agreed.names,
            directory=self.directory,
            graph=self.graph,
            total=self.total,
            shared=self.expected,
            agreed=agreed,
        )
        return state, message


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class CollectingVotes(Collecting[Context]):
    """Waits for the signatures on the survivors (U4)."""

    directory: Advertised
    graph: MaskGraph
    total: Accumulator
    shared: frozenset[str]
    agreed: Agreed

    name = "the vote on the survivors"
    kinds = (Vote,)

    def check(self, opened: Opened[Vote]) -> None:
        if opened.message.survivors != self.agreed.digest:
            raise InconsistentSets(
                "a vote on other survivors", culprits=(opened.sender,), round=self.context.round
            )

    def close_round(self) -> tuple[CollectingSharesBack, Votes]:
        """Publish the votes."""
        self._close()
        state = CollectingSharesBack(
            self.context,
            frozenset(self.inbox),
            directory=self.directory,
            graph=self.graph,
            total=self.total,
            shared=self.shared,
            agreed=self.agreed,
        )
        return state, Votes(self._frames)


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class CollectingSharesBack(Collecting[Context]):
    """Waits for the shares that unmask the sum (U5)."""

    directory: Advertised
    graph: MaskGraph
    total: Accumulator
    shared: frozenset[str]
    agreed: Agreed

    name = "the unmasking"
    kinds = (Unmasking,)

    @property
    def enough(self) -> int:
        # With a k-regular graph the recovery itself says whose neighbours are too few.
        return self.context.parameters.threshold if self.context.parameters.degree == 0 else 2

    @property
    def limit(self) -> int:
        return SMALL + _PACKAGE * len(self.shared)

    def check(self, opened: Opened[Unmasking]) -> None:
        recovery.check(self.context, self.graph, self.shared, self.agreed, opened)

    def close_round(self, *, threads: int = 1) -> tuple[Result, Closed]:
        """Rebuild what masks the sum, and take it off; the sum is right without the shares of liars.

        Raises `TooFewParties` or `ProtocolViolation`."""
        self._close()
        answers = {name: opened.message for name, opened in self.inbox.items()}
        seeds, liars = recovery.recover(
            self.context, self.directory, self.graph, self.shared, self.agreed, answers
        )
        self.total.unmask(seeds, threads=threads)
        return Result(self.total.payload()), Closed(self.agreed.names, liars)


def open_round(context: Context, present: frozenset[str]) -> CollectingKeys:
    """Begin a round with those of the roster who are there."""
    return CollectingKeys(context, present & frozenset(context.roster))
