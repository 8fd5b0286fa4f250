"""What goes over the wire in a whole round, byte by byte: nothing secret of anybody, nothing in clear."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from silo.crypto import shamir
from silo.crypto.masking import Plain
from silo.crypto.ring import FixedPoint
from silo.crypto.rng import InsecureSeededRng
from silo.protocols.secagg import client
from silo.protocols.secagg import directory as keys
from silo.protocols.secagg.messages import Unmasking
from silo.protocols.total import WEIGHT_UNIT
from tests.protocols.secagg.federation import RELAY, Federation

LENGTH = 64
LOST = "m0004"


class Transcript:
    """One round in which a member is lost before its upload; secrets are noted as the states show them."""

    def __init__(self, blinded: bool) -> None:
        self.fed = Federation(6, length=LENGTH, blinded=blinded)
        ring = self.fed.context.parameters.ring
        self.encoder = FixedPoint(ring, 4.0, 6, 5000.0)
        values = np.random.default_rng(3)
        self.inputs = {name: values.uniform(-4, 4, LENGTH) for name in self.fed.names}
        self.weights = {name: 1009.0 + 2 * i for i, name in enumerate(self.fed.names)}
        self.secrets: dict[str, dict[str, list[bytes]]] = {}
        plains = {
            name: Plain((self.inputs[name],), self.encoder, weight=self.weights[name])
            for name in self.fed.names
        }
        self.outcome = self.fed.run(plains, {LOST: "upload"}, between=self._note)

    def _note(self, state: Any, name: str) -> Any:
        kept = self.secrets.setdefault(name, {})
        if isinstance(state, client.Advertising):
            kept["seed"] = [state.seed.reveal()]
            kept["mask key"] = [state.mask_key.secret.reveal()]
            kept["share key"] = [state.share_key.secret.reveal()]
            kept["nonce"] = [state.nonce.reveal()]
        if isinstance(state, client.Sharing):
            others = [peer for peer in state.graph[name]]
            kept["pair"] = [
                keys.pair_mask(state.context, state.directory, state.mask_key, peer).reveal()
                for peer in others
            ]
            kept["package key"] = [
                keys.share_key(state.context, state.directory, state.share_key, peer).reveal()
                for peer in others
            ]
            kept["self mask"] = [keys.self_mask(state.context, state.directory, name, state.seed).reveal()]
            kept["blind part"] = [state.blind.reveal()] if len(state.blind) else []
        if isinstance(state, client.Uploading):
            kept["seed shares"] = [share.to_bytes() for _, (share, _) in sorted(state.shares.items())]
            kept["key shares"] = [share.to_bytes() for _, (_, share) in sorted(state.shares.items()) if share]
            kept["blind"] = [state.blind.reveal()] if state.blind else []
        return state

    def frames(self, *kinds: str) -> list[tuple[str, str, bytes]]:
        return [one for one in self.fed.wire if not kinds or one[1] in kinds]


@pytest.fixture(scope="module", params=[False, True], ids=["open", "blinded"])
def transcript(request: pytest.FixtureRequest) -> Transcript:
    return Transcript(request.param)


def spellings(raw: bytes) -> set[bytes]:
    return {raw, raw[::-1], raw.hex().encode(), raw.hex().upper().encode()}


def absent(frames: Iterable[tuple[str, str, bytes]], secret: bytes, *, where: str) -> None:
    for sender, kind, frame in frames:
        for spelled in spellings(secret):
            assert spelled not in frame, f"{where} in {kind} of {sender}"


def test_the_search_finds_what_is_sent() -> None:
    # If the search could find nothing, the tests below would prove nothing.
    shown = Transcript(False)
    advertised = next(frame for _, kind, frame in shown.fed.wire if kind == "Advertise")
    with pytest.raises(AssertionError):
        absent(shown.frames("Advertise"), advertised[-40:-8], where="a commitment")


@pytest.mark.parametrize(
    "what",
    ["seed", "mask key", "share key", "nonce", "pair", "package key", "self mask", "blind part", "blind"],
)
def test_no_frame_holds_a_secret_of_a_member(transcript: Transcript, what: str) -> None:
    looked = 0
    for name, kept in transcript.secrets.items():
        for secret in kept.get(what, []):
            absent(transcript.frames(), secret, where=f"{what} of {name}")
            absent(transcript.frames(), secret[:12], where=f"the beginning of {what} of {name}")
            looked += 1
    assert looked or (what.startswith("blind") and not transcript.fed.blinded)


def test_shares_travel_in_clear_only_in_the_answer_that_opens_them(transcript: Transcript) -> None:
    before = transcript.frames(
        "Advertise", "Directory", "Shares", "Delivery", "Upload", "Survivors", "Vote", "Votes", "Result"
    )
    assert len(before) > 20
    for kept in transcript.secrets.values():
        for share in kept.get("seed shares", []) + kept.get("key shares", []):
            absent(before, share, where="a share")


def test_an_answer_opens_the_seeds_of_survivors_and_the_mask_keys_of_the_lost_only(
    transcript: Transcript,
) -> None:
    answers = b"".join(frame for _, _, frame in transcript.frames(Unmasking.__name__))
    names = transcript.fed.names
    for holder, kept in transcript.secrets.items():
        if holder == LOST:
            continue
        for owner, share in zip(names, kept["seed shares"], strict=True):
            assert (share in answers) == (owner != LOST)
        peers = [name for name in names if name != holder]
        for owner, share in zip(peers, kept["key shares"], strict=True):
            assert (share in answers) == (owner == LOST)


def test_the_mask_key_of_a_survivor_cannot_be_rebuilt_from_the_wire(transcript: Transcript) -> None:
    answers = [frame for _, _, frame in transcript.frames(Unmasking.__name__)]
    roster = transcript.fed.context.roster
    opened = 0
    for owner in transcript.fed.names:
        found = []
        for holder, kept in transcript.secrets.items():
            if holder in (owner, LOST) or "key shares" not in kept:
                continue
            peers = [name for name in transcript.fed.names if name != holder]
            share = kept["key shares"][peers.index(owner)]
            if any(share in frame for frame in answers):
                found.append(shamir.Share.from_bytes(roster.point(holder), share))
        enough = len(found) >= transcript.fed.threshold
        assert enough == (owner == LOST)
        opened += enough
    assert opened == 1


def test_no_vector_weight_or_count_travels_in_clear(transcript: Transcript) -> None:
    for name, values in transcript.inputs.items():
        words = np.empty(LENGTH, transcript.encoder.ring.dtype)
        from silo.crypto.prg import Keystream
        from silo.crypto.secret import Secret

        weight = transcript.weights[name]
        noise = Keystream(Secret(InsecureSeededRng(1).bytes(32)))
        transcript.encoder.encode(values, words, noise, saturate=False, weight=weight)
        chunks = [
            values.astype(kind).tobytes()[i : i + 8] for kind in ("<f8", "<f4") for i in range(0, 256, 8)
        ]
        # Rounding moves a word by one: the three high bytes of neighbours still give a plain vector away.
        chunks += [words[i : i + 2].tobytes() for i in range(0, LENGTH, 2)]
        # The 24 bytes of the head in front: canary, weight, count.
        chunks.append((1).to_bytes(8, "little") + round(weight * WEIGHT_UNIT).to_bytes(8, "little"))
        chunks.append(round(weight * WEIGHT_UNIT).to_bytes(8, "little"))
        chunks.append(np.float64(weight).tobytes())
        for sender, kind, frame in transcript.frames():
            for chunk in chunks:
                assert chunk not in frame, f"plain data of {name} in {kind} of {sender}"


def test_an_upload_is_as_good_as_random(transcript: Transcript) -> None:
    bodies = b"".join(frame[-(24 + 4 * LENGTH) :] for _, _, frame in transcript.frames("Upload"))
    ones = np.unpackbits(np.frombuffer(bodies, np.uint8)).mean()
    assert abs(ones - 0.5) < 5 * 0.5 / np.sqrt(8 * len(bodies))
    assert len({bodies[i : i + 4] for i in range(0, len(bodies), 4)}) > len(bodies) / 4 - 3


def test_the_sum_is_seen_by_the_aggregator_only_where_it_may(transcript: Transcript) -> None:
    frame = transcript.frames("Result")[0][2]
    canary = (5).to_bytes(8, "little")
    weight = round(sum(w for n, w in transcript.weights.items() if n != LOST) * WEIGHT_UNIT)
    head = canary + weight.to_bytes(8, "little")
    assert (head in frame) == (not transcript.fed.blinded)
    for total in transcript.outcome.totals.values():
        assert total.weight * WEIGHT_UNIT == weight


def test_sizes_do_not_depend_on_the_inputs() -> None:
    seen = []
    for value in (0, 1, -1, 2**28):
        fed = Federation(4, length=16)
        plains = fed.plains({name: np.full(16, value, np.int64) for name in fed.names})
        fed.run(plains)
        seen.append([(sender, kind, len(frame)) for sender, kind, frame in fed.wire])
    assert all(one == seen[0] for one in seen)
    assert {sender for sender, _, _ in seen[0]} == {RELAY, *Federation(4).names}
