"""What a member of a boosted model may not send is refused, and named; what is sent holds nothing it should not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from silo.crypto.rng import InsecureSeededRng
from silo.protocols import codec
from silo.protocols.codec import Message
from silo.protocols.errors import MalformedMessage
from silo.protocols.transit import Piece
from silo.protocols.vertical.boosting import scoring
from silo.protocols.vertical.boosting.gradients import Logistic, fix
from silo.protocols.vertical.boosting.label import Run
from silo.protocols.vertical.boosting.messages import Chosen, Hello, Level, OwnSplit, Sides, Start, Turn
from silo.protocols.vertical.boosting.parameters import Terms
from tests.protocols.vertical.boosting_circle import (
    LABEL,
    Circle,
    Plain,
    SmallOkamotoUchiyama,
    Table,
    ou_key,
    table,
)

HOST = "telecom"
RUN = Run.new(rng=InsecureSeededRng(3))
MEMBERS = {LABEL: [(3, False)], HOST: [(8, False), (5, True), (7, False)]}
DATA = table(MEMBERS, 61, 5, Logistic())
AGREED = Terms(trees=2, depth=2, min_samples_leaf=3)
# The stages of the first tree: Hello, Start, Turn, rows, and of each level Level, histograms, Chosen, Sides.
HELLO, START, TURN, ROWS, LEVEL, SUMS, CHOSEN, SIDES, LEVEL_2, _, CHOSEN_2 = range(1, 12)


def letter(piece: Piece, kind: type[Message]) -> Any:
    return codec.decode(kind, bytes(piece.entries), sender="", round=1)


def whole(stage: int, raw: bytes) -> Piece:
    return Piece(stage, len(raw), 0, memoryview(raw))


def tampered(
    who: str,
    stage: int,
    change: Callable[[bytes], bytes],
    ciphers: Any = None,
    data: Table = DATA,
    agreed: Terms = AGREED,
) -> Circle:
    hits = []

    def hand(sender: str, recipient: str, piece: Piece) -> Piece | None:
        if (sender, piece.stage) != (who, stage) or hits:
            return None
        hits.append(stage)
        raw = change(bytes(piece.entries))
        if stage == ROWS:
            return Piece(piece.stage, piece.total, piece.at, memoryview(raw))
        return whole(stage, raw)

    circle = Circle(data, agreed, ciphers or Plain(), hand, run_name=RUN).run()
    assert hits, "nothing was changed"
    return circle


def refused(
    who: str,
    stage: int,
    change: Callable[[bytes], bytes],
    words: str,
    ciphers: Any = None,
    agreed: Terms = AGREED,
) -> None:
    circle = tampered(who, stage, change, ciphers, agreed=agreed)
    problem = circle.errors[LABEL if who == HOST else HOST]
    assert isinstance(problem, MalformedMessage)
    assert problem.culprits == (who,)
    assert words in str(problem)


def written(kind: type[Message], **fields: Any) -> Callable[[bytes], bytes]:
    """Change fields of a letter; a function gets what was there."""

    def change(raw: bytes) -> bytes:
        found = codec.decode(kind, raw, sender="", round=1)
        given = {name: getattr(found, name) for name in kind.__struct_fields__}
        for name, value in fields.items():
            given[name] = value(given[name]) if callable(value) else value
        return codec.encode(kind(**given))

    return change


def flipped(at: int, bit: int) -> Callable[[Any], memoryview]:
    def change(raw: Any) -> memoryview:
        found = bytearray(raw)
        found[at] ^= bit
        return memoryview(found)

    return change


def first_mask(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda masks: (change(masks[0]), *masks[1:])


def test_untouched_the_host_divides_the_root() -> None:
    circle = Circle(DATA, AGREED, run_name=RUN).run()
    assert circle.model.trees[0].nodes[0].owner == 1


@pytest.mark.parametrize(
    ("stage", "change", "words"),
    [
        (HELLO, written(Hello, bins=memoryview(bytes([8, 5]))), "bins of 2 columns, and 3"),
        (HELLO, written(Hello, bins=memoryview(bytes([8, 0, 7]))), "1 to 255 bins"),
        (HELLO, written(Hello, categorical=memoryview(b"\xff")), "padding"),
        (HELLO, written(Hello, categorical=memoryview(b"")), "do not hold 3 bits"),
        (HELLO, lambda raw: raw + b"\0", "does not decode"),
        (SUMS, lambda raw: b"", "no histograms"),
        (SUMS, lambda raw: bytes([raw[0] + 1]) + raw[1:], "do not make the node's"),
        (SUMS, lambda raw: raw[:-16] + (5).to_bytes(8, "little") + raw[-8:], "do not make the node's"),
        (SIDES, written(Sides, masks=first_mask(lambda mask: mask[:-1])), "do not hold"),
        (SIDES, written(Sides, masks=first_mask(flipped(-1, 1))), "padding"),
        (SIDES, written(Sides, masks=first_mask(flipped(0, 128))), "its histogram"),
        (SIDES, written(Sides, masks=()), "0 bit masks for 1 splits"),
        (SIDES, written(Sides, masks=lambda masks: masks * 2), "2 bit masks for 1 splits"),
    ],
)
def test_what_a_host_may_not_answer(stage: int, change: Any, words: str) -> None:
    refused(HOST, stage, change, words)


def histogram_of(raw: bytes, last: bytes) -> bytes:
    """The host's answer with another last ciphertext."""
    return raw[: -len(last)] + last


