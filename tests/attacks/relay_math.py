"""What a malicious aggregator computes outside the protocol: it takes off all masks that it can open.

The attacks are shown to work where the one check that stops them is taken out; otherwise a test of the check
would also pass if the attack never had a chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from silo.crypto import shamir
from silo.crypto.keys import AgreementKey
from silo.crypto.masking import Seeds
from silo.crypto.secret import Secret
from silo.crypto.shamir import Share
from silo.protocols.secagg import directory as keys
from silo.protocols.secagg.messages import Unmasking
from silo.protocols.secagg.vector import Accumulator
from tests.attacks.scene import Scene


class Spoils:
    """The shares that the aggregator was given, and what they open."""

    def __init__(self, scene: Scene, answers: Mapping[str, Unmasking]) -> None:
        self.scene = scene
        self.seeds: dict[str, dict[int, Share]] = {}
        self.keys: dict[str, dict[int, Share]] = {}
        for holder, answer in answers.items():
            point = scene.context.roster.point(holder)
            for one in answer.seed_shares:
                self.seeds.setdefault(one.owner, {})[point] = Share.from_bytes(point, one.share)
            for one in answer.key_shares:
                self.keys.setdefault(one.owner, {})[point] = Share.from_bytes(point, one.share)

    def uncover(self, names: Iterable[str]) -> np.ndarray:
        """Sum the uploads of `names` and take off every mask that the spoils open."""
        scene, context = self.scene, self.scene.context
        group = frozenset(names)
        directory = scene.collecting.directory
        total = Accumulator(context.parameters)
        plus: list[Secret] = []
        minus: list[Secret] = []
        lost = {owner: AgreementKey.from_secret(self._open(shares)) for owner, shares in self.keys.items()}
        for name in sorted(group):
            total.add(scene.past["Upload"][name].message.payload)
            plus.append(keys.self_mask(context, directory, name, self._open(self.seeds[name])))
            for owner in sorted(lost.keys() & scene.masked_with[name]):
                mask = keys.pair_mask(context, directory, lost[owner], name)
                (plus if name < owner else minus).append(mask)
        total.unmask(Seeds(tuple(plus), tuple(minus)))
        words = np.frombuffer(total.payload()[24:], scene.context.parameters.ring.dtype)
        decoded: np.ndarray = next(iter(scene.plains.values())).encoder.decode(words.copy())
        return decoded

    def _open(self, shares: Mapping[int, Share]) -> Secret:
        return shamir.recover(list(shares.values()), self.scene.context.parameters.threshold)
