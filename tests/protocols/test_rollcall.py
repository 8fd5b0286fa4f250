"""Members that do not ask for the same thing learn who differs, and in what."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silo.protocols import rollcall
from silo.protocols.errors import OutOfStep, ProtocolAborted, UnlikeTerms
from silo.protocols.rollcall import Begin, Present, Term, compare

SAME = Present("mean", 4, (Term("length", "10"), Term("bits", "32")), b"model", b"c" * 32, "", ())


def presents(**odd: dict[str, Any]) -> dict[str, Present]:
    return {
        name: msgspec.structs.replace(SAME, channel=name.encode() * 32, **odd.get(name, {})) for name in "abc"
    }


def test_members_that_agree_pass_whatever_their_channel_keys() -> None:
    compare(presents())
    compare({"a": SAME})


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"position": 5}, OutOfStep, "collective number: b has 5, the others have 4"),
        ({"tag": "sum"}, OutOfStep, "step: b has sum, the others have mean"),
        ({"state": b"other"}, UnlikeTerms, f"model: b has {b'other'.hex()}"),
        ({"state": b""}, UnlikeTerms, "model: b has nothing"),
        ({"terms": (Term("length", "11"), Term("bits", "32"))}, UnlikeTerms, "length: b has 11, the others"),
        ({"terms": (Term("length", "10"),)}, UnlikeTerms, "entries: b has length"),
        ({"terms": (Term("bits", "32"), Term("length", "10"))}, UnlikeTerms, "entries: b has bits, length"),
        ({"terms": ()}, UnlikeTerms, "entries"),
    ],
)
def test_the_one_that_differs_is_named_with_the_difference(
    change: dict[str, Any], error: type[UnlikeTerms], match: str
) -> None:
    with pytest.raises(error, match=match) as caught:
        compare(presents(b=change))
    assert type(caught.value) is error
    assert caught.value.culprits == ["b"] or caught.value.culprits == ("b",)
    assert isinstance(caught.value, ProtocolAborted)


DIGEST = "0123456789ab" + "0" * 52


@pytest.mark.parametrize(
    ("one", "other"),
    [(DIGEST, DIGEST[:-1] + "1"), (DIGEST, f"{DIGEST[:12]}…"), ("", "nothing"), ("", " ")],
    ids=["two digests", "a digest and how it is shown", "nothing and the word", "nothing and a space"],
)
def test_values_that_differ_are_not_told_alike(one: str, other: str) -> None:
    said = {name: Term("order", value) for name, value in (("a", one), ("b", other))}
    with pytest.raises(UnlikeTerms) as caught:
        compare({name: msgspec.structs.replace(SAME, terms=(term,)) for name, term in said.items()})
    first, second = str(caught.value).partition(": ")[2].split("; ")
    assert first.removeprefix("a has ") != second.removeprefix("b has ")


def test_a_digest_is_told_by_its_first_digits() -> None:
    with pytest.raises(UnlikeTerms, match=r"length: b has 0123456789ab…, the others have 10$"):
        compare(presents(b={"terms": (Term("length", DIGEST), Term("bits", "32"))}))


@pytest.mark.parametrize("said", ["11; a has 12", "11, the others have 12", "x" * 101])
def test_what_a_member_says_stands_in_quotes_where_it_could_speak_for_another(said: str) -> None:
    with pytest.raises(UnlikeTerms) as caught:
        compare(presents(b={"terms": (Term("length", said), Term("bits", "32"))}))
    assert str(caught.value).endswith(f"length: b has {said!r}, the others have 10")


def test_where_no_majority_is_all_are_named() -> None:
    two = {name: one for name, one in presents(b={"position": 5}).items() if name != "c"}
    with pytest.raises(OutOfStep, match="a has 4; b has 5") as caught:
        compare(two)
    assert set(caught.value.culprits) == {"a", "b"}
    three = presents(a={"state": b"1"}, b={"state": b"2"}, c={"state": b"3"})
    with pytest.raises(UnlikeTerms) as tie:
        compare(three)
    assert set(tie.value.culprits) == {"a", "b", "c"}


@given(st.sampled_from("abc"), st.sampled_from(["tag", "position", "terms", "state"]), st.data())
def test_no_difference_passes(name: str, field: str, data: st.DataObject) -> None:
    term = st.builds(Term, st.text(max_size=5), st.text(max_size=5))
    values: dict[str, st.SearchStrategy[Any]] = {
        "tag": st.text(max_size=5),
        "position": st.integers(0, 9),
        "terms": st.lists(term, max_size=3).map(tuple),
        "state": st.binary(max_size=8),
    }
    value = data.draw(values[field])
    said = presents(**{name: {field: value}})
    if value == getattr(SAME, field):
        compare(said)
    else:
        with pytest.raises(UnlikeTerms) as caught:
            compare(said)
        assert list(caught.value.culprits) == [name]


def test_long_terms_are_cut_in_what_a_person_reads() -> None:
    many = tuple(Term(f"w{i}", "1") for i in range(500))
    with pytest.raises(UnlikeTerms, match="…") as caught:
        compare(presents(b={"terms": many}))
    assert len(str(caught.value)) < 300


def test_roll_calls_belong_to_a_session_and_a_charter() -> None:
    one = rollcall.bearings(b"c" * 32, b"s" * 32)
    assert (one.protocol, one.parameters, one.session, one.round) == ("rollcall", b"c" * 32, b"s" * 32, 0)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(Begin(3, (b"f",))), type=Begin) == Begin(3, (b"f",))
