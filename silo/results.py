"""Results of finished collectives, kept on disk until the task ends well.

A script that was killed starts again from its first line: the collectives that it already finished, with the
same input, are answered from here and are not asked of the others again. Only what all members learned is
stored; the input is known by its keyed digest.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Final

import numpy as np

from silo.protocols.total import Total

_LARGEST: Final = 4 * 1024 * 1024


class Results:
    """One folder per task of a charter."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def get(self, position: int, tag: str, digest: bytes) -> Total | None:
        """The result of this collective, if this very input was summed at this place before."""
        path = self._path(position, tag, digest)
        try:
            with np.load(path, allow_pickle=False) as loaded:
                about = json.loads(str(loaded["about"]))
                return Total(
                    loaded["words"],
                    float(about["weight"]),
                    int(about["saturated"]),
                    tuple(about["survivors"]),
                )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile):
            path.unlink(missing_ok=True)  # half a file is no result: ask the others again
            return None

    def put(self, position: int, tag: str, digest: bytes, total: Total) -> None:
        """Keep one result, unless it is large: a long training keeps checkpoints of its own."""
        if total.words.nbytes > _LARGEST:
            return
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._path(position, tag, digest)
        about = {"weight": total.weight, "saturated": total.saturated, "survivors": list(total.survivors)}
        draft = path.with_suffix(f".{os.getpid()}.new")
        with draft.open("wb") as file:
            np.savez(file, allow_pickle=False, words=total.words, about=np.array(json.dumps(about)))
        draft.replace(path)

    def clear(self) -> None:
        """Forget everything: the task ended well, and the next run starts anew."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, position: int, tag: str, digest: bytes) -> Path:
        name = hashlib.sha256(b"\0".join((tag.encode(), digest))).hexdigest()[:24]
        return self.folder / f"{position:06d}-{name}.npz"
