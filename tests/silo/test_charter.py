from __future__ import annotations

import random
import re
import types
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from silo.charter import TWO_PARTY_WORDS, Charter, Relay, SumTerms, Times, checks, file
from silo.charter.show import leakage, show, summary
from silo.errors import ChangedAfterSigning, CharterError, Expired, NotAllowed, NotSigned
from silo.identity import Identity
from tests.silo.federation import MEMBERS, NOW, YEAR, charter, identities, identity, signed, task, terms


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Identity]:
    return identities(tmp_path_factory.mktemp("keys"))


def reread(agreement: Charter) -> Charter:
    return file.parse(file.render(agreement).encode())


def test_a_file_gives_back_the_same_charter(people: dict[str, Identity], tmp_path: Path) -> None:
    tasks = [task(script=f"sha256:{'a' * 64}"), task(name="second", model=f"sha256:{'b' * 64}")]
    made = signed(charter(people, tasks=tasks, receivers=["mercy"]), people)
    made.save(tmp_path / "charter.toml")
    loaded = Charter.load(tmp_path / "charter.toml")
    assert loaded == made
    assert loaded.digest == made.digest
    loaded.require_signed(now=NOW)
    assert not list(tmp_path.glob(".charter*"))


def test_layout_comments_and_order_do_not_count(people: dict[str, Identity]) -> None:
    made = signed(charter(people), people)
    blocks = re.split(r"\n(?=\[)", file.render(made))
    heads, tables = blocks[0], blocks[1:]
    random.Random(1).shuffle(tables)
    shuffled = []
    for table in tables:
        head, *lines = table.strip().split("\n")
        body = "\n".join(lines)
        entries = re.findall(r'^\w+ = (?:"""[\s\S]*?"""|.*)$', body, re.M)
        shuffled.append("\n".join([f"  {head}   # a comment", *reversed(entries)]))
    other = file.parse((heads + "\n\n\n" + "\n".join(shuffled)).encode())
    assert other.digest == made.digest
    other.require_signed(now=NOW)


def test_every_value_is_in_the_digest(people: dict[str, Identity]) -> None:
    made = charter(people)
    one = made.tasks[0]
    relay = made.relay
    others: list[dict[str, Any]] = [
        {"name": "Another"},
        {"created": made.created - timedelta(seconds=1)},
        {"expires": made.expires + timedelta(seconds=1)},
        {"relay": replace(relay, url="wss://localhost:8444")},
        {"relay": replace(relay, allow_interception=True)},
        {"receivers": ("mercy",)},
        {
            "members": (*made.members[:2], people["relay"].card),
            "relay": Relay(people["northside"].card, relay.url),
        },
    ]
    changes: dict[str, Any] = {
        "blinded": True, "bits": 40, "clip": 2.0, "overflow": "saturate", "changed_cohort": "allow",
        "colluders": 0,
    }  # fmt: skip
    others += [{"sum": replace(made.sum, **{key: value})} for key, value in changes.items()]
    others += [{"time": replace(made.time, **{key: 7.0})} for key in ("reconnect", "silence", "work")]
    task_changes: dict[str, Any] = {
        "name": "x", "rounds": 11, "rows": 999, "bytes": 1, "expires": NOW + YEAR / 2,
        "script": f"sha256:{'0' * 64}", "model": f"sha256:{'0' * 64}",
    }  # fmt: skip
    others += [{"tasks": (replace(one, **{key: value}),)} for key, value in task_changes.items()]
    digests = {replace(made, **change).digest for change in others}
    assert len(digests) == len(others)
    assert made.digest not in digests


def test_missing_signatures_are_named_with_the_command(people: dict[str, Identity]) -> None:
    made = charter(people).sign(people["mercy"])
    made.require_signed("mercy", now=NOW)
    with pytest.raises(NotSigned, match=r"clinic, northside: .*sign .*keys/clinic") as caught:
        made.require_signed(now=NOW)
    assert caught.value.missing == ("clinic", "northside")
    with pytest.raises(NotSigned):
        made.require_signed("clinic", now=NOW)
    with pytest.raises(NotAllowed):
        made.require_signed("stranger", now=NOW)


def test_signatures_are_merged_only_for_the_same_charter(people: dict[str, Identity]) -> None:
    made = charter(people)
    merged = made.sign(people["mercy"]).add_signatures(made.sign(people["clinic"]))
    assert merged.signed_by == ("clinic", "mercy")
    with pytest.raises(CharterError, match="another charter"):
        merged.add_signatures(signed(charter(people, tasks=[task(rounds=11)]), people))
    with pytest.raises(ChangedAfterSigning):
        merged.with_signature("northside", merged.signature("mercy"))


