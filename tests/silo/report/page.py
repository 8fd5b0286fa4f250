"""A page as a browser takes it: open tags, headings, tables, text."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = frozenset({"meta", "rect", "line", "circle", "path", "wbr"})


class Page(HTMLParser):
    """Follows the tags; `open` is empty at the end of a sound page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.labels: list[str] = []
        self.words: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        """Rows of cells under each caption."""
        self._caption = ""
        self.feed(text)
        self.close()

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def row(self, first: str, *, after: str) -> list[str]:
        """The row that begins with `first` in the table of this caption."""
        return next(row for row in self.tables[after] if row and row[0] == first)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "caption":
            self._caption = ""
        elif tag == "tr":
            self.tables.setdefault(self._caption, []).append([])
        elif tag in ("td", "th"):
            self.tables[self._caption][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.words.append(data)
        if "caption" in self.open:
            self._caption += data
        elif {"td", "th"} & set(self.open):
            self.tables[self._caption][-1][-1] += data

    def _note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag == "svg":
            self.labels += [value or "" for name, value in attrs if name == "aria-label"]
