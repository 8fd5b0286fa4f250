"""Rebuilding what still masks the sum: seeds of the survivors, mask keys of the lost.

Every rebuilt secret is checked against what its owner advertised. When it does not fit, other sets of holders
are tried, in an order that a hash decides; a holder whose share does not belong is left out from then on, and
named. With l liars among m holders a set of t is free of them with probability C(m - l, t) / C(m, t).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from silo.crypto import shamir
from silo.crypto.errors import ParameterError
from silo.crypto.keys import AgreementKey
from silo.crypto.masking import Seeds
from silo.crypto.secret import Secret
from silo.crypto.shamir import Share
from silo.protocols.envelope import Opened
from silo.protocols.errors import InconsistentSets, MalformedMessage, ProtocolViolation, TooFewParties
from silo.protocols.secagg import directory as keys
from silo.protocols.secagg.context import Context
from silo.protocols.secagg.directory import Advertised
from silo.protocols.secagg.drawing import MaskGraph
from silo.protocols.secagg.messages import Revealed, Unmasking
from silo.protocols.secagg.survivors import Agreed

_MOST_TRIES = 2000


def check(
    context: Context,
    graph: MaskGraph,
    shared: frozenset[str],
    agreed: Agreed,
    opened: Opened[Unmasking],
) -> None:
    """Check the form of one answer: the right kind of share for each neighbour that shared, once each."""
    holder = opened.sender
    mine = (graph[holder] & shared) | {holder}
    wanted = (
        (opened.message.seed_shares, mine & agreed.names),
        (opened.message.key_shares, mine - agreed.names),
    )
    for revealed, owners in wanted:
        given = [one.owner for one in revealed]
        if len(set(given)) != len(given) or set(given) != owners:
            raise InconsistentSets(
                "an answer holds other shares than were asked for",
                culprits=(holder,),
                round=context.round,
                expected=sorted(owners),
                found=sorted(given),
            )
        for one in revealed:
            try:
                Share.from_bytes(context.roster.point(holder), one.share)
            except ParameterError:
                raise MalformedMessage(
                    "a share is no field element", culprits=(holder,), round=context.round
                ) from None


@dataclass(slots=True)
class _Rebuilding:
    context: Context
    liars: set[str] = field(default_factory=set)

    def secret(self, owner: str, shares: Mapping[str, Share], fits: Callable[[Secret], bool]) -> Secret:
        """Rebuild one secret that `fits` what its owner advertised."""
        threshold = self.context.parameters.threshold
        if len(shares) < threshold:
            raise TooFewParties(threshold, sorted(shares), f"the recovery of {owner}'s mask")
        for trial in range(_MOST_TRIES):
            chosen = tuple(
                sorted(sorted(shares, key=lambda holder: self._order(trial, owner, holder))[:threshold])
            )
            try:
                found = shamir.recover([shares[holder] for holder in chosen], threshold)
            except ParameterError:
                continue
            if fits(found):
                self._blame(chosen, shares, threshold, fits)
                return found
        raise ProtocolViolation(
            f"the shares of {owner}'s mask do not fit together",
            culprits=sorted({owner, *shares}),
            round=self.context.round,
        )

    def _order(self, trial: int, owner: str, holder: str) -> tuple[bool, bytes]:
        """Honest ones first; by name at the first try (their weights are cached), then by a hash."""
        by = holder.encode() if trial == 0 else hashlib.sha256(f"{trial}/{owner}/{holder}".encode()).digest()
        return holder in self.liars, by

    def _blame(
        self,
        good: tuple[str, ...],
        shares: Mapping[str, Share],
        threshold: int,
        fits: Callable[[Secret], bool],
    ) -> None:
        if good == tuple(sorted(shares))[:threshold]:
            return  # the first try: nobody is suspected
        for holder in shares.keys() - set(good) - self.liars:
            trial = [shares[name] for name in (*good[:-1], holder)]
            try:
                if fits(shamir.recover(trial, threshold)):
                    continue
            except ParameterError:
                pass
            self.liars.add(holder)


def recover(
    context: Context,
    directory: Advertised,
    graph: MaskGraph,
    shared: frozenset[str],
    agreed: Agreed,
    answers: Mapping[str, Unmasking],
) -> tuple[Seeds, frozenset[str]]:
    """The streams to take off the sum, signed as their owners added them, and the holders of wrong shares.

    Raises `TooFewParties`, or `ProtocolViolation` when the shares of a secret do not fit together.
    """
    seed_shares = _by_owner(context, answers, lambda answer: answer.seed_shares)
    key_shares = _by_owner(context, answers, lambda answer: answer.key_shares)
    rebuilding = _Rebuilding(context)
    plus: list[Secret] = []
    minus: list[Secret] = []
    for name in sorted(agreed.names):
        commitment = directory.entries[name].seed_commitment
        seed = rebuilding.secret(
            name,
            seed_shares.get(name, {}),
            lambda secret, name=name, commitment=commitment: (  # type: ignore[misc]
                keys.self_mask_commitment(context, name, secret) == commitment
            ),
        )
        plus.append(keys.self_mask(context, directory, name, seed))
    for lost in sorted(shared - agreed.names):
        beside = graph[lost] & agreed.names
        if not beside:
            continue
        public = directory.entries[lost].mask_key
        key = rebuilding.secret(
            lost,
            key_shares.get(lost, {}),
            lambda secret, public=public: AgreementKey.from_secret(secret).public == public,  # type: ignore[misc]
        )
        own = AgreementKey.from_secret(key)
        for name in sorted(beside):
            mask = keys.pair_mask(context, directory, own, name)
            (plus if name < lost else minus).append(mask)
    return Seeds(plus=tuple(plus), minus=tuple(minus)), frozenset(rebuilding.liars)


def _by_owner(
    context: Context, answers: Mapping[str, Unmasking], pick: Callable[[Unmasking], tuple[Revealed, ...]]
) -> dict[str, dict[str, Share]]:
    found: dict[str, dict[str, Share]] = {}
    for holder, answer in answers.items():
        point = context.roster.point(holder)
        for one in pick(answer):
            found.setdefault(one.owner, {})[holder] = Share.from_bytes(point, one.share)
    return found