def test_a_change_after_signing_is_found(people: dict[str, Identity]) -> None:
    text = file.render(signed(charter(people), people))
    with pytest.raises(ChangedAfterSigning, match="clinic, mercy, northside"):
        file.parse(text.replace("rounds = 10\n", "rounds = 11\n").encode())


def test_no_single_changed_byte_passes(people: dict[str, Identity]) -> None:
    made = signed(charter(people), people)
    raw = file.render(made).encode()
    draw = random.Random(7)
    for place in draw.sample(range(len(raw)), 400):
        changed = bytearray(raw)
        changed[place] ^= 1 << draw.randrange(8)
        try:
            read = file.parse(bytes(changed))
            read.require_signed(now=NOW)
        except CharterError:
            continue
        # What still loads says the very same thing: a comment, a blank or a letter of no meaning changed.
        assert read.digest == made.digest


def test_only_the_named_identity_signs(people: dict[str, Identity], tmp_path: Path) -> None:
    made = charter(people)
    with pytest.raises(NotAllowed, match="'relay' is not a member"):
        made.sign(people["relay"])
    with pytest.raises(NotAllowed, match="neither a member nor the relay"):
        made.sign(identity(tmp_path, "stranger"))
    with pytest.raises(CharterError, match="names another mercy"):
        made.sign(identity(tmp_path, "mercy"))  # same key, another certificate


def test_expired_charters_and_certificates(people: dict[str, Identity], tmp_path: Path) -> None:
    made = signed(charter(people), people)
    made.save(tmp_path / "c.toml")
    with pytest.raises(Expired, match="have a new one made and signed"):
        Charter.load(tmp_path / "c.toml", now=NOW + YEAR)
    assert Charter.read(tmp_path / "c.toml").digest == made.digest
    with pytest.raises(Expired):
        made.require_signed(now=NOW + YEAR)
    old = identities(tmp_path / "old", "clinic", "northside", "relay")
    old["mercy"] = identity(tmp_path / "old", "mercy", days=3)
    short = charter(old)
    with pytest.raises(Expired, match="certificate of mercy"):
        short.check_dates(NOW + timedelta(days=4))
    with pytest.raises(Expired, match="certificate of mercy"):
        charter(old, now=NOW + timedelta(days=4))
    with pytest.raises(CharterError, match="before it was created"):
        charter(people, expires=NOW - YEAR)


UNKNOWN = [
    ("[sum]\n", "[sum]\nsecure = false\n", "sum has the unknown key 'secure'"),
    ("[time]\n", "[time]\nhurry = 1\n", "time has the unknown key 'hurry'"),
    ("[charter]\n", "[charter]\nx = 1\n", "charter has the unknown key 'x'"),
    ("[[tasks]]\n", "[[tasks]]\nepsilon = 1\n", "tasks.1 has the unknown key 'epsilon'"),
    ("[results]\n", "[extra]\n[results]\n", "the file has the unknown key 'extra'"),
    ("[relay]\n", "[relay]\nport = 1\n", "relay has the unknown key 'port'"),
    ("[[members]]\n", "[[members]]\nemail = 'x'\n", "members.1 has the unknown key 'email'"),
]
WRONG = [
    ("bits = 32", 'bits = "32"', "sum.bits must be a whole number"),
    ("bits = 32", "bits = true", "sum.bits must be a whole number"),
    ("bits = 32", "bits = 31", "choose one of 16, 24, 32, 40"),
    ("clip = 1.0", "clip = nan", "clip = nan"),
    ("clip = 1.0", "clip = -1", "above 0"),
    ("blinded = false", "blinded = 0", "true or false"),
    ('"masking"', '"magic"', "this version has masking"),
    ("version = 1", "version = 2", "charter.version is 2"),
    ("rounds = 10\n", "", "tasks.1.rounds is missing"),
    ("rounds = 10\n", "rounds = 0\n", "a cap is from 1"),
    ("rows = 1000", "rows = -5", "a cap is from 1"),
    ("bytes = 1000000", "bytes = 0", "a cap is from 1"),
    ("silence = 30.0", "silence = 0", "time.silence"),
    ("silence = 30.0", "silence = inf", "time.silence"),
    ('receivers = ["*"]', 'receivers = ["stranger"]', "'stranger', who is not a member"),
    ('receivers = ["*"]', "receivers = []", "receivers is empty"),
    ('receivers = ["*"]', "receivers = [1]", "list of names"),
    ("wss://localhost:8443", "ws://localhost:8443", "wss://host:port"),
    ("wss://localhost:8443", "wss://localhost", "wss://host:port"),
    ("wss://localhost:8443", "wss://u:p@localhost:1", "wss://host:port"),
    ("colluders = 1", "colluders = 2", "colluders = 2 of 3: at most 1"),
    ("threshold = 3", "threshold = 2", "threshold = 2 with n = 3"),
    ("threshold = 3", "threshold = 4", "threshold = 4"),
    ("minimum_cohort = 3", "minimum_cohort = 2", "minimum_cohort = 2: from 3"),
    ("minimum_cohort = 3", "minimum_cohort = 4", "to 3"),
    ('"complete"', '"ring"', "sum.graph"),
    ('"complete"', "3", "even degree"),
    ('overflow = "refuse"', 'overflow = "wrap"', "overflow"),
    ('two_party = ""', f'two_party = "{TWO_PARTY_WORDS}"', "remove it"),
    ('name = "clinic"', 'name = "relay"', "made for that name"),
]


