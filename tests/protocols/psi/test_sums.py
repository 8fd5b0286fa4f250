"""Sums over an intersection: exact, for who gets results, and nothing beyond what docs/leakage.md grants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silo.crypto.errors import ParameterError
from silo.crypto.paillier import vector
from silo.crypto.paillier.keys import PrivateKey, PublicKey, generate
from silo.crypto.rng import InsecureSeededRng
from silo.protocols.errors import MalformedMessage
from silo.protocols.psi import sums
from silo.protocols.psi.context import SUM
from silo.protocols.psi.errors import TooFewInCommon
from silo.protocols.psi.sums import KEY_BITS, SLOT_BITS, Summand
from silo.protocols.transit import Piece
from tests.protocols.psi.circle import Circle

KEY = generate(KEY_BITS, rng=InsecureSeededRng(5))
WIDTH = 32 + KEY.public.ciphertext_bytes


@pytest.fixture(autouse=True)
def one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making a key takes half a second; here all rounds have the same."""

    def cached(bits: int, *, rng: object) -> PrivateKey:
        assert bits == KEY_BITS
        return KEY

    monkeypatch.setattr(sums, "generate", cached)


@dataclass
class Sums(Circle):
    """`bob` has values; `ada` matches, and adds `noise`."""

    reveal: str = SUM
    values: Mapping[bytes, Sequence[int]] = field(default_factory=dict)
    noise: Sequence[int] = ()

    def role(self, name: str) -> Any:
        width = len(next(iter(self.values.values()))) + 1
        what = Summand(width, 1)
        given_ = (self.context, name, self.lists[name], self.channels[name], what)
        if name == "ada":
            noise = np.array(self.noise or [0] * width, np.int64)
            return sums.matcher(*given_, noise, rng=self.rngs[name])
        rows = [[1, *self.values[item]] for item in self.lists[name]]
        return sums.holder(*given_, np.array(rows, np.int64).reshape(-1, width), rng=self.rngs[name])


def people(*numbers: int) -> list[bytes]:
    return [b"person-%d" % number for number in numbers]


VALUES = {item: (10**place, -place) for place, item in enumerate(people(*range(8)))}
HELD = {"ada": people(1, 2, 3, 11), "bob": people(7, 3, 1, 5)}
EXPECTED = [2, 10 + 1000, -4]


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_the_sums_are_exact_and_go_to_who_gets_results(data: st.DataObject) -> None:
    numbers = st.lists(st.integers(0, 9), unique=True, max_size=6)
    held = {name: people(*data.draw(numbers)) for name in ("ada", "bob")}
    wide = st.integers(-(2**50), 2**50)
    values = {item: data.draw(st.tuples(wide, wide)) for item in people(*range(10))}
    receivers = data.draw(st.lists(st.sampled_from(["ada", "bob"]), unique=True, min_size=1))
    done = Sums(held, receivers=receivers, values=values).run()
    common = set(held["ada"]) & set(held["bob"])
    expected = [len(common), *(sum(values[item][place] for item in common) for place in range(2))]
    for name in ("ada", "bob"):
        if name in receivers:
            assert done.found[name].tolist() == expected
        else:
            assert done.found[name] is None
    assert not done.errors


def opened(done: Sums, stage: int = 3) -> int:
    """What the holder decrypts."""
    (piece,) = [piece for _, _, piece in done.said if piece.stage == stage]
    return vector.decrypt_message(bytes(piece.entries), KEY)


def test_a_holder_that_gets_nothing_decrypts_a_blinded_number() -> None:
    seen = {opened(Sums(HELD, values=VALUES, receivers=["ada"], seed=seed).run()) for seed in range(1, 5)}
    assert len(seen) == 4
    assert max(seen) > int(KEY.public.n) // 64, "four uniform numbers are all this small with 2^-24"
    assert not any(one % 2**SLOT_BITS == EXPECTED[0] for one in seen)


def test_a_holder_is_told_what_the_slots_hold_and_nothing_of_what_is_above() -> None:
    used = 3 * SLOT_BITS
    seen = [opened(Sums(HELD, values=VALUES, seed=seed).run()) for seed in range(1, 5)]
    assert len({one % 2**used for one in seen}) == 1
    assert len({one >> used for one in seen}) == 4


def test_a_matcher_that_gets_nothing_is_told_nothing() -> None:
    done = Sums(HELD, values=VALUES, receivers=["bob"]).run()
    assert not any(piece.stage == 4 for _, _, piece in done.said)
    assert done.found["bob"].tolist() == EXPECTED


def test_the_answer_is_no_product_of_the_rows_that_were_sent() -> None:
    """Without fresh randomness the holder, who knows its ciphertexts, would see which of them were multiplied."""
    done = Sums(HELD, values=VALUES).run()
    rows = [piece for _, _, piece in done.said if piece.stage == 2]
    (sent,) = [bytes(piece.entries) for piece in rows]
    square, products = KEY.public.square, {1}
    for at in range(0, len(sent), WIDTH):
        one = int.from_bytes(sent[at + 32 : at + WIDTH], "little")
        products |= {product * one % square for product in products}
    (answer,) = [piece for _, _, piece in done.said if piece.stage == 3]
    found = int.from_bytes(bytes(answer.entries), "little")
    plain = opened(done)
    shifted = found * pow(1 + plain * int(KEY.public.n), -1, int(square)) % square
    masks = {product % KEY.public.n for product in products}
    assert shifted % KEY.public.n not in masks


