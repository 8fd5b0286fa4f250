"""Attacks on vertical models: what a party gets beyond docs/leakage.md, docs/limitations.md and the modules' own words.

Each test states the claim that it holds the code to.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import silo
from silo import vertical
from silo.crypto.errors import SiloError
from silo.crypto.lattice import constant, ntt, products, residues, sampling
from silo.crypto.lattice.budget import Budget
from silo.crypto.lattice.ntt import Factor, P, columns
from silo.crypto.lattice.parameters import DEGREE, MODULUS, PRIMES
from silo.crypto.products import TAG_BYTES
from silo.crypto.rng import InsecureSeededRng
from silo.protocols.errors import MalformedMessage
from silo.protocols.transit import Piece
from silo.protocols.vertical.boosting import far, growing
from silo.protocols.vertical.boosting import sampling as rows_of
from silo.protocols.vertical.boosting.columns import Columns, Shape
from silo.protocols.vertical.boosting.gradients import Logistic
from silo.protocols.vertical.boosting.label import Run
from silo.protocols.vertical.boosting.messages import Start
from silo.protocols.vertical.boosting.parameters import Terms
from silo.protocols.vertical.context import Context, Parameters
from silo.protocols.vertical.linear import host as linear_host
from silo.protocols.vertical.linear import scoring
from silo.protocols.vertical.linear import terms as terms_of
from silo.protocols.vertical.linear.terms import LATTICE, PAILLIER, product_terms
from silo.protocols.vertical.linear.terms import Terms as LinearTerms
from silo.transport.memory import Hub
from silo.vertical import foreseen
from tests.protocols.vertical import boosting_circle
from tests.protocols.vertical.boosting_circle import Circle
from tests.protocols.vertical.joint import BANK, Floats, allow_small_keys, data, fit
from tests.protocols.vertical.test_boosting_attacks import written
from tests.protocols.vertical.test_linear_liars import told

HOST = "cards"
LIMITATIONS = Path(__file__).parents[2] / "docs" / "limitations.md"
KEY, PASS, REQUEST, REPLY, OPENED, SCORES = range(6)
"""The stages of a linear fit's first pass."""


def replaced(piece: Piece, raw: bytes) -> Piece:
    """The part of other bytes that stands where this piece stood."""
    at = piece.at
    return Piece(piece.stage, piece.total, at, memoryview(raw[at : at + len(piece.entries)]))


def labels_read(residuals: Any) -> Any:
    """A residual y - p has the sign that y says."""
    return (np.asarray(residuals) > 0).astype(float)


class Overheard:
    """What each member of a linear fit keeps after its first pass."""

    def __init__(self) -> None:
        self.scores: Floats = np.zeros(0)
        self.length = 0.0
        self.norms: Floats = np.zeros(0)
        self.directions: dict[str, Floats] = {}

    def __call__(self, name: str, state: Any) -> None:
        if name != BANK:
            self.directions.setdefault(name, state.directions[0].copy())
        elif not self.scores.size:
            self.scores, self.norms = state.scores[0].copy(), state.norms[0].copy()
            self.length = float(np.sqrt(state.grams[0][0]))


# A host that lies in a linear fit.


