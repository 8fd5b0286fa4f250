"""Markdown as far as the tests of the documents need it: headings, links and fenced blocks."""

from __future__ import annotations

import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.house.floors import ROOT

_FENCE = re.compile(r"^ {0,3}(?P<marks>`{3,}|~{3,})(?P<info>[^`]*)$")
_LINK = re.compile(r"\]\(\s*<?([^()\s<>]+)>?(?:\s+\"[^\"]*\")?\s*\)|^\[[^\]]+\]:\s+(\S+)", re.MULTILINE)

_RUN = """
import sys
page, namespace = sys.argv[1], {"__name__": "__main__"}
for line, source in eval(sys.stdin.read()):
    exec(compile("\\n" * line + source, page, "exec"), namespace)
"""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block; `line` is that of its opening fence, from 1."""

    info: str
    line: int
    source: str


def pages() -> list[Path]:
    """The documents at the top and below docs/ and examples/."""
    below = [page for folder in ("docs", "examples", "benchmarks") for page in (ROOT / folder).rglob("*.md")]
    return sorted([*ROOT.glob("*.md"), *below])


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks, in order."""
    marks, info, start, lines = "", "", 0, list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        fence = _FENCE.match(line)
        if not marks and fence:
            marks, info, start, lines = fence["marks"], fence["info"].strip(), number, []
        elif marks and fence and fence["marks"].startswith(marks) and not fence["info"].strip():
            yield Block(info, start, "\n".join(lines) + "\n")
            marks = ""
        elif marks:
            lines.append(line)
    if marks:
        raise ValueError(f"the block that begins in line {start} does not end")


def prose(text: str) -> str:
    """The text without fenced blocks and inline code."""
    kept, marks = list[str](), ""
    for line in text.splitlines():
        fence = _FENCE.match(line)
        if fence and not marks:
            marks = fence["marks"]
        elif fence and fence["marks"].startswith(marks):
            marks = ""
        elif not marks:
            kept.append(re.sub(r"`[^`]*`", "", line))
    return "\n".join(kept)


def links(text: str) -> list[str]:
    """Targets of all links and pictures."""
    return [one or other for one, other in _LINK.findall(prose(text))]


def anchors(text: str) -> set[str]:
    """What `#…` may name: the headings, as the forges spell them."""
    found: set[str] = set()
    marks = ""
    for line in text.splitlines():
        fence = _FENCE.match(line)
        if fence:
            marks = "" if marks and fence["marks"].startswith(marks) else marks or fence["marks"]
        elif not marks and (heading := re.match(r"#{1,6}\s+(.*?)\s*#*$", line)):
            plain = unicodedata.normalize("NFC", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1])).lower()
            found.add(re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-"))
    return found


def broken_links(page: Path) -> list[str]:
    """Relative links of `page` that lead nowhere."""
    text, lost = page.read_text(encoding="utf-8"), []
    for target in links(text):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        known = (
            anchors(file.read_text(encoding="utf-8")) if file.suffix == ".md" and file.is_file() else {anchor}
        )
        if not file.exists() or (anchor and anchor not in known):
            lost.append(target)
    return lost


def run(page: str, wanted: list[Block], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run blocks of one page in order, in one namespace, in an empty folder and a fresh interpreter."""
    program = repr([(block.line, block.source) for block in wanted])
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", _RUN, page],
        input=program,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
    )