@pytest.mark.parametrize(("old", "new", "words"), UNKNOWN + WRONG, ids=lambda value: str(value)[:30])
def test_one_sentence_names_what_is_wrong(
    people: dict[str, Identity], old: str, new: str, words: str
) -> None:
    text = file.render(charter(people))
    assert old in text
    with pytest.raises(CharterError) as caught:
        file.parse(text.replace(old, new, 1).encode())
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("raw", [b"", b"\xff", b"a = [[[[", b"x" * (file.MAX_FILE + 1), b"a=" + b"[" * 5000])
def test_what_is_no_charter_is_one_sentence(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(raw)
    with pytest.raises(CharterError) as caught:
        Charter.load(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(CharterError, match="cannot be read"):
        Charter.load(tmp_path / "absent.toml")


def test_doubles_are_refused(people: dict[str, Identity]) -> None:
    cards = [people[name].card for name in MEMBERS]
    with pytest.raises(CharterError, match="name mercy is there twice"):
        charter(people, members=[*cards, people["mercy"].card])
    with pytest.raises(CharterError, match="name mercy is there twice"):
        charter(people, relay=Relay(people["mercy"].card, "wss://localhost:1"))
    with pytest.raises(CharterError, match="signing key"):
        charter(people, members=[*cards[:2], replace(cards[2], key=cards[0].key)])
    with pytest.raises(CharterError, match="task main is there twice"):
        charter(people, tasks=[task(), task()])


def test_two_members_need_the_words(people: dict[str, Identity]) -> None:
    pair = {name: people[name] for name in ("mercy", "clinic", "relay")}
    for words in ("", "yes", TWO_PARTY_WORDS.upper()):
        with pytest.raises(CharterError, match="2 members are below 3"):
            charter(pair, sum=terms(2, two_party=words))
    made = charter(pair, sum=terms(2, two_party=TWO_PARTY_WORDS))
    assert (made.sum.threshold, made.sum.minimum_cohort) == (2, 2)
    assert ("each member", "the other's input: the sum less its own") in leakage(made)
    alone = {name: people[name] for name in ("mercy", "relay")}
    with pytest.raises(CharterError, match="1 members"):
        charter(alone, sum=terms(1, two_party=TWO_PARTY_WORDS))


@pytest.mark.parametrize("count", range(3, 40))
def test_the_usual_threshold_is_sound_for_every_size(count: int) -> None:
    usual = SumTerms.for_members(count)
    assert usual.threshold == 2 * count // 3 + 1
    assert count + usual.colluders < 2 * usual.threshold <= 2 * count
    assert usual.minimum_cohort >= max(usual.threshold, usual.colluders + 2)


def test_colluders_leave_two_inputs_to_hide_among(people: dict[str, Identity], tmp_path: Path) -> None:
    more = people | identities(tmp_path, "a", "b", "c")
    with pytest.raises(CharterError, match="at most"):
        charter(more, sum=terms(6, threshold=6, colluders=5, minimum_cohort=6))
    charter(more, sum=terms(6, threshold=6, colluders=4, minimum_cohort=6))


def test_headroom_is_planned_from_members_rows_and_bits(people: dict[str, Identity]) -> None:
    charter(people, sum=terms(bits=16), tasks=[task(rows=10_000)])
    with pytest.raises(CharterError, match=r"bits = 16 is too small for 3 members with 11000 rows"):
        charter(people, sum=terms(bits=16), tasks=[task(rows=10_000), task(name="more", rows=11_000)])
    charter(people, sum=terms(bits=24), tasks=[task(rows=11_000)])


def test_a_script_must_be_the_agreed_one(people: dict[str, Identity]) -> None:
    agreed = task(script=f"sha256:{'ab' * 32}")
    agreed.allow_script(bytes.fromhex("ab" * 32))
    for digest in (bytes.fromhex("ab" * 31 + "aa"), f"sha256:{'ab' * 31}ac", "", b""):
        with pytest.raises(NotAllowed, match="lists another script"):
            agreed.allow_script(digest)
    with pytest.raises(NotAllowed, match="lists no script"):
        task().allow_script(bytes(32))
    with pytest.raises(NotAllowed, match="lists no model"):
        agreed.allow_model("")


def test_caps_cannot_be_passed(people: dict[str, Identity]) -> None:
    limits = charter(people).limits()
    limits.require(now=NOW, rounds=10, rows=1000, bytes=10**6)
    for beyond in ({"rounds": 11}, {"rows": 1000.5}, {"bytes": 10**6 + 1}, {"rows": float("nan")}):
        with pytest.raises(NotAllowed) as caught:
            limits.require(**beyond)
        assert str(caught.value.cap) in str(caught.value)
    with pytest.raises(Expired, match="task main"):
        limits.require(now=NOW + YEAR)
    sooner = charter(people, expires=NOW + YEAR / 2, tasks=[task()])
    assert sooner.limits().expires == NOW + YEAR / 2


def test_tasks_are_found_by_name(people: dict[str, Identity]) -> None:
    made = charter(people, tasks=[task(), task(name="other")])
    assert made.task("other").name == "other"
    with pytest.raises(NotAllowed, match="several tasks"):
        made.task()
    with pytest.raises(NotAllowed, match="'third' is not listed"):
        made.task("third")
    assert charter(people).task().name == "main"


def test_show_says_who_learns_what(people: dict[str, Identity]) -> None:
    made = charter(people).sign(people["mercy"])
    text = show(made, NOW + timedelta(days=330))
    assert "no single input" in text
    assert re.search(r"clinic .*NOT SIGNED", text)
    assert re.search(r"mercy .* signed ", text)
    assert "the charter expires" in text
    blind = charter(people, sum=terms(blinded=True))
    assert "neither the sum nor the weight" in show(blind, NOW)
    facts = summary(blind, NOW)
    assert facts["unsigned"] == list(MEMBERS)
    assert {row["who"] for row in facts["learns"]} >= {"receiver", "other members"}
    held = charter(people, sum=terms(protocol="ckks", key_holder="mercy", key=f"sha256:{'a' * 64}"))
    assert "key held by mercy: sha256:aaaaaaaaaaaaaaaa…" in show(held, NOW)
    assert "relay with the key holder" in show(held, NOW)


def test_a_large_graph(people: dict[str, Identity], tmp_path: Path) -> None:
    many = identities(tmp_path, *(f"m{place}" for place in range(12)), "relay")
    made = charter(many, sum=terms(12, graph=6))
    assert reread(made).sum.degree == 6
    with pytest.raises(CharterError, match="complete"):
        charter(many, sum=terms(12, graph=6, blinded=True))
    with pytest.raises(CharterError, match="even degree"):
        charter(many, sum=terms(12, graph=12))


def test_a_mask_graph_that_is_too_weak_is_refused_with_its_bits() -> None:
    for degree, threshold, holds in ((36, 11, True), (36, 4, False), (8, 3, False)):
        wanted = SumTerms.for_members(100, graph=degree, threshold=threshold, colluders=10)
        if holds:
            checks.check_sum(_figures(100, wanted))
        else:
            with pytest.raises(CharterError, match="bits of privacy"):
                checks.check_sum(_figures(100, wanted))
    assert SumTerms.for_members(100, graph=36, colluders=10).threshold == 11


def _figures(members: int, wanted: SumTerms) -> Any:
    """What the check of a sum looks at, without the certificates of a hundred members."""
    tasks = (types.SimpleNamespace(name="t", rounds=50, rows=10),)
    return types.SimpleNamespace(members=tuple(range(members)), sum=wanted, tasks=tasks)


def test_whole_seconds_and_clips_read_back_as_the_same_charter(people: dict[str, Identity]) -> None:
    made = charter(
        people, sum=replace(terms(len(MEMBERS)), clip=4), time=Times(reconnect=10, silence=20, work=120)
    )
    assert reread(made).digest == made.digest