def test_a_base_that_hides_nothing_tells_the_holder_nothing_of_the_rows_that_matched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Powers of 1 + n are 1 modulo n: under them the answer would be the product of the matched rows' own randomness.
    spoilt = PublicKey(int(KEY.public.n), int(KEY.public.n) + 1)
    rows = vector.encrypt_messages([5, 6], spoilt, rng=InsecureSeededRng(1))
    assert all(one % KEY.public.n == 1 for one in vector.read(rows, spoilt, 2))
    again = vector.read(vector.rerandomise(rows, spoilt, rng=InsecureSeededRng(2)), spoilt, 2)
    assert all(one % KEY.public.n != 1 for one in again)
    first = vector.read(rows, spoilt, 2)
    assert [_message(one) for one in again] == [_message(one) for one in first]


def _message(ciphertext: Any) -> int:
    return vector.decrypt_message(vector.write([ciphertext], KEY.public), KEY)


def test_no_identifier_and_no_value_travels_in_clear() -> None:
    done = Sums(HELD, values=VALUES).run()
    for _, _, piece in done.said:
        raw = bytes(piece.entries)
        assert not any(item in raw for item in (*HELD["ada"], *HELD["bob"]))
    rows = [bytes(piece.entries) for _, _, piece in done.said if piece.stage == 2]
    (sent,) = rows
    assert len({sent[at + 32 : at + WIDTH] for at in range(0, len(sent), WIDTH)}) == len(HELD["bob"])


def test_noise_is_in_what_both_are_told() -> None:
    done = Sums(HELD, values=VALUES, noise=[3, -7, 1]).run()
    for name in ("ada", "bob"):
        assert done.found[name].tolist() == [5, 1010 - 7, -4 + 1]


@pytest.mark.parametrize(("noise", "told"), [(0, False), (1, True)])
def test_too_few_are_counted_with_their_noise_and_nothing_is_sent(noise: int, told: bool) -> None:
    done = Sums(HELD, values=VALUES, minimum=3, noise=[noise, 0, 0]).run()
    if told:
        assert done.found["bob"].tolist() == [3, 1010, -4]
        return
    assert all(isinstance(done.errors[name], TooFewInCommon) for name in ("ada", "bob"))
    assert [piece.total for _, _, piece in done.said if piece.stage == 3] == [0]
    assert not any(piece.stage == 4 for _, _, piece in done.said)


def tampered(stage: int, who: str, change: Any) -> Sums:
    def hand(sender: str, recipient: str, piece: Piece) -> Piece | None:
        if (sender, piece.stage) != (who, stage):
            return None
        return Piece(piece.stage, piece.total, piece.at, memoryview(change(bytes(piece.entries))))

    return Sums(HELD, values=VALUES, hand=hand).run()


N = int(KEY.public.n)
P = int(KEY.p)


@pytest.mark.parametrize(
    ("stage", "change", "words"),
    [
        (0, lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]), "the proof does not hold"),
        (0, lambda raw: b"\0\0" + raw[2:], "no Paillier key"),
        (2, lambda raw: bytes(32) + raw[32:], "entry 0 is no point"),
        (2, lambda raw: raw[:32] + bytes(768) + raw[WIDTH:], "not between 0 and n^2"),
        (2, lambda raw: raw[:32] + P.to_bytes(768, "little") + raw[WIDTH:], "not a unit"),
        (2, lambda raw: raw[:32] + b"\xff" * 768 + raw[WIDTH:], "not between 0 and n^2"),
        (2, lambda raw: raw[:32] + raw[32:WIDTH] + raw[:WIDTH] + raw[2 * WIDTH :], "entries twice"),
        (1, lambda raw: raw[:16] * (len(raw) // 16), "entries twice"),
    ],
)
def test_what_a_holder_may_not_send_is_refused_by_name(stage: int, change: Any, words: str) -> None:
    problem = tampered(stage, "bob", change).errors["ada"]
    assert isinstance(problem, MalformedMessage)
    assert problem.culprits == ("bob",)
    assert words in str(problem)


@pytest.mark.parametrize("answer", [bytes(768), N.to_bytes(768, "little"), b"\xff" * 768])
def test_what_a_matcher_may_not_answer_is_refused_by_name(answer: bytes) -> None:
    problem = tampered(3, "ada", lambda raw: answer).errors["bob"]
    assert isinstance(problem, MalformedMessage)
    assert problem.culprits == ("ada",)


def test_so_many_columns_fit_a_key_and_no_more() -> None:
    most = sums.MOST_COLUMNS
    assert most * SLOT_BITS + 128 < KEY_BITS
    Summand(most, 1)
    for columns, one in ((most + 1, 1), (1, 1), (2, 0), (2, 2**62)):
        with pytest.raises(ParameterError):
            Summand(columns, one)
