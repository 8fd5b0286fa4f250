"""The demo's page: all figures are on it, nothing is fetched, and no text becomes markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from silo.demo import report


def results(word: str = "") -> dict[str, Any]:
    """Figures of a run; `word` stands in every text."""
    names = [f"{word}mercy", f"{word}northside"]
    kind = {
        "mean_client_accuracy": 0.8,
        "pooled_test_accuracy": 0.75,
        "per_hospital": {names[0]: 0.9, names[1]: 0.7},
    }
    alone = kind | {"per_hospital": {names[0]: 0.5, names[1]: 0.95}}
    return {
        "demo": f"{word}hospitals",
        "data": f"{word}rows",
        "model": f"{word}logistic",
        "parties": names,
        "results": {"local": alone, "federated": kind, "pooled": kind},
        "traffic": {name: {"up": 1500, "down": 2_500_000} for name in names},
        "rounds": [{"round": i, "seconds": 0.05 * i, "loss": 1 / i} for i in range(1, 5)],
        "relay_saw": {
            "hospital": names[0],
            "correlation": -0.02,
            "masked": [5000.0, -12345.0],
            "true": [0.1, 0.2],
        },
        "difference_from_plain": 2e-8,
        "learned": [
            [f"{word}relay", f"{word}the sum", f"{word}a single update"],
            [f"{word}member", f"{word}sum"],
        ],
        "privacy": {"differential_privacy": False, "note": f"{word}no noise"},
        "versions": {f"{word}silo": f"{word}0.1.0"},
        "date": f"{word}2026-11-23",
    }


class Balanced(HTMLParser):
    """Follows the tags; `open` is empty at the end of a sound page."""

    VOID = frozenset({"meta", "rect", "line", "circle"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_holds_all_figures(tmp_path: Path) -> None:
    report.write_html(tmp_path / "report.html", results())
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    for said in (
        "mercy", "northside", "0.900", "0.750", "1.5 kB", "2.5 MB", "-0.020", "-12,345", "2.0e-08", "a single update",
        "the sum itself leaks", "median 125 ms", "Loss per round", "silo 0.1.0", "2026-11-23",
        "northside (0.950 alone, 0.700 federated)",
    ):  # fmt: skip
        assert said in text, said


def test_the_page_is_sound_and_needs_nothing_from_elsewhere() -> None:
    text = report.page(results())
    page = Balanced(text)
    assert page.open == []
    assert not page.seen & {"script", "link", "img", "iframe", "object", "base", "form"}
    assert not page.attributes & {"src", "href", "action", "onload", "onclick", "xlink:href"}
    assert "://" not in text
    assert "url(" not in text
    assert "@import" not in text


def test_no_text_becomes_markup() -> None:
    text = report.page(results("<script>alert('x')</script>\"&"))
    page = Balanced(text)
    assert page.open == []
    assert "script" not in page.seen
    assert page.attributes == Balanced(report.page(results())).attributes
    assert text.count("&lt;script&gt;") > 20


def test_a_bar_is_as_long_as_its_value() -> None:
    widths = [
        float(one) for one in re.findall(r'<rect x="0" y="\d+" width="([\d.]+)%"', report.page(results()))
    ]
    assert widths[0] / widths[3] == pytest.approx(0.8 / 0.75, rel=1e-3)
    assert max(widths) <= 100


@pytest.mark.parametrize("part", [*results(), "everything"])
def test_a_missing_part_is_left_out(part: str) -> None:
    given = {} if part == "everything" else {key: value for key, value in results().items() if key != part}
    text = report.page(given)
    assert Balanced(text).open == []
    heading = {
        "parties": "Who took part", "results": "What it was worth", "traffic": "Traffic per hospital",
        "rounds": "Time per round", "relay_saw": "What the relay saw", "learned": "What each party learned",
        "privacy": "What this does not protect",
    }  # fmt: skip
    for key, title in heading.items():
        assert (f"<h2>{title}</h2>" in text) == (key in given), title


def test_a_part_of_a_part_may_be_missing() -> None:
    given = results()
    given["results"] = {"federated": {"mean_client_accuracy": 0.8}}
    given["relay_saw"] = {"correlation": float("nan"), "masked": [1.0], "true": [1.0]}
    given["rounds"] = [{"round": 1}]
    text = report.page(given)
    assert Balanced(text).open == []
    assert "nan" not in text
    assert "0.800" in text


def test_the_note_changes_with_noise() -> None:
    given = results() | {"privacy": {"differential_privacy": True, "epsilon": 1.5}}
    text = report.page(given)
    assert "the sum itself leaks" not in text
    assert "1.5" in text


@pytest.mark.parametrize("protocol", ["paillier", "ckks", "lattice"])
def test_no_masks_are_spoken_of_where_the_updates_were_encrypted(protocol: str) -> None:
    text = re.sub(r"<style>.*?</style>", "", report.page(results() | {"sum": protocol}), flags=re.S)
    assert not re.findall(r"\bmask\w*", text)
    assert "bytes of a ciphertext read as if they were a number" in text
    assert "The encryption hides each hospital's update" in text.replace("&#x27;", "'")
    masked = report.page(results() | {"sum": "masking"})
    assert masked == report.page(results())
    assert "the masked value that the relay received" in masked
    assert "ciphertext" not in masked
    assert "encrypt" not in masked