WIDTH = ou_key().public.size


@pytest.mark.parametrize("change", [lambda raw: raw[:-1], lambda raw: raw[:-WIDTH], lambda raw: raw[:100]])
def test_histograms_that_are_too_short(change: Any) -> None:
    refused(HOST, SUMS, change, "ciphertexts take", SmallOkamotoUchiyama())


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (bytes(WIDTH), "not between 0 and n"),
        (b"\xff" * WIDTH, "not between 0 and n"),
        (int(ou_key().p).to_bytes(WIDTH, "little"), "not a unit"),
        (pow(int(ou_key().public.g), 1 << 130, int(ou_key().public.n)).to_bytes(WIDTH, "little"), ""),
        (int(ou_key().public.g).to_bytes(WIDTH, "little"), "do not make the node's"),
    ],
)
def test_foreign_ciphertexts_and_sums_that_are_none(last: bytes, words: str) -> None:
    refused(HOST, SUMS, lambda raw: histogram_of(raw, last), words, SmallOkamotoUchiyama())


def own(**fields: Any) -> Callable[[bytes], bytes]:
    def change(splits: tuple[OwnSplit, ...]) -> tuple[OwnSplit, ...]:
        given = {name: getattr(splits[0], name) for name in OwnSplit.__struct_fields__}
        return (OwnSplit(**{**given, **fields}), *splits[1:])

    return written(Chosen, own=change)


def codes(*set_: int) -> bytes:
    table = np.zeros(256, bool)
    table[list(set_)] = True
    return np.packbits(table).tobytes()


