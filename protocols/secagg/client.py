"""A member's side of the masked sum, one frozen state per round.

Paper: Bonawitz et al., CCS 2017 (eprint 2017/281), the variant against a malicious server, with its signed
consistency check; the k-regular graph is that of Bell et al., CCS 2020 (eprint 2020/704).

Adversary: a malicious aggregator together with `colluders` malicious members, for privacy. Availability holds
against members that stop, not against members that lie; a lie is named.
Threshold: `Parameters.threshold`. What each learns: members the survivors, and the sum if they receive it;
the aggregator the survivors and the sum, or not even the sum when it is blinded.
Deviations: keys are signed by pinned identities and bound to the hash of the whole directory; every upload's
signed header says with whom it was masked, and a survivor set in which a pair did not mask is refused;
the k-regular graph is drawn by commit and reveal; head words (canary, weight, count of saturated values) are
masked with the vector; an optional mask under a key of the members hides the sum from the aggregator.
"""

from __future__ import annotations

from dataclasses import dataclass

from silo.crypto import aead, masking, shamir
from silo.crypto.errors import DecryptionFailed, ParameterError, UsageError
from silo.crypto.keys import AgreementKey
from silo.crypto.masking import Plain
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret
from silo.crypto.shamir import Share
from silo.protocols import codec
from silo.protocols.cohort import Survivors, Vote, Votes, count_votes
from silo.protocols.errors import (
    InconsistentSets,
    MalformedMessage,
    ProtocolViolation,
    TooFewParties,
    UnexpectedMessage,
)
from silo.protocols.once import Once
from silo.protocols.secagg import directory as keys
from silo.protocols.secagg import drawing, vector
from silo.protocols.secagg import survivors as survival
from silo.protocols.secagg.context import Context, bitmap
from silo.protocols.secagg.directory import Advertised
from silo.protocols.secagg.drawing import MaskGraph
from silo.protocols.secagg.messages import (
    Advertise,
    Delivery,
    Directory,
    Package,
    Result,
    Reveal,
    Revealed,
    Reveals,
    Sealed,
    Shares,
    Unmasking,
    Upload,
)
from silo.protocols.secagg.survivors import Agreed
from silo.protocols.total import Total


@dataclass(frozen=True, repr=False, eq=False)
class Advertising(Once):
    """Advertised; waits for the directory."""

    context: Context
    me: str
    mask_key: AgreementKey
    share_key: AgreementKey
    seed: Secret
    nonce: Secret
    advertisement: Advertise

    def share(self, message: Directory, *, rng: Rng) -> tuple[Sharing, Shares]:
        """Complete graph: check the directory, share both secrets with everybody in it."""
        if self.context.parameters.degree:
            raise UsageError("a k-regular round draws its graph first: call reveal()")
        self._fresh()
        directory = self._read(message)
        result = _share(self, directory, drawing.complete(directory), rng)
        self._spend()
        return result

    def reveal(self, message: Directory) -> tuple[Revealing, Reveal]:
        """k-regular graph: check the directory, open the commitment to this member's part of the seed."""
        if not self.context.parameters.degree:
            raise UsageError("the complete graph is not drawn: call share()")
        self._fresh()
        directory = self._read(message)
        self._spend()
        return Revealing(self.context, self.me, self, directory), Reveal(
            self.nonce.reveal(), directory.digest
        )

    def _read(self, message: Directory) -> Advertised:
        directory = keys.read(self.context, message)
        keys.require_own(self.context, directory, self.me, self.advertisement)
        return directory


@dataclass(frozen=True, repr=False, eq=False)
class Revealing(Once):
    """k-regular graph: revealed; waits for everybody's openings."""

    context: Context
    me: str
    before: Advertising
    directory: Advertised

    def share(self, message: Reveals, *, rng: Rng) -> tuple[Sharing, Shares]:
        """Draw the graph from all openings, share both secrets with the neighbours."""
        self._fresh()
        graph = drawing.draw(self.context, self.directory, message)
        result = _share(self.before, self.directory, graph, rng)
        self._spend()
        return result


