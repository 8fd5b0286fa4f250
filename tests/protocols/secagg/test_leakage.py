"""What each role sees of one round, and nothing else: the rows of docs/leakage.md.

A view is what a role receives, or what it carries. Two rounds are run with the same randomness and with other
inputs; two views must then be equal but for the parts that a mask covers: the bodies of uploads, and the digests
and signatures over them. That these parts themselves look the same whatever is in them is shown by statistics.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest

import silo
from silo.crypto import masking, prg, shamir
from silo.crypto.keys import AgreementKey
from silo.crypto.secret import Secret
from silo.crypto.shamir import Share
from silo.protocols import codec, rollcall
from silo.protocols.envelope import EVERYBODY, Header, claimed_protocol
from silo.protocols.rollcall import Present
from silo.protocols.secagg import client, drawing, vector
from silo.protocols.secagg import directory as keys
from silo.protocols.secagg.messages import Reveals
from silo.session import Session
from silo.transport.memory import Hub
from tests.protocols.secagg.federation import KINDS, RELAY, Federation, Outcome

ME, OTHER, COLLUDER = "m0000", "m0001", "m0005"
LENGTH = 64
SHAPES: dict[str, dict[str, Any]] = {
    "open": {},
    "blinded": {"blinded": True},
    "regular": {"degree": 4, "threshold": 3},
}
shapes = pytest.mark.parametrize("shape", SHAPES)


class Round:
    """One round, every frame of it and what the members keep; `inputs` is one number for each of six."""

    def __init__(self, shape: str, inputs: Collection[int], seed: int = 1, drop: str = "") -> None:
        self.fed = Federation(
            6, length=LENGTH, colluders=1 if shape != "regular" else 0, seed=seed, **SHAPES[shape]
        )
        self.kept: dict[str, dict[str, Any]] = {name: {} for name in self.fed.names}
        values = {
            name: np.full(LENGTH, value, np.int64) for name, value in zip(self.fed.names, inputs, strict=True)
        }
        drops = {drop: "upload"} if drop else {}
        self.outcome: Outcome = self.fed.run(self.fed.plains(values), drops, between=self._keep)
        self.frames = [_split(frame) for _, _, frame in self.fed.wire]

    def _keep(self, state: Any, name: str) -> Any:
        self.kept[name][type(state).__name__] = state
        return state

    def received(self, name: str) -> list[tuple[Header, Any]]:
        """What the relay tells this member."""
        return [
            (h, body) for h, body in self.frames if h.sender == RELAY and h.recipient in (EVERYBODY, name)
        ]

    def carried(self) -> list[tuple[Header, Any]]:
        """What the relay is sent, and the result that it works out."""
        results = [(h, body) for h, body in self.frames if h.kind == "Result"]
        return [(h, body) for h, body in self.frames if h.sender != RELAY] + results

    def raw(self, wanted: Callable[[Header], bool]) -> bytes:
        """The frames whose header is wanted, as they went over the wire."""
        frames = [bytes(frame) for _, _, frame in self.fed.wire]
        return b"|".join(raw for raw, (header, _) in zip(frames, self.frames, strict=True) if wanted(header))

    def upload(self, name: str) -> bytes:
        return bytes(next(body.payload for h, body in self.frames if h.kind == "Upload" and h.sender == name))

    def state(self, name: str, kind: type) -> Any:
        return self.kept[name][kind.__name__]


def _split(frame: bytes) -> tuple[Header, Any]:
    end = 7 + int.from_bytes(frame[5:7], "big")
    header = codec.decode(Header, frame[7:end], sender="", round=0)
    kind = {**KINDS, "Present": Present}[header.kind]
    return header, codec.decode(kind, frame[end + 64 :], sender="", round=0)


def shown(view: list[tuple[Header, Any]], *covered: str) -> list[str]:
    """A view without the parts under a mask, and what is computed from them; `covered` adds kinds."""
    lines = []
    for header, body in view:
        if header.kind in ("Upload", *covered):
            text = f"{len(body.payload)} bytes"
        elif header.kind == "Survivors":
            text = repr([one.header for one in body.uploads])
        elif header.kind == "Vote":
            text = "a digest"
        elif header.kind == "Votes":
            text = repr([_split(frame)[0] for frame in body.votes])
        elif header.kind == "Result":
            text = bytes(body.payload).hex()
        else:
            text = repr(body)
        lines.append(f"{header!r} {text}")
    return lines


@cache
def finished(shape: str, inputs: tuple[int, ...], drop: str = "") -> Round:
    return Round(shape, inputs, drop=drop)


FIRST = (7, 100_000, -3, 41, 12, 5)
MOVED = (7, 41, 12, 100_000, -3, 5)  # the same among the others, in other hands
MORE = (7, 100_001, -3, 41, 12, 5)


@shapes
@pytest.mark.parametrize("drop", ["", "m0004"], ids=["all", "one-lost"])
def test_a_member_sees_nothing_that_depends_on_a_single_input_of_another(shape: str, drop: str) -> None:
    moved = MOVED if not drop else (7, -3, 41, 100_000, 12, 5)
    first, second = finished(shape, FIRST, drop), finished(shape, moved, drop)
    assert len(first.received(ME)) >= 5
    assert shown(first.received(ME)) == shown(second.received(ME))


@shapes
def test_the_relay_with_a_member_sees_nothing_that_depends_on_a_single_input_of_the_rest(shape: str) -> None:
    first, second = finished(shape, FIRST), finished(shape, MOVED)
    for view in (Round.carried, lambda one: one.received(COLLUDER), lambda one: one.received(ME)):
        assert shown(view(first)) == shown(view(second))
    assert first.upload(OTHER) != second.upload(OTHER)


@shapes
def test_what_is_shown_of_an_upload_to_others_is_the_digest_of_masked_bytes(shape: str) -> None:
    one = finished(shape, FIRST)
    bodies = {}
    for sender, kind, frame in one.fed.wire:
        if kind == "Upload":
            bodies[sender] = frame[7 + int.from_bytes(frame[5:7], "big") + 64 :]
    ((_, survivors),) = [(h, body) for h, body in one.received(ME) if h.kind == "Survivors"]
    assert [receipt.digest for receipt in survivors.uploads] == [
        hashlib.sha256(bodies[name]).digest() for name in sorted(bodies)
    ]


@shapes
def test_such_a_comparison_notices_one_unit_in_the_sum(shape: str) -> None:
    # Else the two tests above could not fail.
    first, second = finished(shape, FIRST), finished(shape, MORE)
    unlike = [a for a, b in zip(shown(first.received(ME)), shown(second.received(ME)), strict=True) if a != b]
    assert len(unlike) == 6  # the results, one for each member, and only they
    assert all("kind='Result'" in line for line in unlike)


def test_in_the_blinded_sum_the_relay_sees_the_same_whatever_is_summed() -> None:
    first, second = finished("blinded", FIRST), finished("blinded", (0,) * 6)
    assert shown(first.carried(), "Result") == shown(second.carried(), "Result")
    # What it works out is the sum under a mask that the members share: the difference is all that is left.
    masked = [np.frombuffer(one.outcome.payload[24:], "<u4") for one in (first, second)]
    assert set((masked[0] - masked[1]).tolist()) == {sum(FIRST)}
    assert len(set(masked[1].tolist())) == LENGTH


def test_a_lost_members_input_changes_nothing_at_all() -> None:
    first, second = finished("open", FIRST, "m0004"), finished("open", (7, 100_000, -3, 41, 999, 5), "m0004")
    assert first.fed.wire == second.fed.wire


@shapes
def test_a_member_is_sent_shares_only_in_packages_for_itself(shape: str) -> None:
    one = finished(shape, FIRST)
    for header, body in one.received(ME):
        assert header.kind not in ("Shares", "Upload", "Unmasking")
        if header.kind == "Delivery":
            assert header.recipient == ME
            assert {sealed.peer for sealed in body.packages} == one.state(ME, client.Uploading).peers
    told = one.raw(lambda header: header.sender == RELAY)
    answers = one.raw(lambda header: header.kind == "Unmasking")
    for name in one.fed.names:
        for share, other in one.state(name, client.Uploading).shares.values():
            assert share.to_bytes() not in told
            assert share.to_bytes() in answers  # of survivors, to the relay: this is how the sum is opened
            assert other is None or other.to_bytes() not in told + answers


@shapes
def test_no_frame_holds_an_input_an_encoding_or_a_secret(shape: str) -> None:
    # Four bytes that no header holds; tests/attacks/test_transcript.py does the same with floats and weights.
    inputs = (0x055B5C5D, 0x04A1B2C3, -0x03F0E1D2, 0x02030405, 0x01FEDCBA, 0x05ABCDEF)
    one = Round(shape, inputs)
    everything = one.raw(lambda _: True)
    for name, value in zip(one.fed.names, inputs, strict=True):
        first, sharing = one.state(name, client.Advertising), one.state(name, client.Sharing)
        hidden = [value.to_bytes(4, "little", signed=True), value.to_bytes(4, "big", signed=True)]
        hidden += [str(value).encode(), np.float64(value).tobytes(), np.float32(value).tobytes()]
        hidden += [first.seed.reveal(), first.mask_key.secret.reveal(), first.share_key.secret.reveal()]
        hidden += [sharing.blind.reveal()] if shape == "blinded" else []
        hidden += [
            keys.pair_mask(one.fed.context, sharing.directory, sharing.mask_key, peer).reveal()
            for peer in sharing.graph[name]
        ]
        for secret in hidden:
            assert secret not in everything, name
        assert first.advertisement.mask_key in everything  # the search finds what is sent


# -- What is under the masks


def _stripped(one: Round, name: str, partners: Collection[str]) -> np.ndarray:
    """The upload of `name` less its self-mask, which the relay opens, and its masks with `partners`, who tell it."""
    context = one.fed.context
    directory = one.state(name, client.Sharing).directory
    points = {holder: context.roster.point(holder) for holder in one.fed.names}
    shares = [
        Share.from_bytes(points[h.sender], revealed.share)
        for h, body in one.frames
        if h.kind == "Unmasking"
        for revealed in body.seed_shares
        if revealed.owner == name
    ]
    seed = shamir.recover(shares[: context.parameters.threshold], context.parameters.threshold)
    plus: list[Secret] = [keys.self_mask(context, directory, name, seed)]
    minus: list[Secret] = []
    for partner in partners:
        own: AgreementKey = one.state(partner, client.Sharing).mask_key
        (plus if name < partner else minus).append(keys.pair_mask(context, directory, own, name))
    accumulator = vector.Accumulator(context.parameters)
    accumulator.add(one.upload(name))
    accumulator.unmask(masking.Seeds(tuple(plus), tuple(minus)))
    return np.frombuffer(bytes(accumulator.payload())[24:], "<i4")


@pytest.mark.parametrize("shape", ["open", "regular"])
def test_one_honest_partner_keeps_an_upload_hidden_from_the_relay_and_all_others(shape: str) -> None:
    one = finished(shape, FIRST)
    partners = sorted(one.state(ME, client.Sharing).graph[ME])
    assert len(partners) == (4 if shape == "regular" else 5)
    for honest in partners:
        rest = _stripped(one, ME, [name for name in partners if name != honest])
        assert len(set(rest.tolist())) == LENGTH
        assert _looks_random(rest.tobytes())
    # With no honest partner left nothing hides it: what the row in the table says of more colluders.
    assert set(_stripped(one, ME, partners).tolist()) == {FIRST[0]}


def _looks_random(raw: bytes) -> bool:
    ones = float(np.unpackbits(np.frombuffer(raw, np.uint8)).mean())
    return abs(ones - 0.5) < 4 * 0.5 / np.sqrt(8 * len(raw))


@shapes
def test_two_inputs_give_uploads_that_a_simple_statistic_cannot_tell_apart(shape: str) -> None:
    def words(value: int, masked: bool = True) -> np.ndarray:
        rounds = [Round(shape, (value, -value, 0, 0, 0, 0), seed=seed) for seed in range(2, 10)]
        raw = [one.upload(ME)[24:] if masked else np.full(LENGTH, value, "<i4").tobytes() for one in rounds]
        return np.frombuffer(b"".join(raw), np.uint8)

    nothing, much = words(0), words(2**27 - 1)
    # Two-sample chi-square over the upper half-bytes: 15 degrees of freedom, mean 15, deviation 5.5.
    assert _apart(nothing, much) < 15 + 5 * 5.5
    assert _apart(words(0, False), words(2**27 - 1, False)) > 1000
    # Other seeds, so other masks: the same round again would give the input as a difference.
    same = np.frombuffer(Round(shape, (5, -5, 0, 0, 0, 0), seed=2).upload(ME)[24:], "<u4")
    assert set((same - nothing[: 4 * LENGTH].view("<u4")).tolist()) == {5}


def _apart(first: np.ndarray, second: np.ndarray) -> float:
    one, two = (np.bincount(values >> 4, minlength=16).astype(float) for values in (first, second))
    both = one + two
    return float(((one - two)[both > 0] ** 2 / both[both > 0]).sum())


# -- What is not hidden


@shapes
def test_a_receiver_learns_three_sums_and_the_relay_the_same_or_none(shape: str) -> None:
    one = finished(shape, FIRST)
    for total in one.outcome.totals.values():
        assert (total.weight, total.saturated, len(total.survivors)) == (6.0, 0, 6)
        assert set(one.fed.context.parameters.ring.signed(total.words).tolist()) == {sum(FIRST)}
    head = np.frombuffer(one.outcome.payload[:24], "<u8").tolist()
    assert (head == [6, 6 << 20, 0]) == (shape != "blinded")


def test_in_the_blinded_sum_any_member_reads_what_the_relay_worked_out() -> None:
    # So the relay reads the sum with one member at its side, and a member that is no receiver with the relay's help.
    one = finished("blinded", FIRST)
    blind = one.state(COLLUDER, client.Uploading).blind
    masks = [keys.blind_mask(one.fed.context, blind, name) for name in one.fed.names]
    total = vector.read(one.outcome.payload, one.fed.context.parameters, masks, one.fed.names)
    assert set(total.words.view("<i4").tolist()) == {sum(FIRST)}


def test_every_member_learns_the_whole_mask_graph() -> None:
    one = finished("regular", FIRST)
    reveals = next(body for _, body in one.received(ME) if isinstance(body, Reveals))
    drawn = drawing.draw(one.fed.context, one.state(ME, client.Sharing).directory, reveals)
    for name in one.fed.names:
        assert drawn[name] == one.state(name, client.Sharing).graph[name]
        assert len(drawn[name]) == 4


def test_a_mask_stream_is_not_used_in_another_round_or_session() -> None:
    seeds: Mapping[str, bytes] = {}
    for change in ({}, {"round": 2}, {"session": b"t" * 32}, {"binding": b"b" * 32}):
        fed = Federation(3, length=4, **change)
        states: dict[str, Any] = {}

        def keep(state: Any, name: str, states: dict[str, Any] = states) -> Any:
            if isinstance(state, client.Sharing):
                states[name] = state
            return state

        fed.run(fed.plains({name: np.zeros(4, np.int64) for name in fed.names}), between=keep)
        own = states[ME]  # the same keys: the generator is the same
        seed = keys.pair_mask(fed.context, own.directory, own.mask_key, OTHER)
        words = np.zeros(8, "<u4")
        prg.accumulate(words, plus=(seed,))
        seeds = {**seeds, repr(change): words.tobytes()}
    assert len(set(seeds.values())) == 4


# -- Around the sum


def test_the_roll_call_shows_names_shapes_and_limits_but_no_value_weight_or_number_of_rows() -> None:
    def said(scale: float, weight: float) -> list[tuple[Any, ...]]:
        presents: list[tuple[Any, ...]] = []

        def listen(sender: str, recipient: str, payload: bytes) -> None:
            if recipient == "relay" and claimed_protocol(payload) == rollcall.PROTOCOL:
                _, one = _split(payload)
                presents.append((sender, one.tag, one.position, one.terms, one.state))

        def party(session: Session) -> None:
            session.mean({"blood pressure": scale * np.arange(3.0), "b": scale}, weight=weight)
            session.sum(np.array([int(weight)]))

        silo.simulate(3, party, hub=Hub(tamper=listen), clip=4.0, rows=500)
        return sorted(presents, key=repr)

    first = said(0.25, 17)
    assert first == said(-1.75, 480)
    terms = {term.name: term.value for term in first[0][3]}
    assert terms["entry blood pressure"] == "[3]"
    assert terms["encoding"] == "fixed point in 32 bits, |x| <= 4.0, weights to 500"


def test_standardize_tells_of_the_pooled_table_and_of_no_member_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(5)
    tables = [rng.normal(size, size, (rows, 3)) for size, rows in ((1, 20), (900, 7), (0.01, 60), (4, 33))]
    learned: list[Any] = []
    collect = Session.collect

    def noted(self: Session, value: Any, **how: Any) -> Any:
        result = collect(self, value, **how)
        if self.me == "party-1":
            learned.extend([result, self.last.weight if self.last else 0])
        return result

    monkeypatch.setattr(Session, "collect", noted)
    silo.simulate(4, lambda session, rows: silo.standardize(session, rows), tables, rows=100)
    first = learned.copy()
    learned.clear()
    silo.simulate(
        4, lambda session, rows: silo.standardize(session, rows), [tables[i] for i in (0, 3, 1, 2)], rows=100
    )
    assert len(first) == 8
    for one, other in zip(first, learned, strict=True):
        assert np.allclose(one, other, rtol=0, atol=1e-6)
    # What it does tell: how many members have a largest value of which size, and how many rows all have together.
    assert first[0].sum(axis=1).tolist() == [4, 4, 4]
    assert first[3] == sum(len(table) for table in tables)