@pytest.mark.parametrize(
    ("stage", "change", "words"),
    [
        (START, written(Start, width=0), "a ciphertext has 0 bytes"),
        (START, written(Start, width=10**6), "a ciphertext has"),
        (START, written(Start, groups=0), "goes on from tree 0 with 0"),
        (START, written(Start, groups=2), "goes on from tree 0 with 2"),
        (START, written(Start, trees=1), "goes on from tree 1"),
        (START, written(Start, training=lambda raw: raw[:-1]), "do not hold"),
        (START, written(Start, training=flipped(-1, 1)), "padding"),
        (TURN, written(Turn, sample=lambda raw: memoryview(bytes(raw) + b"\0")), "do not hold"),
        (TURN, written(Turn, more=False, kept=1), "keeps 1 of 0 trees"),
        (LEVEL, written(Level, add=(1,)), "not there, or twice"),
        (LEVEL, written(Level, add=(0, 0)), "not there, or twice"),
        (LEVEL, written(Level, sides=(memoryview(b"x"),)), "1 bit masks of 0 nodes"),
        (CHOSEN, own(node=1), "not there, or twice"),
        (CHOSEN, written(Chosen, own=lambda splits: splits * 2), "not there, or twice"),
        (CHOSEN, written(Chosen, others=(0,)), "not there, or twice"),
        (CHOSEN, written(Chosen, others=(7,)), "not there, or twice"),
        (CHOSEN, own(column=3), "a split of column 3"),
        (CHOSEN, own(column=0, left=codes(0, 9)), "does not divide"),
        (CHOSEN, own(column=0, left=codes(0, 2)), "do not follow"),
        (CHOSEN, own(column=0, left=codes()), "does not divide"),
        (CHOSEN, own(column=0, left=codes(*range(9))), "does not divide"),
        (LEVEL_2, written(Level, add=(2,)), "not there, or twice"),
        (START, written(Start, training=flipped(0, 128)), "holds out 1 of 61 rows, and 0 were agreed"),
        (TURN, written(Turn, sample=flipped(0, 128)), "has 60 of 61 rows, and no sampling was agreed"),
        (LEVEL_2, written(Level, add=(0, 1)), "both of two siblings"),
        (CHOSEN, own(column=1, left=codes(0)), "fewer than 20 rows of a category"),
        (CHOSEN_2, written(Chosen, own=(), others=(0,)), "others' splits in the last level"),
    ],
)
def test_what_the_label_party_may_not_ask(stage: int, change: Any, words: str) -> None:
    refused(LABEL, stage, change, words)


@pytest.mark.parametrize(
    ("stage", "change", "words"),
    [
        (START, written(Start, key=memoryview(b"\x02\x00" + bytes(64))), ""),
        (ROWS, lambda raw: bytes(WIDTH) + raw[WIDTH:], "not between 0 and n"),
        (ROWS, lambda raw: int(ou_key().p).to_bytes(WIDTH, "little") + raw[WIDTH:], "not a unit"),
    ],
)
def test_keys_and_rows_that_are_none(stage: int, change: Any, words: str) -> None:
    refused(LABEL, stage, change, words, SmallOkamotoUchiyama())


def test_a_split_that_isolates_a_few_rows_is_refused() -> None:
    """Sums over one row would be that row's label, to who adds up; a host does not take part."""
    rare = table(MEMBERS, 61, 5, Logistic())
    column = rare.columns[HOST].codes[0]
    column[:] = np.where(column == 0, 1, column)
    column[:2] = 0
    circle = tampered(LABEL, CHOSEN, own(column=0, left=codes(0)), data=rare)
    problem = circle.errors[HOST]
    assert isinstance(problem, MalformedMessage)
    assert "fewer than 3 rows" in str(problem)


def test_the_end_cannot_be_put_off() -> None:
    agreed = Terms(trees=1, depth=1)

    class Greedy(Circle):
        def role(self, name: str) -> Any:
            if name == LABEL:
                self.agreed = Terms(trees=2, depth=1)
            role = super().role(name)
            self.agreed = agreed
            return role

    problem = Greedy(DATA, agreed, run_name=RUN).run().errors[HOST]
    assert "asks for more than 1 trees" in str(problem)