def test_under_paillier_a_lying_host_opens_one_number_a_column_and_not_the_labels_of_many_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """limitations.md: "in all at most as many numbers as its columns times the passes", so few residuals of many rows.

    A plaintext is as long as n: residuals of 15 bits stand side by side in it, 34 under this small key and 204 under
    3072 bits. vertical.md recommends this scheme where a member may lie.
    """
    allow_small_keys(monkeypatch)
    held = data("logistic", (2, 2), rows=60)
    slot, half = 15, 30
    heard: dict[int, bytes] = {}

    def hand(sender: str, recipient: str, piece: Piece) -> Piece | None:
        raw = bytes(piece.entries)
        heard.setdefault(piece.stage, raw)
        if piece.stage != REPLY:
            return None
        public, request = heard[KEY], heard[REQUEST]
        width = 2 * (int.from_bytes(public[:2], "big") // 8)
        square = int.from_bytes(public[2 : 2 + width // 2], "big") ** 2
        body = request[len(public) + TAG_BYTES :]
        rows = [int.from_bytes(body[at : at + width], "little") for at in range(0, len(body), width)]
        forged = raw[:TAG_BYTES]
        for begin in (0, half):
            packed = 1
            for place, row in enumerate(rows[begin : begin + half]):
                packed = packed * pow(row, 1 << slot * place, square) % square
            forged += packed.to_bytes(width, "little")
        return replaced(piece, forged)

    fit(held, "logistic", scheme=PAILLIER, passes=1, hand=hand)
    n = int.from_bytes(heard[KEY][2 : 2 + 64], "big")
    raw, found = heard.get(OPENED, b""), []
    for at in range(0, len(raw), 64):
        number = int.from_bytes(raw[at : at + 64], "little")
        rest = number - n if number > n // 2 else number
        for _ in range(half):
            digit = (rest + (1 << slot - 1)) % (1 << slot) - (1 << slot - 1)
            found.append(digit)
            rest = (rest - digit) >> slot
    agreed = int((labels_read(found) == held.y).sum()) if found else 0
    assert agreed < len(held.y), "two columns opened the labels of all sixty rows in one pass"


def test_under_the_lattice_a_lying_host_does_not_open_a_pass_and_with_it_every_label() -> None:
    """The key is a fresh one in each pass, "as forged replies would tell of it"; a host opens one number a column.

    With some 190 columns the forged replies of a single pass tell the whole of its key: all residuals of the pass
    are read with it, of however many rows.
    """
    each, rows = 21, 1000
    width = -(-DEGREE // each)
    held = data("logistic", (2, width), rows=rows)
    plan = product_terms(rows)
    bits = Budget.of(plan).plain_bits
    assert 3**each < 1 << bits
    heard: dict[int, bytes] = {}
    kept: dict[str, bytes] = {}

    def hand(sender: str, recipient: str, piece: Piece) -> Piece | None:
        raw = bytes(piece.entries)
        if piece.stage != REPLY:
            heard[piece.stage] = heard.get(piece.stage, b"") + raw
            return None
        if "reply" not in kept:
            kept["reply"] = raw[:TAG_BYTES] + _weighing(width, each, bits)
        return replaced(piece, kept["reply"])

    fit(held, "logistic", passes=1, hand=hand)
    if OPENED not in heard:
        return
    # The modulus itself has a bit more than the numbers below it.
    number, secret = (bits + 8) // 8, np.zeros(DEGREE, np.int64)
    raw = heard[OPENED]
    for place in range(len(raw) // number):
        one = int.from_bytes(raw[place * number : (place + 1) * number], "little")
        one -= (1 << bits) * (one >> bits - 1)
        for at in range(place * each, min((place + 1) * each, DEGREE)):
            digit = (one + 1) % 3 - 1
            secret[at], one = digit, (one - digit) // 3
    request = heard[REQUEST][len(heard[KEY]) + TAG_BYTES :]
    read = _decrypted(request, secret, rows, bits)
    agreed = int((labels_read(read) == held.y).sum())
    assert agreed < rows, f"{width} columns opened the labels of all {rows} rows in one pass"


def _weighing(width: int, each: int, bits: int) -> bytes:
    """Replies whose decryptions are so many coefficients of the secret each, as digits of base 3."""
    out = np.empty((width, residues.POLYNOMIAL_BYTES), np.uint8)
    for place in range(width):
        polynomial = np.zeros((1, len(PRIMES), DEGREE), np.uint64)
        for power in range(each):
            at = place * each + power
            if at < DEGREE:
                weight = constant.scaled(3**power, bits)
                signed = weight if at == 0 else -weight
                polynomial[0, :, -at % DEGREE] = [signed % prime for prime in PRIMES]
        residues.pack(ntt.forward(polynomial), out[place : place + 1])
    return out.tobytes() + bytes(width * residues.COEFFICIENT_BYTES)


def _decrypted(request: bytes, secret: Any, rows: int, bits: int) -> list[int]:
    """The values of a pass of at most 4096 rows, by its key."""
    primes = columns(P, 1)
    factor = Factor(ntt.forward(sampling.residues(secret[None])), primes)
    hidden = ntt.inverse(ntt.below(ntt.times(products._expand(request[:32], 1), factor, primes), primes))
    padded = np.zeros(residues.POLYNOMIAL_BYTES, np.uint8)
    padded[: len(request) - 32] = np.frombuffer(request[32:], np.uint8)
    phase = (residues.unpack(padded.data, 1) + hidden)[0, :, :rows] % primes
    found = [constant.decoded(one, bits) for one in constant.lifted(phase.T)]
    return [one - (1 << bits) * (one >> bits - 1) for one in found]


# Members of a linear fit that do as prescribed.


def test_a_host_with_rare_categories_does_not_hear_their_rows_residuals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """leakage.md: a host learns no residual and no label; vertical.md: columns of 0 and 1, one for each category.

    The gradient of a category with one row is the residual of that row, and its sign is the label.
    """
    held = data("logistic", (2, 12), rows=120)
    held.tables[HOST][:, :10] = np.eye(120)[:, :10]
    gradients: list[Floats] = []
    honest = linear_host._Columns.gradient

    def listening(self: Any, *given: Any) -> Floats:
        gradients.append(honest(self, *given))
        return gradients[-1]

    monkeypatch.setattr(linear_host._Columns, "gradient", listening)
    done = fit(held, "logistic", passes=1)
    read = labels_read(gradients[0][:10]) if gradients else np.zeros(0)
    assert not done.found or not np.array_equal(read, held.y[:10]), "the host has the labels of ten rows"


@pytest.mark.parametrize("constant_column", [True, False])
def test_two_columns_are_two_only_if_neither_follows_from_the_other(constant_column: bool) -> None:
    """`cap`: fewer passes than there are hidden columns, "so that their span is never shown whole".

    It counts columns that stand still, and both columns of a yes or no: one pass shows the only real one.
    """
    held = data("logistic", (2, 2), rows=120)
    if constant_column:
        held.tables[HOST][:, 1] = 3.0
    else:
        held.tables[HOST][:, 0] = held.tables[HOST][:, 0] > 0
        held.tables[HOST][:, 1] = 1 - held.tables[HOST][:, 0]
    seen = Overheard()
    fit(held, "logistic", passes=1, keep=seen)
    column = held.tables[HOST][:, 0]
    shown = bool(seen.scores.size) and abs(np.corrcoef(seen.scores, column)[0, 1]) > 1 - 1e-6
    assert not shown, "the label party has the column, up to its unit"


def test_a_table_of_yes_and_no_is_not_read_from_one_pass() -> None:
    """leakage.md: the label party learns no column of many values. A table of two-valued ones is refused.

    One number a row of 36 binary digits holds several columns of 0 and 1 side by side: their weights are found from
    the smallest sums on, and each row is taken apart by them.
    """
    width = 5
    held = data("logistic", (2, width), rows=400)
    held.tables[HOST][:] = held.tables[HOST] > 0
    seen = Overheard()
    fit(held, "logistic", passes=1, keep=seen)
    if not seen.scores.size:
        return
    values = np.unique(np.round(seen.scores - seen.scores.min(), 7))
    sums, weights = np.zeros(1), []
    for value in values[1:]:
        if np.abs(sums - value).min() > 1e-6:
            weights.append(value)
            sums = np.concatenate([sums, sums + value])
    if len(weights) != width:
        return
    bits = np.array([[mask >> place & 1 for place in range(width)] for mask in range(1 << width)])
    rows = bits[np.abs((seen.scores - seen.scores.min())[:, None] - bits @ np.array(weights)).argmin(axis=1)]
    read = [
        any(np.array_equal(one, guess) or np.array_equal(one, 1 - guess) for guess in rows.T)
        for one in held.tables[HOST].T
    ]
    assert not any(read), f"{sum(read)} of {width} columns were read"


def test_with_l1_a_single_column_is_not_shown_whole() -> None:
    """leakage.md, two members: a direction of length 1, and no column or coefficient.

    With l1 the first step is along one column, its length is told, and that it is one column shows: |w|_1 is |w|_2.
    """
    held = data("logistic", (2, 5), rows=200)
    seen = Overheard()
    fit(held, "logistic", l2=0.0, l1=20.0, passes=1, keep=seen)
    moved = np.flatnonzero(seen.directions.get(HOST, np.zeros(5)))
    if len(moved) != 1 or not seen.scores.size:
        return
    place = int(moved[0])
    assert seen.norms[1] == pytest.approx(seen.length), "that it is one column does not show"
    shown = seen.scores / seen.length
    column = held.tables[HOST][:, place]
    near = min(np.abs(shown - column).max(), np.abs(shown + column).max())
    assert near > 1e-3, f"the label party has column {place}, and its coefficient {seen.length:.3f}"


# A label party that lies in a linear fit.


def test_a_label_party_that_lies_takes_the_numbers_of_two_hosts_apart_as_the_documents_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A known limit, which limitations.md states: whoever is sent residuals of nothing adds nothing to the sum.

    When this fails, the limit is gone: mend the document.
    """
    owners: list[Any] = []
    made = terms_of.owners

    def keeping(*given: Any, **how: Any) -> Any:
        owners.append(made(*given, **how))
        return owners[-1]

    monkeypatch.setattr("silo.protocols.vertical.linear.label.owners", keeping)
    held = data("logistic", (2, 4, 3), rows=60)

    def hand(sender: str, recipient: str, piece: Piece) -> Piece | None:
        if (recipient, piece.stage) != ("lender", REQUEST):
            return None
        owner = owners[0]["lender"]
        nothing = owner.encrypt(np.zeros(60, np.int64), rng=InsecureSeededRng(9))
        return replaced(piece, owner.public + bytes(nothing))

    seen = Overheard()
    fit(held, "logistic", passes=1, hand=hand, keep=seen)
    alone = held.tables[HOST] @ seen.directions.get(HOST, np.zeros(4))
    assert np.abs(seen.scores - alone).max() < 1e-6
    assert "send some of them nothing" in LIMITATIONS.read_text(encoding="utf-8")


@pytest.mark.parametrize("curvature", [5e-324, 1e-320, 1e-300])
def test_no_curvature_that_passes_breaks_a_host(curvature: float) -> None:
    """DESIGN.md: what is wrong is refused with a `SiloError` that says whose fault it is; nothing else is raised."""

    def hand(sender: str, recipient: str, piece: Piece) -> Piece | None:
        return told(curvature=curvature)(piece) if piece.stage == PASS else None

    held = data("logistic", (2, 5), rows=60)
    with np.errstate(all="ignore"):
        done = fit(held, "logistic", l2=0.0, passes=1, hand=hand)
    assert HOST in done.found or isinstance(done.errors[HOST], SiloError)


# Boosting.

DRAWN = "silo.protocols.vertical.boosting.label.sampling.drawn"
RUN = Run.new(rng=InsecureSeededRng(3))
LABEL, TELECOM = boosting_circle.LABEL, "telecom"


def _one_text_column(rows: int, y: Any) -> boosting_circle.Table:
    """The label party has noise, and the host a text that is another one in each row."""
    draw = np.random.default_rng(2)
    own = Columns(draw.integers(0, 3, (1, rows)).astype(np.uint8), Shape((3,), (False,)))
    names = Columns(np.arange(rows, dtype=np.uint8)[None], Shape((rows,), (True,)))
    return boosting_circle.Table({LABEL: own, TELECOM: names}, y)


@pytest.mark.parametrize("alone", [0, 1])
def test_a_host_does_not_read_labels_off_the_categories_that_a_split_sends_left(alone: int) -> None:
    """leakage.md and label.py: a host learns no gradient and no label; `first_tree_alone` keeps most labels from it.

    Categories are ordered by their gradients, and the host is told which go left: of a category with one row its label.
    """
    rows = 200
    y = np.random.default_rng(1).integers(0, 2, rows).astype(float)
    circle = Circle(
        _one_text_column(rows, y), Terms(trees=1 + alone, depth=1, alone=alone), run_name=RUN
    ).run()
    told_left = [split.table[:rows] for tree in circle.part(TELECOM).splits for split in tree]
    read = any(np.array_equal(left, y == 1) for left in told_left)
    assert not read, "the host has the labels of all rows"


def test_a_host_adds_up_no_sample_below_the_agreed_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """vertical.md: the label party chooses "down to `min_samples_leaf` rows"; host.py refuses parts below that.

    Nobody looks at the sample: of one row the numbers of rows, which travel in clear, are its bins in all columns.
    """
    table = boosting_circle.table({LABEL: [(3, False)], TELECOM: [(8, False), (5, True)]}, 61, 5, Logistic())
    monkeypatch.setattr(DRAWN, lambda rows, *_: rows_of.Sample(rows[7:8], np.ones(1)))
    monkeypatch.setattr(growing.Grower, "_may_divide", lambda *_: True)
    counts: list[Any] = []
    opened = far.Far._opened

    def keeping(self: Any, host: str, shape: Shape, raw: memoryview, nodes: Any) -> Any:
        counts.append(np.frombuffer(raw[: 4 * shape.width], "<u4"))
        return opened(self, host, shape, raw, nodes)

    monkeypatch.setattr(far.Far, "_opened", keeping)
    circle = Circle(table, Terms(trees=1, depth=1, min_samples_leaf=3), run_name=RUN).run()
    columns = table.columns[TELECOM]
    if counts:
        read = [
            int(np.flatnonzero(part)[0]) for part in np.split(counts[0], np.cumsum(columns.shape.widths)[:-1])
        ]
        assert read != columns.codes[:, 7].tolist(), "the label party has every bin of one row"
    assert isinstance(circle.errors.get(TELECOM), MalformedMessage)


def test_all_rows_are_in_every_sample_where_no_sampling_was_agreed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `subsample`, `goss` and early stopping all rows are trained on: another sample is not what was agreed."""
    table = boosting_circle.table({LABEL: [(3, False)], TELECOM: [(8, False), (5, True)]}, 61, 5, Logistic())
    monkeypatch.setattr(DRAWN, lambda rows, *_: rows_of.Sample(rows[:9], np.ones(9)))
    circle = Circle(table, Terms(trees=1, depth=1), run_name=RUN).run()
    assert isinstance(circle.errors.get(TELECOM), MalformedMessage)


def test_a_host_grows_no_more_trees_than_were_agreed_whatever_the_label_party_says_of_classes() -> None:
    """host.py: it refuses "more trees than agreed". How many an iteration has is said by the label party alone."""
    agreed, more = Terms(trees=1, depth=1), Terms(trees=9, depth=1)

    class Greedy(Circle):
        def role(self, name: str) -> Any:
            self.agreed = more if name == LABEL else agreed
            return super().role(name)

    def hand(sender: str, recipient: str, piece: Piece) -> Piece | None:
        if (sender, piece.stage) != (LABEL, 2):
            return None
        raw = written(Start, groups=9)(bytes(piece.entries))
        return Piece(piece.stage, len(raw), 0, memoryview(raw))

    table = boosting_circle.table({LABEL: [(3, False)], TELECOM: [(8, False), (5, True)]}, 61, 5, Logistic())
    circle = Greedy(table, agreed, hand=hand, run_name=RUN).run()
    assert isinstance(circle.errors.get(TELECOM), MalformedMessage), (
        "nine trees were grown, and one was agreed"
    )


def test_what_a_host_says_of_its_columns_does_not_set_how_much_is_taken_in() -> None:
    """DESIGN.md, section 2: sizes are bounded by the parameters before anything is allocated.

    The roll call takes up to nine digits, boosting has no check of its own, and the first letter may have twice as
    many bytes.
    """
    table = boosting_circle.table({LABEL: [(3, False)], TELECOM: [(8, False)]}, 61, 5, Logistic())
    circle = Circle(table, run_name=RUN)
    said = {LABEL: 1, TELECOM: 999_999_999}
    try:
        parameters = Parameters("boosting", LABEL, 61, said, bytes(32))
        context = Context(bytes(32), 1, circle.context.roster, parameters, circle.context.channels)
        circle.context = context
        step = next(circle.role(LABEL))
    except SiloError:
        return
    assert step.wait.limit < 1 << 20, f"a letter of {step.wait.limit:,} bytes is waited for"


# The relay, the road, and the caps.


def test_a_fast_host_is_not_lost_because_another_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """step.py: what comes before it is waited for is kept. Beyond 64 pieces it is dropped, and its sender named.

    A host sends all its pieces without waiting, 8192 rows each: from some 530,000 rows on, all depends on who is first.
    The same happens in each pass of a fit, which then counts as one.
    """
    rows, sent = 600_000, []
    complete = threading.Event()

    def tamper(sender: str, recipient: str, payload: bytes) -> None:
        if (sender, recipient) == ("cards", "bank"):
            sent.append(len(payload))
            if len([size for size in sent if size > 8 * 8000]) * 8192 >= rows - 8192:
                complete.set()

    honest = scoring.host

    def slow(context: Any, me: str, *given: Any, **how: Any) -> Any:
        if me == "telecom":
            complete.wait(20)
        return (yield from honest(context, me, *given, **how))

    monkeypatch.setattr(scoring, "host", slow)
    draw = np.random.default_rng(0)
    x = draw.normal(size=(200, 6))
    y = (x.sum(axis=1) > 0).astype(int)
    many = np.zeros((rows, 2))

    def work(session: Any, given: Any) -> Any:
        model = vertical.LogisticRegression(session, tol=1e-2, max_iter=2).fit(*given)
        try:
            found = model.decision_function(many)
        except SiloError as problem:
            return problem
        return None if found is None else len(found)

    held = {"bank": (x[:, :2], y), "cards": (x[:, 2:4], None), "telecom": (x[:, 4:], None)}
    found = silo.simulate(list(held), work, held, rows=10**6, hub=Hub(tamper=tamper))
    assert found["bank"] == rows, found["bank"]


@pytest.mark.parametrize("rows", [10**5, 10**6, 1 << 22])
def test_no_fit_sends_more_than_the_task_was_asked_for(rows: int) -> None:
    """`_leaving`: "the most bytes that a member sends in a fit", which the task's cap is held against.

    Beyond half a million rows the lattice has a ciphertext of a column for each 8192 rows, and not for 32,768.
    """
    plan, passes, width = product_terms(rows), 10, 500
    replies = passes * products.reply_bytes(plan, Budget.of(plan), width)
    terms = LinearTerms("logistic", 1.0, 0.0, LATTICE, passes, 0.0)
    assert foreseen.fit(terms, rows, width, 1) >= replies


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_relay_that_copies_a_frame_does_not_have_a_member_named() -> None:
    """driver.py: "an old or copied frame changes nothing". Errors name whose fault it is, and the relay's this is."""
    copied: list[bytes] = []

    def tamper(sender: str, recipient: str, payload: bytes) -> list[bytes] | None:
        if (sender, recipient) == ("bank", "telecom") and len(copied) < 1:
            copied.append(payload)
            return [payload, payload]
        return None

    draw = np.random.default_rng(5)
    x = draw.normal(size=(80, 6))
    y = (x.sum(axis=1) > 0).astype(int)

    def work(session: Any, given: Any) -> Any:
        try:
            return vertical.LogisticRegression(session, tol=1e-2, max_iter=2).fit(*given).n_iter_
        except SiloError as problem:
            return problem

    found = silo.simulate(
        ["bank", "telecom"],
        work,
        {"bank": (x[:, :2], y), "telecom": (x[:, 2:], None)},
        hub=Hub(tamper=tamper),
        two_party=silo.TWO_PARTY_WORDS,
    )
    assert copied
    assert "bank" not in getattr(found["telecom"], "culprits", ())


# What holds.


def test_a_message_opens_in_its_own_direction_and_round_only() -> None:
    rng = InsecureSeededRng(4)
    done = fit(data("logistic", (2, 3), rows=40), "logistic", passes=1)
    sealed = done.context.pair(BANK, HOST, done.channels[BANK]).seal(b"words", rng=rng)
    assert done.context.pair(HOST, BANK, done.channels[HOST]).unseal(sealed) == b"words"
    with pytest.raises(MalformedMessage):
        done.context.pair(BANK, HOST, done.channels[BANK]).unseal(sealed)
    parameters, channels = done.context.parameters, done.context.channels
    later = Context(done.context.session, 2, done.context.roster, parameters, channels)
    with pytest.raises(MalformedMessage):
        later.pair(HOST, BANK, done.channels[HOST]).unseal(sealed)


def test_an_owner_that_encrypts_what_is_no_value_sees_no_column_in_the_noise() -> None:
    """The flood and the mask together are all but uniform modulo Q: coefficients of any size stay below them."""
    rng, rows = InsecureSeededRng(6), 64
    plan = product_terms(rows)
    owner = products.LatticeOwner.generate(plan, rng=rng)
    budget = Budget.of(plan)
    step = MODULUS >> budget.plain_bits
    assert 2 * budget.worst / step < 2.0**-30
    honest = bytes(owner.encrypt(np.zeros(rows, np.int64), rng=rng))
    forged = honest[: -rows * residues.COEFFICIENT_BYTES] + b"".join(
        (step // 2 - 1).to_bytes(residues.COEFFICIENT_BYTES, "little") for _ in range(rows)
    )
    seen = []
    for value in (0, 1):
        table = np.full((rows, 16), value, np.int64)
        multiplier = products.LatticeMultiplier(owner.public, table, plan)
        places: list[float] = []
        for _ in range(8):
            body = bytes(multiplier.products(forged, rng=rng).payload)[-16 * residues.COEFFICIENT_BYTES :]
            words = [
                body[at : at + residues.COEFFICIENT_BYTES]
                for at in range(0, len(body), residues.COEFFICIENT_BYTES)
            ]
            places += [int.from_bytes(one, "little") % step / step for one in words]
        seen.append(np.histogram(places, 4, (0, 1))[0])
    assert min(map(min, seen)) > 10


@pytest.mark.parametrize("trees", [0, 1])
def test_a_label_party_that_goes_back_gets_no_more_trees_in_a_fit_than_were_agreed(trees: int) -> None:
    table = boosting_circle.table({LABEL: [(3, False)], TELECOM: [(8, False), (5, True)]}, 61, 5, Logistic())
    agreed = Terms(trees=2, depth=1)
    first = Circle(table, agreed, run_name=RUN).run()
    before = {name: first.kept[name][:1] for name in (LABEL, TELECOM)}

    def hand(sender: str, recipient: str, piece: Piece) -> Piece | None:
        if (sender, piece.stage) != (LABEL, 2):
            return None
        raw = written(Start, trees=trees)(bytes(piece.entries))
        return Piece(piece.stage, len(raw), 0, memoryview(raw))

    again = Circle(table, agreed, before=before, hand=hand, run_name=RUN).run()
    grown = [p for s, _, p in again.said if s == LABEL and p.total == 61 and len(p.entries) == 16 * 61]
    assert len(grown) + trees <= 2