@dataclass(frozen=True, repr=False, eq=False)
class Sharing(Once):
    """Shared; waits for the packages of those that completed the step (U2)."""

    context: Context
    me: str
    mask_key: AgreementKey
    share_key: AgreementKey
    seed: Secret
    blind: Secret
    directory: Advertised
    graph: MaskGraph
    own_share: Share

    def mask(
        self, message: Delivery, plain: Plain, *, rng: Rng, threads: int = 1
    ) -> tuple[Uploading, Upload, bytes]:
        """Encode, mask and pack the vector; the bytes returned are the note of the signed header.

        `plain` holds as many values as the parameters say. Raises `ValueOutOfRange` for a value that cannot
        be encoded, before anything has changed. One copy of the vector is made.
        """
        self._fresh()
        if plain.length != self.context.parameters.length:
            raise ParameterError(
                f"the vector has {plain.length} values, the round was agreed for "
                f"{self.context.parameters.length}"
            )
        shares, blinds = self._open(message)
        blinds[self.me] = self.blind
        peers = frozenset(shares)
        blind = (
            keys.blind_key(self.context, self.directory, blinds) if self.context.parameters.blinded else None
        )
        payload = vector.mask(
            plain, self.context.parameters, self._seeds(peers, blind), rng=rng, threads=threads
        )
        note = bitmap(self.context.roster, peers)
        shares[self.me] = (self.own_share, None)
        after = Uploading(self.context, self.me, self.directory, self.graph, peers, shares, blind)
        self._spend()
        return after, Upload(payload), note

    def _seeds(self, peers: frozenset[str], blind: Secret | None) -> masking.Seeds:
        pairs = {p: keys.pair_mask(self.context, self.directory, self.mask_key, p) for p in sorted(peers)}
        plus = [keys.self_mask(self.context, self.directory, self.me, self.seed)]
        plus += [seed for peer, seed in pairs.items() if self.me < peer]
        if blind is not None:
            plus.append(keys.blind_mask(self.context, blind, self.me))
        return masking.Seeds(
            plus=tuple(plus), minus=tuple(seed for peer, seed in pairs.items() if self.me > peer)
        )

    def _open(self, message: Delivery) -> tuple[dict[str, tuple[Share, Share | None]], dict[str, Secret]]:
        context, blinds = self.context, dict[str, Secret]()
        held = dict[str, tuple[Share, Share | None]]()
        point = context.roster.point(self.me)
        for package in message.packages:
            peer = package.peer
            if peer in held or peer not in self.graph[self.me]:
                raise UnexpectedMessage(
                    "a package of a stranger, or a second one",
                    culprits=(context.aggregator,),
                    round=context.round,
                    found=peer,
                )
            try:
                raw = aead.unseal(
                    keys.share_key(context, self.directory, self.share_key, peer),
                    package.ciphertext,
                    keys.share_binding(context, self.directory, peer, self.me),
                )
                opened = codec.decode(Package, raw, sender=peer, round=context.round)
                held[peer] = (
                    Share.from_bytes(point, opened.seed_share),
                    Share.from_bytes(point, opened.key_share),
                )
            except DecryptionFailed:
                raise MalformedMessage(
                    "a share package does not open", culprits=(context.aggregator, peer), round=context.round
                ) from None
            except ParameterError:
                raise MalformedMessage(
                    "a share is no field element", culprits=(peer,), round=context.round
                ) from None
            blinds[peer] = Secret(opened.blind)
        if len(held) + 1 < context.parameters.threshold:
            missing = sorted(self.graph[self.me] - held.keys())
            raise TooFewParties(
                context.parameters.threshold, [*held, self.me], "the sharing of keys", missing
            )
        return held, blinds


@dataclass(frozen=True, repr=False, eq=False)
class Uploading(Once):
    """Uploaded; waits for the proposed survivors."""

    context: Context
    me: str
    directory: Advertised
    graph: MaskGraph
    peers: frozenset[str]
    shares: dict[str, tuple[Share, Share | None]]
    blind: Secret | None

    def agree(self, message: Survivors, upload: bytes) -> tuple[Voting, Vote]:
        """Check the survivors and vote for them; `upload` is the digest of the own upload as it was sent."""
        self._fresh()
        agreed = survival.read(self.context, self.directory, self.graph, message)
        if agreed.uploads.get(self.me) != upload:
            raise InconsistentSets(
                f"{self.me}'s upload is not among the survivors as it was sent",
                culprits=(self.context.aggregator,),
                round=self.context.round,
            )
        self._spend()
        return Voting(self.context, self.me, self.graph, self.peers, self.shares, self.blind, agreed), Vote(
            agreed.digest
        )


