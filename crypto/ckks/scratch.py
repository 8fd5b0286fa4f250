"""Bytes to and from SEAL, whose bindings read and write only files that have a name.

The file is anonymous memory (memfd_create), which has a name in /proc and never reaches a disk: secret keys pass
through it. Only Linux has it.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import final

from silo.crypto.errors import ParameterError


@final
class Scratch:
    """Memory with a file's name, for one thread. Raises `ParameterError` on a system that has none."""

    __slots__ = ("_descriptor", "path")

    def __init__(self) -> None:
        if sys.platform != "linux":
            raise ParameterError(
                "sums under CKKS work on Linux alone, where keys need not touch a disk: choose another sum"
            )
        self._descriptor = os.memfd_create("silo")
        self.path = f"/proc/self/fd/{self._descriptor}"

    def __enter__(self) -> Scratch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def read(self) -> bytes:
        """What was written last."""
        size = os.fstat(self._descriptor).st_size
        return os.pread(self._descriptor, size, 0)

    def write(self, *parts: bytes | memoryview) -> None:
        """Replace the content by the parts, joined."""
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        wanted = sum(len(part) for part in parts)
        written = os.writev(self._descriptor, parts)
        if written != wanted:
            raise ParameterError(f"only {written} of {wanted} bytes found room in memory: free some")
