"""The laws of the three floors, checked on the syntax tree of one file at a time."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("crypto", "protocols", "silo")

MAY_IMPORT = {
    "crypto": ("silo.crypto",),
    "protocols": ("silo.crypto", "silo.protocols"),
    "silo": ("silo",),
}
"""The part of Silo that a floor sees."""

CLOSED = {
    "silo/leak/": ("silo.audit", "silo.bench", "silo.cli", "silo.demo", "silo.vertical"),
    "silo/vertical/": ("silo.audit", "silo.bench", "silo.cli", "silo.demo"),
}
"""What stands above a room of the top floor: it may import the room, and the room does not import it."""

# fmt: off
OUTSIDE_WORLD = frozenset({
    "aiohttp", "asyncio", "http", "requests", "selectors", "smtplib", "socket", "socketserver", "ssl",
    "urllib", "websockets", "xmlrpc",
    "datetime", "sched", "signal", "time",
    "io", "logging", "pathlib", "shelve", "shutil", "sqlite3", "tempfile", "tomlkit", "tomllib",
    "concurrent", "multiprocessing", "queue", "subprocess", "threading",
    "random", "secrets",
    "click", "numba", "opacus", "rich", "torch",
})
# fmt: on
"""Sockets, clocks, disks, threads, unsuitable generators, what floors above use: closed to the lower two."""

CRYPTO_ALSO = frozenset({"concurrent", "threading"})
"""A scheme may split its work over threads; a protocol may not."""

RECEIVES_CODE = frozenset({"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"})
"""What runs code from bytes."""

GENERATORS = (
    "numpy.random",
    "os.getrandom",
    "os.urandom",
    "random",
    "secrets",
    "torch.bernoulli",
    "torch.normal",
    "torch.rand",
    "torch.randint",
    "torch.randn",
    "torch.randperm",
    "uuid.uuid1",
    "uuid.uuid4",
)
MAY_DRAW = frozenset({"crypto/rng.py"})
"""The one place that asks the operating system for randomness."""

MAY_SHUFFLE = (
    "silo/training/",
    "silo/demo/",
    "silo/demos/",
    "silo/simulation/",
    "silo/examples/",
    "silo/bench/",
    "silo/cli/bench",
)
"""Where a seeded, public generator is right: the order of mini-batches, made-up data; never a mask or key."""

MAY_USE_OS = frozenset({"crypto/rng.py", "crypto/prg.py", "crypto/threads.py", "crypto/ckks/scratch.py"})
"""`os` on the crypto floor: for the generator, to count processors, and for memory that SEAL takes for a file."""


@dataclass(frozen=True, slots=True)
class Breach:
    """One broken law: where and which."""

    place: str
    line: int
    law: str

    def __str__(self) -> str:
        return f"{self.place}:{self.line}: {self.law}"


def files() -> Iterator[tuple[str, Path]]:
    """Every product file once, with its path from the root; the links inside silo/ are not followed."""
    for floor in FLOORS:
        for path in sorted((ROOT / floor).rglob("*.py")):
            inside = path.relative_to(ROOT / floor)
            if floor == "silo" and inside.parts[0] in ("crypto", "protocols"):
                continue
            yield f"{floor}/{inside.as_posix()}", path


def breaches(place: str, source: str) -> list[Breach]:
    """All laws that `source`, standing at `place`, breaks."""
    tree = ast.parse(source, place)
    floor = place.partition("/")[0]
    aliases = _aliases(tree, place)
    found = [*_imports(tree, place, floor), *_statements(tree, place)]
    found += _draws(tree, place, aliases)
    if floor != "silo":
        found += _randomness(tree, place)
    return sorted(found, key=lambda one: one.line)


def imported(tree: ast.AST, place: str) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything imported, wherever it stands in the file."""
    package = _package(place)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"
        elif isinstance(node, ast.Call) and _dotted(node.func) in ("importlib.import_module", "__import__"):
            yield node.lineno, _constant(node) or "<computed>"


def _imports(tree: ast.AST, place: str, floor: str) -> Iterator[Breach]:
    for line, name in imported(tree, place):
        top = name.partition(".")[0]
        if top in ("crypto", "protocols"):
            yield Breach(place, line, f"`{top}` is imported bare, not as `silo.{top}`")
        if top in RECEIVES_CODE and not (floor == "silo" and top == "joblib"):
            yield Breach(place, line, f"`{top}` runs code from bytes")
        if top == "silo" and not any(_within(name, seen) for seen in MAY_IMPORT[floor]):
            yield Breach(place, line, f"{floor}/ imports `{name}`, which stands above it")
        for room, above in CLOSED.items():
            if place.startswith(room) and any(_within(name, one) for one in above):
                yield Breach(place, line, f"{room} imports `{name}`, which stands above it")
        if floor == "silo":
            continue
        closed = OUTSIDE_WORLD - (CRYPTO_ALSO if floor == "crypto" else frozenset())
        if top in closed or (top == "os" and place not in MAY_USE_OS):
            yield Breach(place, line, f"{floor}/ reaches outside through `{name}`")
        if name == "<computed>":
            yield Breach(place, line, f"{floor}/ imports by a computed name")


def _statements(tree: ast.AST, place: str) -> Iterator[Breach]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            yield Breach(place, node.lineno, "`assert` vanishes under -O: raise an error")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in ("eval", "exec", "compile"):
                yield Breach(place, node.lineno, f"`{node.func.id}` runs text")
            elif node.func.id in ("open", "input", "print") and not place.startswith("silo/"):
                yield Breach(place, node.lineno, f"`{node.func.id}` reaches outside")


def _draws(tree: ast.AST, place: str, aliases: dict[str, str]) -> Iterator[Breach]:
    if place in MAY_DRAW:
        return
    seen: set[tuple[int, str]] = set()
    named = [(line, name) for line, name in imported(tree, place)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (dotted := _dotted(node)):
            head, _, rest = dotted.partition(".")
            if head in aliases:
                named.append((node.lineno, f"{aliases[head]}.{rest}"))
    for line, name in named:
        for generator in GENERATORS:
            if not _within(name, generator) or (line, generator) in seen:
                continue
            if place.startswith(MAY_SHUFFLE) and not generator.startswith("os."):
                continue
            seen.add((line, generator))
            yield Breach(place, line, f"`{generator}` is not the `rng` that was handed in")


def _randomness(tree: ast.AST, place: str) -> Iterator[Breach]:
    for line, name in imported(tree, place):
        if name == "silo.crypto.rng.SystemRng":
            yield Breach(place, line, "the system's generator is supplied by silo/, never chosen here")
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        arguments = node.args
        private = node.name.startswith("_") and not node.name.endswith("__")
        if not private and any(one.arg == "rng" for one in (*arguments.posonlyargs, *arguments.args)):
            yield Breach(place, node.lineno, f"`rng` of {node.name} is not a keyword argument")
        last = arguments.args[len(arguments.args) - len(arguments.defaults) :]
        for one, default in zip((*last, *arguments.kwonlyargs), (*last, *arguments.kw_defaults), strict=True):
            if one.arg == "rng" and default is not None:
                yield Breach(place, node.lineno, f"`rng` of {node.name} has a default")


def _aliases(tree: ast.AST, place: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                found[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def _package(place: str) -> str:
    dotted = place.removesuffix(".py").replace("/", ".").rpartition(".")[0]
    return dotted if dotted.partition(".")[0] == "silo" else f"silo.{dotted}"


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([node.id, *reversed(parts)])


def _constant(call: ast.Call) -> str:
    first = call.args[0] if call.args else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""


def _within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")
