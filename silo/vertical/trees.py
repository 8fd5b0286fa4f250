"""The trees that a member has of a training under way, in a file that only it reads: a line each.

A last line that was cut off by a crash counts as not written.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from silo import private_file
from silo.protocols.vertical.boosting.growing import Grown
from silo.protocols.vertical.boosting.routing import CODES, Split
from silo.protocols.vertical.boosting.tree import Node, Tree
from silo.vertical import checkpoints

T = TypeVar("T")
_VERSION: Final = 1
_BYTES: Final = CODES // 8

Line = dict[str, Any]


class Kept:
    """The file of one member; without a folder nothing is kept."""

    def __init__(self, folder: str | Path | None, name: str, fit: bytes) -> None:
        self._path = None if folder is None else Path(folder) / f"{name}.trees"
        self._fit = fit.hex()
        self._head: Line = {}
        self._lines: list[str] = []
        self._read()

    @property
    def trees(self) -> int:
        return len(self._lines)

    def named(self, key: str) -> bytes:
        """A value of the training: its name, its seed; empty where there is none."""
        return bytes.fromhex(str(self._head.get(key, "")))

    def take(self, count: int, read: Callable[[Line], T]) -> list[T]:
        """The first `count` trees. Raises `ParameterError`."""
        try:
            return [read(json.loads(line)) for line in self._lines[:count]]
        except (KeyError, TypeError, ValueError, zlib.error) as problem:
            raise checkpoints.unreadable(self._path, problem) from None

    def begin(self, head: dict[str, bytes], lines: Sequence[str]) -> None:
        """Begin the file anew, with what is kept of it."""
        self._head = {"version": _VERSION, "fit": self._fit, **{key: raw.hex() for key, raw in head.items()}}
        self._lines = list(lines)
        if self._path is not None:
            with checkpoints.replacing(self._path) as file:
                file.writelines(f"{line}\n".encode() for line in [json.dumps(self._head), *self._lines])

    def cut(self, head: dict[str, bytes], count: int) -> None:
        """Keep the first `count` trees only, under this head."""
        lines = self._lines[:count]
        lines += [json.dumps({"splits": []})] * (count - len(lines))
        self.begin(head, lines)

    def add(self, line: Line) -> None:
        """Write one more tree, to the disk."""
        text = json.dumps(line)
        self._lines.append(text)
        if self._path is not None:
            with checkpoints.written(self._path), private_file.appending(self._path) as file:
                file.write(f"{text}\n".encode())

    def done(self) -> None:
        """The fit is over: the file goes."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _read(self) -> None:
        if self._path is None or not self._path.is_file():
            return
        try:
            # What stands behind the last end of a line was cut off.
            lines = self._path.read_text(encoding="utf-8").split("\n")[:-1]
            head = json.loads(lines[0]) if lines else {}
        except (OSError, ValueError) as problem:
            raise checkpoints.unreadable(self._path, problem) from None
        if isinstance(head, dict) and (head.get("version"), head.get("fit")) == (_VERSION, self._fit):
            self._head, self._lines = head, lines[1:]


def splits_told(splits: Sequence[Split]) -> list[list[Any]]:
    """A member's splits of one tree as plain data: column, and the codes that go left as bits."""
    return [[split.column, split.left.hex()] for split in splits]


def splits_read(told: Any) -> tuple[Split, ...]:
    """What `splits_told` gave. Raises `ValueError`, `TypeError`."""
    found = tuple(Split(int(column), bytes.fromhex(left)) for column, left in told)
    if any(len(split.left) != _BYTES for split in found):
        raise ValueError("a split has another number of codes")
    return found


def tree_told(tree: Tree) -> list[list[Any]]:
    """A tree as plain data, node by node."""
    return [[node.value, node.owner, node.number, node.left] for node in tree.nodes]


def tree_read(told: Any) -> Tree:
    """What `tree_told` gave. Raises `ValueError`, `TypeError`."""
    nodes = [Node(float(value), int(owner), int(number), int(left)) for value, owner, number, left in told]
    if not np.isfinite([node.value for node in nodes]).all():
        raise ValueError("a leaf is not finite")
    return Tree(nodes)


def grown_told(grown: Grown) -> Line:
    """A new tree of the label party, with the leaf of each row."""
    leaves = base64.b64encode(zlib.compress(grown.leaves.astype("<u2").tobytes(), 1)).decode()
    return {"tree": tree_told(grown.tree), "splits": splits_told(grown.splits), "leaves": leaves}


def grown_read(line: Line) -> Grown:
    """What `grown_told` gave. Raises `KeyError`, `ValueError`, `TypeError`."""
    raw = zlib.decompress(base64.b64decode(line["leaves"], validate=True))
    leaves = np.frombuffer(raw, "<u2").astype(np.uint16)
    return Grown(tree_read(line["tree"]), splits_read(line["splits"]), leaves)


def part_told(splits: Sequence[Split]) -> Line:
    """A host's splits of a new tree."""
    return {"splits": splits_told(splits)}


def part_read(line: Line) -> tuple[Split, ...]:
    """What `part_told` gave. Raises `KeyError`, `ValueError`, `TypeError`."""
    return splits_read(line["splits"])
