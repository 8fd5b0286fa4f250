"""[vertical] of a charter: read as written, signed over, shown, and refused in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from silo.charter import Charter, Vertical, file, signatures
from silo.charter.show import show, summary
from silo.charter.terms import NOISED
from silo.cli import cli
from silo.errors import ChangedAfterSigning, CharterError
from silo.identity import Identity
from silo.protocols.vertical.context import MOST_MEMBERS, MOST_ROWS
from tests.silo.federation import NOW, charter, identities, signed, terms

TERMS = Vertical(("linear",), "mercy", rows=5000, passes=12, trees=30, fits=4)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Identity]:
    return identities(tmp_path_factory.mktemp("keys"))


def test_a_file_gives_back_the_same_terms(people: dict[str, Identity], tmp_path: Path) -> None:
    made = signed(charter(people, vertical=TERMS), people)
    made.save(tmp_path / "charter.toml")
    loaded = Charter.load(tmp_path / "charter.toml")
    assert loaded.vertical == TERMS
    assert loaded.digest == made.digest
    loaded.require_signed(now=NOW)
    without = charter(people)
    assert without.vertical is None
    assert "[vertical]" not in file.render(without)


def test_every_term_is_in_the_digest(people: dict[str, Identity]) -> None:
    changes: dict[str, Any] = {
        "models": ("linear", "boosting"), "label": "*", "rows": 4999, "passes": 13, "trees": 31, "fits": 5,
        "noised": (), "scorings": 7, "classes": 2,
    }  # fmt: skip
    assert set(changes) == set(Vertical.__slots__)
    terms = replace(TERMS, models=("linear", "split"))
    made = charter(people, vertical=terms)
    others = [replace(made, vertical=replace(terms, **{key: value})) for key, value in changes.items()]
    digests = {one.digest for one in (made, charter(people), *others)}
    assert len(digests) == len(changes) + 2


def test_the_order_of_models_does_not_count(people: dict[str, Identity]) -> None:
    one, other = (
        charter(people, vertical=replace(TERMS, models=models))
        for models in (("linear", "boosting"), ("boosting", "linear"))
    )
    assert one.digest == other.digest


def test_a_change_after_signing_is_found(people: dict[str, Identity]) -> None:
    text = file.render(signed(charter(people, vertical=TERMS), people))
    for old, new in (
        ("fits = 4", "fits = 400"),
        ('label = "mercy"', 'label = "*"'),
        ("passes = 12", "passes = 120"),
    ):
        assert old in text
        with pytest.raises(ChangedAfterSigning, match="clinic, mercy, northside"):
            file.parse(text.replace(old, new).encode())


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('models = ["linear"]', "models = []", "vertical.models names what is allowed of linear, boosting"),
        ('models = ["linear"]', 'models = ["forest"]', "vertical.models names what is allowed"),
        ('models = ["linear"]', 'models = ["linear", "linear"]', "is there twice"),
        ('models = ["linear"]', "models = [1]", "vertical.models must be a list of words"),
        ('models = ["linear"]', 'models = "linear"', "vertical.models must be a list"),
        ('label = "mercy"', 'label = "stranger"', "vertical.label is 'stranger': it is a member, or"),
        ('label = "mercy"', 'label = ""', "vertical.label is ''"),
        ('label = "mercy"', "label = 1", "vertical.label must be text"),
        ("rows = 5000", "rows = 0", "vertical.rows = 0: it is from 1 to"),
        ("rows = 5000", f"rows = {MOST_ROWS + 1}", f"to {MOST_ROWS}"),
        ("passes = 12", "passes = 0", "vertical.passes = 0"),
        ("passes = 12", "passes = -1", "vertical.passes = -1"),
        ("passes = 12", "passes = 1.5", "vertical.passes must be a whole number"),
        ("trees = 30", "trees = 0", "vertical.trees = 0"),
        ("fits = 4", "fits = 0", "vertical.fits = 0"),
        ("fits = 4", "fits = true", "vertical.fits must be a whole number"),
        ("fits = 4", "", "vertical.fits is missing"),
        ("fits = 4", "fits = 4\nscorings = 0", "vertical.scorings = 0: it is from 1 to"),
        ("fits = 4", "fits = 4\nscorings = 2.0", "vertical.scorings must be a whole number"),
        (
            "fits = 4",
            "fits = 4\nclasses = 2",
            "vertical.classes is for split networks, and the charter allows linear",
        ),
        ('["linear"]', '["split"]\nclasses = 1', "vertical.classes = 1: labels have from 2 to 65536 classes"),
        ('["linear"]', '["split"]\nclasses = 65537', "vertical.classes = 65537: labels"),
        ('["linear"]', '["split"]\nclasses = "2"', "vertical.classes must be a whole number"),
        ("[vertical]\n", "[vertical]\nsecure = false\n", "vertical has the unknown key 'secure'"),
    ],
)
def test_one_sentence_names_what_is_wrong(
    people: dict[str, Identity], old: str, new: str, words: str
) -> None:
    head, _, rest = file.render(charter(people, vertical=TERMS)).partition("[vertical]")
    text = f"[vertical]{rest}"
    assert old in text
    with pytest.raises(CharterError) as caught:
        file.parse((head + text.replace(old, new, 1)).encode())
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_charter_without_a_cap_on_scorings_is_read_as_it_was_signed(people: dict[str, Identity]) -> None:
    """The word came later: who signed before it was there signed just these bytes."""
    old = charter(people, vertical=TERMS)
    said = json.loads(signatures.canonical(old))["vertical"]
    assert said == {
        "models": ["linear"], "label": "mercy", "rows": 5000, "passes": 12, "trees": 30, "fits": 4,
        "noised": ["activations", "gradients"],
    }  # fmt: skip
    assert not {"scorings", "classes"} & set(file.render(old).split())
    read = file.parse(file.render(old).encode())
    assert read.vertical is not None
    assert read.vertical.scorings is None
    assert "scorings not capped" in show(old, NOW)
    capped = signed(charter(people, vertical=replace(TERMS, scorings=1500)), people)
    again = file.parse(file.render(capped).encode())
    assert again.vertical == replace(TERMS, scorings=1500)
    assert again.digest == capped.digest != old.digest
    assert "4 fits in all, 1,500 scorings in all" in show(capped, NOW)
    with pytest.raises(ChangedAfterSigning):
        file.parse(file.render(capped).replace("scorings = 1500\n", "").encode())


def test_more_members_than_a_model_takes_are_refused(tmp_path: Path) -> None:
    many = identities(tmp_path, *(f"m{place:02d}" for place in range(MOST_MEMBERS + 1)), "relay")
    count = MOST_MEMBERS + 1
    with pytest.raises(
        CharterError, match=f"{count} members: a vertical model is among {MOST_MEMBERS} at most"
    ):
        charter(many, sum=terms(count), vertical=Vertical())
    assert charter(many, sum=terms(count)).vertical is None


def test_show_says_who_learns_what(people: dict[str, Identity]) -> None:
    made = charter(people, vertical=TERMS)
    text = show(made, NOW)
    assert (
        "Vertical models: linear, labels of mercy, at most 5,000 rows, 12 passes, 30 trees, 4 fits in all"
        in text
    )
    assert "the sum over the others" in text
    facts = summary(made, NOW)["vertical"]
    assert facts["fits"] == 4
    assert {row["who"] for row in facts["learns"]} >= {"relay", "each member", "label party (`linear`)"}
    assert not any("boosting" in row["who"] for row in facts["learns"])
    both = summary(charter(people, vertical=replace(TERMS, models=("linear", "boosting"))), NOW)["vertical"]
    assert any("boosting" in row["who"] for row in both["learns"])
    assert "labels of any member" in show(charter(people, vertical=replace(TERMS, label="*")), NOW)
    assert summary(charter(people), NOW)["vertical"] is None
    assert "Vertical models" not in show(charter(people), NOW)


# The command line.


@pytest.fixture
def silo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    identities(tmp_path)
    return lambda *words: CliRunner().invoke(cli, list(words))


def new(silo: Callable[..., Result], *options: str) -> Result:
    cards = [
        word for name in ("clinic", "mercy", "northside") for word in ("--member", f"{name}/{name}.card.toml")
    ]
    given = ["--relay", "relay/relay.card.toml", "--url", "wss://localhost:1", *cards, *options]
    return silo("charter", "new", "Study", *given)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("linear:mercy", Vertical(("linear",), "mercy")),
        ("linear,boosting:*:5000", Vertical(("linear", "boosting"), "*", 5000)),
        ("linear:mercy:5000:12:30:4", TERMS),
    ],
)
def test_the_command_line_writes_and_shows_it(
    silo: Callable[..., Result], said: str, expected: Vertical
) -> None:
    made = new(silo, "--vertical", said)
    assert made.exit_code == 0, made.output
    assert "Vertical models: " in made.output
    assert Charter.load("charter.toml").vertical == expected
    shown = silo("charter", "show", "charter.toml")
    assert f"{expected.rows:,} rows, {expected.passes:,} passes" in shown.stdout
    facts = json.loads(silo("charter", "show", "charter.toml", "--json").stdout)["vertical"]
    assert (facts["label"], facts["fits"]) == (expected.label, expected.fits)
    assert facts["learns"]


@pytest.mark.parametrize(
    ("said", "expected", "without"),
    [
        (None, NOISED, []),
        ("gradients,activations", NOISED, []),
        ("gradients", ("gradients",), ["activations"]),
        ("activations", ("activations",), ["gradients"]),
        ("none", (), ["gradients", "activations"]),
    ],
)
def test_the_command_line_says_which_directions_have_noise(
    silo: Callable[..., Result], said: str | None, expected: tuple[str, ...], without: list[str]
) -> None:
    made = new(silo, "--vertical", "linear,split:mercy", *(["--noised", said] if said else []))
    assert made.exit_code == 0, made.output
    agreed = Charter.load("charter.toml")
    assert agreed.vertical == Vertical(("linear", "split"), "mercy", noised=expected)
    shown = silo("charter", "show", "charter.toml").stdout
    assert "split learning of as many classes as the label party says" in shown
    for direction in NOISED:
        assert (f"split learning WITHOUT noise on {direction}" in shown) == (direction in without)
    # Nobody has a budget: whose noise could not be paid for is said at once, and later too.
    for one in (made.stdout, shown):
        assert ("noise on gradients is paid by mercy, which has no" in one) == ("gradients" in expected)
        assert ("noise on activations is paid by mercy" in one) is False


def test_directions_may_be_given_one_by_one(silo: Callable[..., Result]) -> None:
    both = ("--noised", "gradients", "--noised", "activations")
    assert new(silo, "--vertical", "split:mercy", *both).exit_code == 0
    found = Charter.load("charter.toml").vertical
    assert found is not None
    assert found.noised == NOISED


def test_the_command_line_says_how_many_classes_there_are(silo: Callable[..., Result]) -> None:
    made = new(silo, "--vertical", "split:mercy", "--classes", "3")
    assert made.exit_code == 0, made.output
    found = Charter.load("charter.toml").vertical
    assert found is not None
    assert found.classes == 3
    assert "split learning of at most 3 classes" in silo("charter", "show", "charter.toml").stdout
    told = json.loads(silo("charter", "show", "charter.toml", "--json").stdout)
    assert told["vertical"]["classes"] == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--noised", "gradients"), "--noised is for split networks: give --vertical"),
        (("--classes", "2"), "--classes is for split networks: give --vertical"),
        (("--vertical", "linear:mercy", "--classes", "2"), "--vertical allows linear: leave it away"),
        (("--vertical", "split:mercy", "--classes", "1"), "vertical.classes = 1: labels have from 2"),
        (("--vertical", "linear:mercy", "--noised", "none"), "--vertical allows linear: leave it away"),
        (("--vertical", "split:mercy", "--noised", "labels"), "vertical.noised names directions"),
        (("--vertical", "split:mercy", "--noised", ""), "vertical.noised names directions"),
        (("--vertical", "split:mercy", "--noised", "none,gradients"), "vertical.noised names directions"),
        (("--vertical", "split:mercy", "--noised", "gradients,gradients"), "is there twice"),
    ],
)
def test_directions_that_make_no_sense_are_refused(
    silo: Callable[..., Result], options: tuple[str, ...], words: str
) -> None:
    result = new(silo, *options)
    assert result.exit_code == 2
    assert words in result.stderr
    assert not Path("charter.toml").exists()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("linear", "is not MODELS:LABEL"),
        ("linear:mercy:many", "is not MODELS:LABEL"),
        ("linear:mercy:1:2:3:4:5:6", "is not MODELS:LABEL"),
        ("forest:mercy", "vertical.models names what is allowed"),
        (":mercy", "vertical.models names what is allowed"),
        ("linear:stranger", "vertical.label is 'stranger'"),
        ("linear:mercy:0", "vertical.rows = 0"),
        ("linear:mercy:5000:12:30:0", "vertical.fits = 0"),
    ],
)
def test_the_command_line_refuses_what_is_no_such_term(
    silo: Callable[..., Result], said: str, words: str
) -> None:
    result = new(silo, "--vertical", said)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error [SILO-401]: ")
    assert words in line
    assert not Path("charter.toml").exists()