@pytest.mark.parametrize("change", [lambda raw: raw[:-1], lambda raw: raw[:-1] + b"\xff"])
def test_scores_of_the_wrong_length_or_padding(change: Any) -> None:
    circle = Circle(DATA, Terms(trees=1, depth=3), run_name=RUN).run()
    part = circle.part(HOST)
    assert sum(map(len, part.splits)) % 8
    again = Circle(
        DATA,
        hand=lambda s, r, piece: Piece(piece.stage, piece.total, 0, memoryview(change(bytes(piece.entries)))),
    )
    again.move(
        {
            LABEL: scoring.label(again.line(LABEL), circle.model, DATA.columns[LABEL]),
            HOST: scoring.host(again.line(HOST), part.splits, DATA.columns[HOST]),
        }
    )
    problem = again.errors[LABEL]
    assert isinstance(problem, MalformedMessage)
    assert problem.culprits == (HOST,)


def test_a_host_is_sent_no_gradient_label_leaf_or_foreign_split() -> None:
    """Whatever is not a ciphertext is one of four letters, and their fields are those of docs/leakage.md."""
    three = table({**MEMBERS, "office": [(6, False)]}, 61, 5, Logistic())
    circle = Circle(three, AGREED, SmallOkamotoUchiyama(), run_name=RUN).run()
    model = circle.model
    y, margins = three.y, np.tile(model.base, (three.rows, 1))
    g, h = Logistic().derivatives(y, margins)
    fixed = fix(g[:, 0], h[:, 0])
    secret = [float(value).hex() for tree in model.trees for value in tree.values if value]
    needles = [np.float64(float.fromhex(one)).tobytes() for one in secret]
    needles += [np.float32(float.fromhex(one)).tobytes() for one in secret]
    needles += [np.int64(word).tobytes() for word in fixed.words.reshape(-1)]
    needles += [np.float64(one).tobytes() for one in np.concatenate([g, h]).reshape(-1)]
    needles += [np.packbits(y.astype(bool)).tobytes(), y.astype(np.uint8).tobytes()]
    seen = set()
    for sender, recipient, piece in circle.said:
        if recipient == LABEL:
            continue
        assert sender == LABEL, "hosts have nothing to say to each other"
        raw = bytes(piece.entries)
        if piece.total == three.rows and len(raw) == three.rows * WIDTH:
            rows = {raw[at : at + WIDTH] for at in range(0, len(raw), WIDTH)}
            assert len(rows) == three.rows, "equal gradients must not look alike"
            continue
        assert not any(needle in raw for needle in needles)
        seen.add(next(kind for kind in (Start, Turn, Level, Chosen) if _reads(raw, kind)))
        if _reads(raw, Chosen):
            for one in letter(piece, Chosen).own:
                assert one.column < len(three.columns[recipient].shape)
    assert seen == {Start, Turn, Level, Chosen}


def test_the_label_party_is_sent_shapes_sums_and_sides() -> None:
    """A host never has a threshold or category in its role: what it holds are codes, and none of them travels."""
    circle = Circle(DATA, AGREED, SmallOkamotoUchiyama(), run_name=RUN).run()
    columns = circle.table.columns[HOST]
    shape = columns.shape
    each = 4 * shape.width
    for sender, recipient, piece in circle.said:
        if recipient != LABEL:
            continue
        raw = bytes(piece.entries)
        assert sender == HOST
        assert not any(codes_.tobytes() in raw for codes_ in columns.codes)
        assert _reads(raw, Hello) or _reads(raw, Sides) or len(raw) >= each + WIDTH


def test_ciphertexts_that_come_back_are_none_that_were_sent() -> None:
    circle = Circle(DATA, AGREED, SmallOkamotoUchiyama(), run_name=RUN).run()
    sent = {
        bytes(piece.entries)[at : at + WIDTH]
        for sender, _, piece in circle.said
        if sender == LABEL and piece.total == DATA.rows
        for at in range(0, len(piece.entries), WIDTH)
    }
    back = b"".join(bytes(piece.entries) for sender, _, piece in circle.said if sender == HOST)
    assert len(sent) == 2 * DATA.rows
    assert not any(one in back for one in sent)


def _reads(raw: bytes, kind: type[Message]) -> bool:
    try:
        codec.decode(kind, raw, sender="", round=1)
    except MalformedMessage:
        return False
    return True
