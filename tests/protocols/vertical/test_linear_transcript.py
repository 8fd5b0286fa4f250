"""What travels in a linear model, in clear at its receiver: nothing but what docs/leakage.md grants.

Each test reads every piece of a fit beside all that is secret in it, taken from within the parties.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from silo.crypto.keys import AgreementKey
from silo.crypto.lattice.products import PUBLIC_BYTES as KEY_BYTES
from silo.crypto.lattice.products import LatticeOwner
from silo.crypto.rng import InsecureSeededRng
from silo.protocols import codec
from silo.protocols.vertical.context import Context
from silo.protocols.vertical.linear import host, label, scoring, words
from silo.protocols.vertical.linear.messages import Pass
from silo.protocols.vertical.linear.terms import product_terms
from tests.protocols.vertical.joint import BANK, Data, Floats, coefficients, data, fit, model
from tests.protocols.vertical.table import Table

ROWS = 240
PASSES = 6
TWO, THREE, FOUR = (3, 8), (3, 5, 4), (2, 4, 3, 3)
ALL = pytest.mark.parametrize("widths", [TWO, THREE], ids=["one host", "two hosts"])
KINDS = ("pass", "request", "reply", "opened", "scores")


@dataclass
class Within:
    """What nobody but one party may know, as it arose during a fit."""

    residuals: list[Floats] = field(default_factory=list)
    steps: list[npt.NDArray[np.int64]] = field(default_factory=list)
    products: dict[str, list[npt.NDArray[np.int64]]] = field(default_factory=dict)
    gradients: dict[str, list[Floats]] = field(default_factory=dict)
    directions: dict[str, list[Floats]] = field(default_factory=dict)


Looked = Callable[..., tuple[Table, Within]]


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Looked:
    """Run a fit, and look into its parties."""

    def run(held: Data, family: str = "logistic", **options: Any) -> tuple[Table, Within]:
        found = Within()
        rounded, gradient = label._rounded, host._Columns.gradient

        def rounding(residual: Floats, *how: Any) -> Any:
            found.residuals.append(residual)
            found.steps.append(rounded(residual, *how))
            return found.steps[-1]

        def multiplied(columns: Any, products: Any, point: int) -> Floats:
            (name,) = (name for name, x in held.tables.items() if x is columns.x)
            found.products.setdefault(name, []).append(products)
            found.gradients.setdefault(name, []).append(gradient(columns, products, point))
            return found.gradients[name][-1]

        def keep(name: str, state: Any) -> None:
            if name != BANK:
                found.directions[name] = list(state.directions)

        with monkeypatch.context() as patch:
            patch.setattr(label, "_rounded", rounding)
            patch.setattr(host._Columns, "gradient", multiplied)
            done = fit(held, family, keep=keep, **({"passes": PASSES, "tol": 0.0} | options))
        assert model(done).passes == len(found.residuals) == PASSES
        return done, found

    return run


def kind(stage: int) -> str:
    return KINDS[(stage - 1) % len(KINDS)] if stage else "key"


def heard(done: Table, who: str, *kinds: str, by: str = "") -> list[bytes]:
    """What came to a party, in order, a piece each."""
    return [
        bytes(piece.entries)
        for sender, recipient, piece in done.said
        if recipient == who and (not kinds or kind(piece.stage) in kinds) and by in ("", sender)
    ]


def passes(done: Table, who: str) -> list[Pass]:
    return [codec.decode(Pass, raw, sender=BANK, round=1) for raw in heard(done, who, "pass")]


def anywhere(raws: Iterable[bytes]) -> npt.NDArray[np.uint64]:
    """Eight bytes from every place of these messages, as numbers in order."""
    found = [np.zeros(0, np.uint64)]
    for raw in raws:
        for at in range(min(8, len(raw))):
            found.append(np.frombuffer(raw[at : at + (len(raw) - at) // 8 * 8], "<u8"))
    return np.sort(np.concatenate(found))


def among(numbers: npt.NDArray[np.uint64], known: npt.NDArray[np.uint64]) -> bool:
    """Whether any of the numbers is among the known ones, which are in order."""
    places = np.minimum(np.searchsorted(known, numbers), max(len(known) - 1, 0))
    return bool(len(known)) and bool((known[places] == numbers).any())


def written(secret: Floats) -> npt.NDArray[np.uint64]:
    """Numbers as a message might hold them: doubles, or ring words, in either order of bytes."""
    plain = np.ascontiguousarray(secret, np.float64).ravel()
    forms = [plain.view("<u8"), words.encode(plain, "a secret")]
    return np.concatenate([*forms, *(one.byteswap() for one in forms)])


def hidden(secrets: Iterable[Any], raws: Iterable[bytes]) -> bool:
    """Whether none of these numbers stands in these messages."""
    values = np.concatenate([np.ravel(one).astype(np.float64) for one in secrets])
    return not among(written(values[values != 0]), anywhere(raws))


def apart(secret: Any, numbers: Any, least: float = 1e-9) -> bool:
    """Whether no number is one of the secret ones, or next to one."""
    known, values = np.sort(np.ravel(secret)), np.ravel(numbers)
    places = np.clip(np.searchsorted(known, values), 1, len(known) - 1)
    near = np.minimum(np.abs(known[places] - values), np.abs(known[places - 1] - values))
    return bool((near > least * (1 + np.abs(values))).all())


def uniform(numbers: Any, bins: int, modulus: int = 1 << 64) -> bool:
    """Chi squared over the upper bits, against a limit that chance passes once in a million times."""
    place = [int(number) * bins // modulus for number in numbers]
    assert len(place) >= 5 * bins
    counts = np.bincount(place, minlength=bins)
    expected = len(place) / bins
    return float(((counts - expected) ** 2 / expected).sum()) < bins - 1 + 5.5 * np.sqrt(2 * (bins - 1)) + 15


def shown(done: Table, name: str) -> list[npt.NDArray[np.uint64]]:
    """The words that a host sent, an array for each pass."""
    return [words.read(raw) for raw in heard(done, BANK, "scores", by=name)]


# To a host.


@ALL
@pytest.mark.parametrize("family", ["logistic", "linear"])
def test_no_piece_to_a_host_holds_a_residual_a_score_or_a_label(
    looked: Looked, family: str, widths: tuple[int, ...]
) -> None:
    held = data(family, widths)
    done, within = looked(held, family)
    scores = [held.joined @ coefficients(done) + model(done).intercept, model(done).scores]
    means = [held.y - residual for residual in within.residuals]
    for name in done.context.hosts:
        raws = heard(done, name)
        assert hidden([*within.residuals, *scores, *means, *([held.y] if family == "linear" else [])], raws)
        # Labels of two classes are short: sixteen in a row, a byte or a bit each, would be no chance.
        rows = np.where(held.y > 0, 1, 0).astype(np.uint8)
        for run in (rows[:16].tobytes(), np.packbits(rows)[:16].tobytes(), within.steps[0][:4].tobytes()):
            assert not any(run in raw for raw in raws)
        told = [[*one.coefficients, one.curvature] for one in passes(done, name)]
        for secret in (*within.residuals, *scores, *means):
            assert apart(secret, np.concatenate(told))


@ALL
def test_a_host_hears_ciphertexts_and_weights_and_one_number_a_column_and_pass(
    looked: Looked, widths: tuple[int, ...]
) -> None:
    done, _ = looked(data("logistic", widths))
    for name in done.context.hosts:
        kinds = Counter(kind(piece.stage) for _, to, piece in done.said if to == name)
        assert kinds == {"key": 1, "pass": PASSES + 1, "request": PASSES, "opened": PASSES}
        assert [len(one.coefficients) for one in passes(done, name)] == list(range(PASSES + 1))
        width = done.context.parameters.columns[name]
        totals = {piece.total for _, to, piece in done.said if to == name and kind(piece.stage) == "opened"}
        assert totals == {width}


def test_the_mean_curvature_is_told_to_eight_bits_only(looked: Looked) -> None:
    done, _ = looked(data("poisson", TWO), "poisson")
    for one in passes(done, "cards"):
        fraction, _ = np.frexp(one.curvature)
        assert float(fraction * 2**8).is_integer()


@ALL
def test_a_host_hears_its_products_only_under_a_mask_that_it_drew(
    looked: Looked, widths: tuple[int, ...]
) -> None:
    held = data("logistic", widths)
    masks: list[int] = []
    modulus = LatticeOwner.generate(product_terms(ROWS), rng=InsecureSeededRng(1)).modulus
    size = (modulus.bit_length() + 7) // 8
    for seed in range(2):
        done, within = looked(held, seed=seed)
        for name in done.context.hosts:
            for raw, products in zip(heard(done, name, "opened"), within.products[name], strict=True):
                opened = [int.from_bytes(raw[at : at + size], "little") for at in range(0, len(raw), size)]
                assert not set(opened) & {int(one) % modulus for one in products}
                masks += opened
    assert uniform(masks, 16, modulus), "what is opened tells of the products"


# To the label party.


@ALL
def test_no_piece_to_the_label_party_holds_a_column_a_coefficient_or_a_gradient(
    looked: Looked, widths: tuple[int, ...]
) -> None:
    held = data("linear", widths)
    done, within = looked(held, "linear")
    raws = heard(done, BANK)
    for name in done.context.hosts:
        secrets = [held.tables[name], done.found[name], *within.gradients[name], *within.directions[name]]
        steps = host._Columns(held.tables[name], True).steps
        assert not any(steps[:4, 0].tobytes() in raw for raw in raws)
        numbers = np.concatenate([words.decode(one) for one in shown(done, name)])
        assert hidden(secrets, raws)
        for secret in secrets:
            assert apart(secret, numbers)
            assert apart(-np.asarray(secret), numbers)
        products = np.concatenate(within.products[name])
        assert not any(products[place : place + 2].tobytes() in raw for raw in raws for place in (0, 3))


@ALL
def test_the_label_party_hears_one_number_a_row_and_pass_of_each_host(
    looked: Looked, widths: tuple[int, ...]
) -> None:
    done, _ = looked(data("logistic", widths))
    for name in done.context.hosts:
        kinds = Counter(kind(piece.stage) for sender, _, piece in done.said if sender == name)
        assert kinds == {"reply": PASSES, "scores": PASSES}
        # The rows, and the inner products with the directions before and with itself.
        assert [len(one) for one in shown(done, name)] == [ROWS + place + 1 for place in range(PASSES)]
        assert len(widths) > 2 or widths[1] > PASSES, "as many directions as columns would show their span"


def test_a_single_host_shows_orthogonal_directions_of_length_one(looked: Looked) -> None:
    """So the inner products that it shows say nothing of its coefficients."""
    done, _ = looked(data("logistic", TWO))
    for place, one in enumerate(shown(done, "cards")):
        expected = np.append(np.zeros(place), 1.0)
        np.testing.assert_allclose(words.decode(one[ROWS:]), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("widths", [THREE, FOUR], ids=["two hosts", "three hosts"])
@pytest.mark.parametrize("l1", [0.0, 5.0])
def test_the_words_of_one_host_are_uniform_and_only_the_sum_over_all_is_read(
    looked: Looked, widths: tuple[int, ...], l1: float
) -> None:
    held = data("logistic", widths)
    done, within = looked(held, l1=l1)
    each = {name: shown(done, name) for name in done.context.hosts}
    for name, parts in each.items():
        assert uniform(np.concatenate(parts), 256), f"the words of {name} tell of its scores"
        others = [sum((each[one][at] for one in each if one != name), np.uint64(0)) for at in range(PASSES)]
        assert uniform(np.concatenate(others), 256), f"without {name} the others are not hidden"
    for at in range(PASSES):
        total = words.decode(np.sum([parts[at] for parts in each.values()], axis=0, dtype=np.uint64))
        scores = sum(held.tables[name] @ within.directions[name][at] for name in each)
        np.testing.assert_allclose(total[:ROWS], scores, rtol=0, atol=1e-9)


def test_no_mask_hides_two_passes_or_two_rounds(looked: Looked) -> None:
    held = data("logistic", THREE)
    one, _ = looked(held)
    other, _ = looked(held, round=2)
    for name in one.context.hosts:
        first, second = shown(one, name), shown(other, name)
        between = [after[:ROWS] - before[:ROWS] for before, after in pairwise(first)]
        assert uniform(np.concatenate(between), 128), "a mask was used in two passes"
        between = [after - before for before, after in zip(first, second, strict=True)]
        assert uniform(np.concatenate(between), 256), "a mask was used in two rounds"


# Twice, and to the relay.


@ALL
def test_the_same_fit_twice_sends_other_ciphertexts_and_other_masks(
    looked: Looked, widths: tuple[int, ...]
) -> None:
    held = data("logistic", widths)
    (one, first), (other, second) = (looked(held, seed=seed) for seed in (1, 2))
    np.testing.assert_allclose(first.residuals[0], second.residuals[0])
    kinds = ["request", "reply", "opened", *(["scores"] if len(widths) > 2 else [])]
    for name in kinds:
        to = {"request": "cards", "opened": "cards"}.get(name, BANK)
        # Behind the tag that a key gives, which is another one, too.
        before, after = (anywhere(heard(table, to, name)) for table in (one, other))
        assert not among(before, after), f"a {name} holds the same twice"
    # From pass to pass as well, each under a key of its own: whether a residual stays the same is not seen.
    raws = heard(one, "cards", "request")
    raws = [*heard(one, "cards", "key"), *(raw if at else raw[KEY_BYTES:] for at, raw in enumerate(raws))]
    every = anywhere(raws)
    assert (every[1:] != every[:-1]).all()


def test_the_relay_sees_sizes_only_and_they_depend_on_the_shape_alone(looked: Looked) -> None:
    sizes = []
    for seed in (3, 4):
        done, within = looked(data("linear", THREE, seed=seed), "linear")
        sizes.append([(sender, to, len(message.ciphertext)) for sender, to, message in done.frames])
        frames = [bytes(message.ciphertext) for _, _, message in done.frames]
        for (_, _, piece), frame in zip(done.said, frames, strict=True):
            assert bytes(piece.entries[:12]) not in frame
        assert hidden([*within.residuals, *(done.found[name] for name in done.context.hosts)], frames)
    assert sizes[0] == sizes[1]


# Scoring.


def scored(held: Data, seed: int = 1) -> Table:
    """Score the rows with each member's first column as its score."""

    def roles(context: Context, name: str, own: AgreementKey, rng: InsecureSeededRng) -> Any:
        role = scoring.label if name == BANK else scoring.host
        return role(context, name, own, held.tables[name][:, 0], rng=rng)

    columns = {name: x.shape[1] for name, x in held.tables.items()}
    return Table(columns, len(held.y), roles, BANK, seed=seed).run()


def test_in_a_scoring_hosts_hear_nothing_and_the_label_party_the_sum() -> None:
    held = data("logistic", FOUR, rows=1300)
    done = scored(held)
    assert {to for _, to, _ in done.said} == {BANK}
    total = sum(x[:, 0] for x in held.tables.values())
    np.testing.assert_allclose(done.found[BANK], total, rtol=0, atol=1e-9)
    assert all(done.found[name] is None for name in done.context.hosts)
    for name in done.context.hosts:
        (sent,) = (words.read(bytes(piece.entries)) for sender, _, piece in done.said if sender == name)
        assert uniform(sent, 256)
        assert hidden([held.tables[name][:, 0]], [sent.tobytes()])
