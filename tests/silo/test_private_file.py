"""Whole files: what a failure leaves, who may read them, and that they are on the disk before they are seen."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from silo import private_file


@pytest.fixture(autouse=True)
def generous_mask() -> Any:
    """Modes come from the writer, and not from a mask that happens to be strict."""
    old = os.umask(0)
    yield
    os.umask(old)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("old", [None, b"old"])
def test_a_file_is_replaced_whole(tmp_path: Path, old: bytes | None) -> None:
    path = tmp_path / "part.json"
    if old is not None:
        path.write_bytes(old)
    with private_file.replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert (path.read_bytes() if path.exists() else None) == old
        assert [mode(one) for one in tmp_path.iterdir() if one != path] == [0o600]
    assert path.read_bytes() == b"new"
    assert mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_public_file_may_be_read_by_others(tmp_path: Path) -> None:
    with private_file.replacing(tmp_path / "charter.toml", mode=0o644) as file:
        file.write(b"public")
    assert mode(tmp_path / "charter.toml") == 0o644


def test_a_new_file_is_private_from_the_first_moment_and_never_over_another(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with private_file.creating(path) as file:
        assert mode(path) == 0o600
        file.write(b"first")
    with pytest.raises(FileExistsError), private_file.creating(path) as file:
        file.write(b"second")  # pragma: no cover
    assert path.read_bytes() == b"first"


@pytest.mark.parametrize("writer", [private_file.replacing, private_file.creating])
def test_what_fails_leaves_nothing(tmp_path: Path, writer: Callable[[Path], Any]) -> None:
    with pytest.raises(TypeError), writer(tmp_path / "file") as file:
        file.writelines([b"half", None])
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_taken_leaves_no_draft(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"), private_file.replacing(tmp_path / "folder") as file:
        file.write(b"x")
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]


def test_more_is_added_behind(tmp_path: Path) -> None:
    for line in (b"one\n", b"two\n"):
        with private_file.appending(tmp_path / "lines") as file:
            file.write(line)
    assert (tmp_path / "lines").read_bytes() == b"one\ntwo\n"
    assert mode(tmp_path / "lines") == 0o600


@pytest.mark.parametrize("writer", [private_file.replacing, private_file.creating, private_file.appending])
def test_it_is_on_the_disk_before_it_is_seen(
    tmp_path: Path, writer: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flushed = tmp_path / "file", []
    sync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        flushed.append(os.fstat(descriptor).st_size)
        sync(descriptor)

    def moved(self: Path, target: Path) -> Path:
        assert flushed, "it was moved into place before it was on the disk"
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", moved)
    with writer(path) as file:
        file.write(b"12345")
    assert flushed == [5]