@dataclass(frozen=True, repr=False, eq=False)
class Voting(Once):
    """Voted; waits for a quorum of the same votes."""

    context: Context
    me: str
    graph: MaskGraph
    peers: frozenset[str]
    shares: dict[str, tuple[Share, Share | None]]
    blind: Secret | None
    agreed: Agreed

    def unmask(self, message: Votes) -> tuple[Finishing, Unmasking]:
        """Give, for each neighbour, the share of its seed (it survived) or of its key (it did not)."""
        self._fresh()
        count_votes(self.context, self.agreed.digest, self.agreed.names, message)
        alive = self.agreed.names
        seeds = tuple(Revealed(n, s.to_bytes()) for n, (s, _) in sorted(self.shares.items()) if n in alive)
        lost = tuple(
            Revealed(n, k.to_bytes())
            for n, (_, k) in sorted(self.shares.items())
            if n not in alive and k is not None
        )
        self._spend()
        return Finishing(self.context, self.me, self.blind, self.agreed), Unmasking(seeds, lost)


@dataclass(frozen=True, repr=False, eq=False)
class Finishing(Once):
    """Answered; waits for the result. Shares, seeds and mask keys are gone."""

    context: Context
    me: str
    blind: Secret | None
    agreed: Agreed

    def finish(self, message: Result, *, receives: bool = True, threads: int = 1) -> Total | None:
        """Read the sum; None where the charter gives this member none (`receives`). Raises `ProtocolViolation`."""
        self._fresh()
        if not receives:
            self._spend()
            return None
        blinds: tuple[Secret, ...] = ()
        if self.blind is not None:
            blinds = tuple(
                keys.blind_mask(self.context, self.blind, name) for name in sorted(self.agreed.names)
            )
        try:
            total = vector.read(
                message.payload, self.context.parameters, blinds, self.agreed.names, threads=threads
            )
        except ParameterError as problem:
            raise ProtocolViolation(
                f"the result is not a sum over the survivors: {problem}",
                culprits=(self.context.aggregator,),
                round=self.context.round,
            ) from None
        self._spend()
        return total


def advertise(context: Context, me: str, *, rng: Rng) -> tuple[Advertising, Advertise]:
    """Begin a round: fresh keys, a fresh self-mask seed, and commitments to it and to a part of the graph."""
    if me not in context.roster:
        raise ParameterError(f"{me} is not in the roster of this round")
    mask_key, share_key = AgreementKey.generate(rng=rng), AgreementKey.generate(rng=rng)
    seed, nonce = Secret.random(32, rng=rng), Secret.random(32, rng=rng)
    message = Advertise(
        mask_key.public,
        share_key.public,
        keys.self_mask_commitment(context, me, seed),
        drawing.commit(context, me, nonce.reveal()),
    )
    return Advertising(context, me, mask_key, share_key, seed, nonce, message), message


def _share(state: Advertising, directory: Advertised, graph: MaskGraph, rng: Rng) -> tuple[Sharing, Shares]:
    context, me = state.context, state.me
    holders = sorted(graph[me] | {me})
    points = [context.roster.point(name) for name in holders]
    threshold = context.parameters.threshold
    seed_shares = dict(
        zip(holders, shamir.share(state.seed, threshold=threshold, points=points, rng=rng), strict=True)
    )
    key_shares = dict(
        zip(
            holders,
            shamir.share(state.mask_key.secret, threshold=threshold, points=points, rng=rng),
            strict=True,
        )
    )
    blind = Secret.random(32, rng=rng) if context.parameters.blinded else Secret(b"")
    packages = tuple(
        Sealed(
            peer,
            aead.seal(
                keys.share_key(context, directory, state.share_key, peer),
                codec.encode(
                    Package(seed_shares[peer].to_bytes(), key_shares[peer].to_bytes(), blind.reveal())
                ),
                keys.share_binding(context, directory, me, peer),
                rng=rng,
            ),
        )
        for peer in sorted(graph[me])
    )
    after = Sharing(
        context, me, state.mask_key, state.share_key, state.seed, blind, directory, graph, seed_shares[me]
    )
    return after, Shares(packages)
