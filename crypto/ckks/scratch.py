"""Bytes to and from SEAL, which reads and writes only files that have a name.

On Linux the file is anonymous memory and never reaches a disk. Elsewhere it is a temporary file that only its
owner can read and that is removed when the work is done; a secret key passes through it.
"""

from __future__ import annotations

import os
import tempfile
from types import TracebackType
from typing import final


@final
class Scratch:
    """One named file for one thread."""

    __slots__ = ("_descriptor", "_named", "path")

    def __init__(self) -> None:
        self._named = not hasattr(os, "memfd_create")
        if self._named:
            self._descriptor, self.path = tempfile.mkstemp()
        else:
            self._descriptor = os.memfd_create("silo")
            self.path = f"/proc/self/fd/{self._descriptor}"

    def __enter__(self) -> Scratch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)
        if self._named:
            os.unlink(self.path)

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
            raise OSError(f"{written} of {wanted} bytes were written to memory")
